"""docs/sdk.md is correct: its Python and its commands run, and its tree of errors is the real one."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from fake_engines import FakeEngines
from live_server import live_server
from media import write_video
from typer.testing import CliRunner

import selsa_client.wire.errors as errors
from selsa_client.cli.inputs import find_inputs
from selsa_client.cli.main import build_app
from selsa_server.settings import ServerSettings

PAGE = Path(__file__).parents[2] / "docs" / "sdk.md"
TEXT = PAGE.read_text(encoding="utf-8")
SERVER = "http://127.0.0.1:8000"


def blocks(language):
    """Code of the page, each with empty lines before it so that line numbers are the page's."""
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        yield "\n" * TEXT[: found.start(1)].count("\n") + found[1]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    settings = ServerSettings(spool_dir=folder, jobs_dir=folder / "jobs")
    with live_server(FakeEngines(), settings, batch=3) as address:
        yield f"http://{address}"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the files that the page speaks of."""
    for name in ("video.mp4", "video.mkv", "clips/a.mp4", "more/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_video(tmp_path / name, 6, codec="mpeg4")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_of_the_page_runs_line_by_line(address, desk, capsys):
    pytest.importorskip("supervision")
    import cv2
    from media import frame_pixels

    pictures = [cv2.imencode(".jpg", frame_pixels(number))[1].tobytes() for number in range(3)]
    names = {"pictures": pictures}
    for code in blocks("python"):
        for statement in ast.parse(code.replace(SERVER, address)).body:
            module = ast.Module([statement], [])
            try:
                exec(compile(module, str(PAGE), "exec"), names)
            except Exception as error:  # noqa: BLE001 - named with its line
                pytest.fail(f"{PAGE.name}, line {statement.lineno}: {error!r}")
    said = capsys.readouterr().out
    assert "done 6 6" in said
    assert "here: Cannot read missing.mp4" in said
    assert "503 http_503" in said


def commands():
    for block in blocks("console"):
        for line in block.strip().splitlines():
            yield line.removeprefix("$ ").partition("#")[0].strip()


@pytest.mark.parametrize("command", list(commands()))
def test_the_commands_of_the_page_run(address, desk, command, monkeypatch):
    monkeypatch.setenv("SELSA_SERVER", address)
    program, subcommand, *arguments = shlex.split(command)
    assert (program, subcommand) == ("selsa", "detect")
    if "<" in arguments or find_inputs([a for a in arguments if a[0] != "-"])[0].kind not in ("file",):
        return  # stdin, the network and cameras are tested elsewhere
    ran = CliRunner().invoke(build_app(), [subcommand, *arguments], prog_name="selsa")
    assert ran.exit_code == 0, ran.stderr


@pytest.mark.parametrize("text", [errors.__doc__, TEXT], ids=["docstring", "page"])
def test_the_tree_of_errors_is_the_real_one(text):
    parents = {}
    above = []
    for indent, name in re.findall(r"^ *((?:│   |├── |└── |    )*)(\w+Error)\b", text, re.MULTILINE):
        depth = len(indent.lstrip()) // 4 if indent.strip() else 0
        del above[depth:]
        if above:
            parents[name] = above[-1]
        above.append(name)
    real = {
        name: getattr(errors, name)
        for name in vars(errors)
        if name.endswith("Error") and name != "SelsaError"
    }
    assert parents == {name: kind.__base__.__name__ for name, kind in real.items()}
