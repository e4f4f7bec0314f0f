"""`selsa` finds commands by entry point; a broken one does not affect the others."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from selsa_client.cli.main import build_app

SELSA = [sys.executable, "-c", "from selsa_client.cli.main import main; main()"]

RUN = '''
def run(times: int = 1) -> None:
    """Does a thing.

    And more.
    """
    %s
'''


@pytest.fixture
def selsa(monkeypatch, installed):
    """Runs `selsa` with packages installed from source beside the real ones."""

    def run(*arguments, **packages):
        for package, source in packages.items():
            command = package.removeprefix("selsa_")
            points = f"[selsa.commands]\n{command} = {package}.cli:run\n"
            for module in (package, f"{package}.cli"):
                monkeypatch.delitem(sys.modules, module, raising=False)
            monkeypatch.syspath_prepend(str(installed(package, source, points)))
        return CliRunner().invoke(build_app(), list(arguments), prog_name="selsa", env={"COLUMNS": "200"})

    return run


def test_a_registered_command_runs_with_its_options(selsa):
    done = selsa("thing", "--times", "3", selsa_thing=RUN % 'print("ran" * times)')
    assert (done.exit_code, done.stdout) == (0, "ranranran\n")


def test_the_help_page_lists_commands_without_loading_them(selsa):
    done = selsa("--help", selsa_thing="raise SystemExit('loaded')\n" + RUN % "pass")
    assert done.exit_code == 0
    assert "Does a thing." in done.stdout
    assert "And more" not in done.stdout
    assert (
        done.stdout.index("\n  detect ") < done.stdout.index("\n  serve ") < done.stdout.index("\n  thing ")
    )


def test_a_system_error_about_a_file_is_one_line_that_names_it(selsa):
    done = selsa("thing", selsa_thing=RUN % "open('x' * 5000)")
    line = f"selsa thing: cannot use '{'x' * 5000}': File name too long\n"
    assert (done.exit_code, done.stderr) == (3, line)


def test_a_system_error_without_a_file_is_raised(selsa):
    done = selsa("thing", selsa_thing=RUN % "raise OSError(5, 'Input/output error')")
    assert isinstance(done.exception, OSError)


@pytest.mark.parametrize(
    "arguments",
    [
        ("detect", "NAME"),
        ("detect", "--local", "VIDEO", "-o", "NAME.json"),
        ("detect", "--local", "VIDEO", "--render", "NAME.mp4"),
        ("serve", "--bundle", "NAME"),
        ("serve", "--spool-dir", "NAME"),
        ("serve", "--jobs-dir", "NAME"),
        ("check-data", "NAME"),
        ("synthesize", "NAME"),
    ],
    ids=" ".join,
)
def test_every_command_refuses_an_impossible_file_name(tmp_path, arguments):
    name, video = str(tmp_path / ("x" * 5000)), tmp_path / "video.mp4"
    video.write_bytes(b"no video")
    given = [each.replace("NAME", name).replace("VIDEO", str(video)) for each in arguments]
    done = subprocess.run([*SELSA, *given], capture_output=True, text=True, timeout=120)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert "File name too long" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "source",
    ["import no_such_package_of_others\n" + RUN % "pass", RUN % "import no_such_package_of_others.part"],
    ids=["at import", "while running"],
)
def test_a_missing_extra_is_one_line_with_the_install_command(selsa, source):
    done = selsa("thing", selsa_thing=source)
    assert done.exit_code == 2
    assert done.stderr == "`selsa thing` needs the thing extra: pip install 'selsa[thing]'\n"


@pytest.mark.parametrize(
    "source", ["raise OSError('libgone.so')", "import selsa_nothing", "no python", "x = 1"]
)
def test_a_broken_command_does_not_affect_the_others(selsa, source):
    broken = selsa("thing", selsa_thing=source)
    assert broken.exit_code == 2
    assert broken.stderr.startswith("selsa thing: cannot be loaded: ")
    assert broken.stderr.count("\n") == 1
    assert selsa("--help").exit_code == 0
    assert "--stride" in selsa("detect", "--help").stdout


def test_a_missing_selsa_module_is_not_reported_as_a_missing_extra(selsa):
    done = selsa("thing", selsa_thing=RUN % "import selsa_gone")
    assert isinstance(done.exception, ModuleNotFoundError)


def test_an_interrupt_is_130(selsa):
    assert selsa("thing", selsa_thing=RUN % "raise KeyboardInterrupt").exit_code == 130


def test_a_similar_command_is_suggested(selsa):
    done = selsa("detcet")
    assert done.exit_code == 2
    assert "detect" in done.stderr


def test_version_and_no_arguments(selsa):
    assert selsa("--version").stdout.startswith("selsa ")
    assert "Commands" in selsa().output


LOCAL = """
import json, pathlib
from selsa_server.schema.detect import FrameRecord, SummaryRecord, VideoRecord

