"""The tours in docs are true: their lines run one after the other in one shell, and print what they say."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
END = "-- that was line"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="curl or bash is missing"),
]


def lines(page: str) -> list[tuple[str, list[str]]]:
    """Each command of the page with the lines that it is to print."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    own = {name: value for name, value in os.environ.items() if not name.startswith("SELSA_")}
    return {
        **own,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PORT": port,
        # Where the tour's server has its jobs, and other tests' servers have not.
        "TMPDIR": str(tmp_path),
        "SELSA_SERVER": f"http://127.0.0.1:{port}",
    }


@pytest.fixture
def shell(tmp_path: Path, environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    # A session of its own, so that nothing that was started outlives the test.
    with subprocess.Popen(
        ["bash"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "errors.txt").open("w"),
        cwd=tmp_path,
        env=environment,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


# What the test changes in a page's commands and in what they are to print.
SMALLER = {
    "--clips 40": "--clips 5 --length 8",
    "40 videos": "5 videos",
    "36 videos": "4 videos",
    "val: 4 videos": "val: 1 videos",
    "schedule.steps=400": "schedule.steps=3 --workers 0 --threads 1",
}


@pytest.mark.parametrize(("page", "smaller"), [("quick-tour.md", {}), ("your-own-data.md", SMALLER)])
def test_every_line_of_the_page_works(
    shell: "subprocess.Popen[str]",
    environment: dict[str, str],
    tmp_path: Path,
    page: str,
    smaller: dict[str, str],
) -> None:
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    assert shell.stdin is not None
    assert shell.stdout is not None
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for old, new in smaller.items():
        assert old in text
        text = text.replace(old, new)
    for number, (command, wanted) in enumerate(lines(text)):
        typed = command.replace("8000", environment["PORT"])
        shell.stdin.write(f'{typed}\nprintf "\\n%s\\n" "{END} {number}: $?"\n')
        shell.stdin.flush()
        printed = []
        for line in shell.stdout:
            if line.startswith(f"{END} {number}:"):
                break
            printed.append(line.rstrip("\n"))
        said = f"{command}\n{printed}\n{(tmp_path / 'errors.txt').read_text()}"
        assert line.rstrip().endswith(": 0"), said
        shown = [text for text in printed if text]
        assert len(shown) >= len(wanted), said
        for text, pattern in zip(shown, wanted, strict=False):
            assert re.fullmatch(re.escape(pattern).replace("…", ".*"), text), said