class BundleError(Exception):
    pass

class EngineError(BundleError):
    pass

class DetectError(Exception):
    parameter = allowed = None

    def __init__(self, code):
        self.code, self.detail = code, "Send the whole file."

def detect(video, params, *, bundle, say, engines):
    records = [json.loads(line) for line in video.read_text().splitlines()]
    yield VideoRecord.model_validate(records[0])
    yield FrameRecord.model_validate(records[1] | {"index": params.stride})
    if bundle.name == "damaged":
        raise EngineError("frame.onnx is damaged")
    if bundle.name in ("truncated", "engine_failed"):
        raise DetectError(bundle.name)
    if bundle.name == "lacking":
        import no_such_package_of_others
    if bundle.name != "silent":
        yield SummaryRecord.model_validate(records[-1] | {"emitted": 1})
"""


@pytest.mark.parametrize(
    ("bundle", "exit_code", "message"),
    [
        ("good", 0, ""),
        ("truncated", 3, "selsa detect: Send the whole file. (422 truncated)\n"),
        ("engine_failed", 4, "selsa detect: Send the whole file. (500 engine_failed)\n"),
        ("damaged", 4, "selsa detect: frame.onnx is damaged (500 bundle_unusable)\n"),
        ("lacking", 2, "`selsa detect --local` needs the server extra: pip install 'selsa[server]'\n"),
        ("silent", 5, "selsa detect: The detections are incomplete: the pipeline gave no summary\n"),
    ],
)
def test_local_detection_runs_the_entry_point(installed, samples, tmp_path, bundle, exit_code, message):
    site = installed("selsa_elsewhere", LOCAL, "[selsa.local]\ndetect = selsa_elsewhere.cli:detect\n")
    video = tmp_path / "video"
    video.write_bytes(samples.whole)
    done = subprocess.run(
        [*SELSA, "detect", "--local", "--bundle", bundle, "--stride", "5", str(video)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert (done.returncode, done.stderr) == (exit_code, message)
    assert '"index":5' in done.stdout


def test_help_of_every_command_fits_80_columns_and_cuts_no_name():
    # In a process of its own: it imports every command, and other tests watch what is imported.
    code = """
import typer
from selsa_client.cli.main import build_app
from typer.testing import CliRunner
app = build_app()
group = typer.main.get_command(app)
root = group.make_context("selsa", [], resilient_parsing=True)
names = group.list_commands(root)
for words in ([], *([name] for name in names)):
    text = CliRunner().invoke(app, [*words, "--help"], terminal_width=80, env={"COLUMNS": "80"}).stdout
    assert max(map(len, text.splitlines())) <= 80, (words, max(text.splitlines(), key=len))
    assert "\u2026" not in text, words
    flat = "".join(text.split())  # lines may break after a hyphen
    if not words:
        for name in names:
            help_ = group.get_command(root, name).get_short_help_str()
            assert help_ and "".join([name, *help_.split()]) in flat, name
        continue
    lazy = group.get_command(root, words[0])
    command = lazy.make_context(words[0], [], parent=root, resilient_parsing=True).command
    for param in command.params:
        for option in param.opts:
            assert option in flat or not option.startswith("-"), (words, option)
    for paragraph in (command.help or "").split("\\n\\n"):
        assert "".join(paragraph.split()) in flat, (words, "a sentence is broken")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
