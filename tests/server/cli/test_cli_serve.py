"""`selsa serve`: what it refuses, in one line, before it listens."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from fake_engines import FakeEngines
from fakes import fake_bundle
from typer.testing import CliRunner

from selsa_server.cli.serve import serve
from selsa_server.settings import ServerSettings

app = typer.Typer()
app.command("serve")(serve)


def refusal(*arguments: str, env: dict[str, str] | None = None) -> str:
    result = CliRunner().invoke(app, list(arguments), env=env)
    assert result.exit_code == 3, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


def bundle_folder(folder: Path) -> Path:
    """A bundle whose manifest is right and whose files are not what it says."""
    manifest = fake_bundle(FakeEngines()).manifest
    folder.mkdir()
    (folder / "manifest.json").write_bytes(manifest.to_json())
    for name in ("frame.onnx", "sequence.onnx", "parity.json"):
        (folder / name).write_bytes(b"x")
    return folder


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    assert "manifest.json" in refusal("--bundle", str(tmp_path))


def test_a_bundle_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    assert "sha256" in refusal("--bundle", str(bundle_folder(tmp_path / "bundle")))


def test_a_bundle_with_other_tensors_is_refused(tmp_path: Path) -> None:
    folder = bundle_folder(tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["engines"]["fp32"]["frame"]["tensors"]["inputs"][0]["name"] = "images"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "tensor contract" in refusal("--bundle", str(folder))


@pytest.mark.parametrize(
    ("option", "value"), [("--port", "70000"), ("--batch", "0"), ("--log-level", "loud")]
)
def test_a_setting_that_is_not_allowed_is_named(tmp_path: Path, option: str, value: str) -> None:
    line = refusal("--bundle", str(tmp_path), option, value)
    assert option.removeprefix("--").replace("-", "_") in line
    assert value in line


def test_a_spool_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert "spool_dir" in refusal("--spool-dir", str(tmp_path / "nowhere"))


def test_a_jobs_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "jobs folder" in refusal("--jobs-dir", str(tmp_path / "file"))


def test_options_override_the_environment(tmp_path: Path) -> None:
    wrong = {"SELSA_BUNDLE": str(tmp_path / "from-environment")}
    assert "from-environment" in refusal(env=wrong)
    assert "from-option" in refusal("--bundle", str(tmp_path / "from-option"), env=wrong)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELSA_MAX_UPLOAD_BYTES", "1000")
    monkeypatch.setenv("SELSA_PORT", "1234")
    settings = ServerSettings()
    assert (settings.max_upload_bytes, settings.port, settings.host) == (1000, 1234, "127.0.0.1")


def test_importing_the_commands_is_light() -> None:
    heavy = ["fastapi", "uvicorn", "av", "cv2", "numpy", "onnxruntime", "torch"]
    code = f"import sys, selsa_server.cli.serve; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    from selsa_server.cli.serve import _bind

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(typer.Exit) as raised:
            _bind(ServerSettings(port=port, spool_dir=tmp_path))
    assert raised.value.exit_code == 3


def test_a_port_in_use_is_found_before_the_bundles_are_read(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal("--bundle", str(tmp_path / "nothing"), "--port", str(port), "--confinement", "off")
    assert "cannot listen" in line and "--port" in line


@pytest.mark.parametrize("name", ["my.pth", "my", "run"])
def test_weights_in_place_of_a_bundle_get_the_command_that_makes_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "my.pth":
        path.touch()
    else:
        folder = path / "checkpoint" if name == "run" else path
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").touch()
    line = refusal("--bundle", str(path), "--port", "0", "--confinement", "off")
    assert "selsa export" in line
    assert ("selsa import" in line) == (name == "my.pth")


@pytest.mark.parametrize(("form", "is_text"), [("auto", False), ("json", False), ("text", True)])
def test_the_log_is_text_where_it_is_asked_for_and_json_without_a_terminal(form: str, is_text: bool) -> None:
    code = (
        "from selsa_server.telemetry.log import configure_log; import structlog; "
        f"configure_log('info', {form!r}); structlog.get_logger().info('engines', model='a')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.startswith("{") != is_text
    assert "engines" in done.stderr


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_log_shows_no_values_of_variables(form: str) -> None:
    code = (
        "import rich.traceback, structlog\n"
        "from selsa_server.telemetry.log import configure_log\n"
        f"configure_log('info', {form!r})\n"
        "def fail(secret):\n"
        "    raise ValueError('it failed')\n"
        "try:\n"
        "    fail('top' + ' secret')\n"
        "except ValueError:\n"
        "    structlog.get_logger().exception('an error')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ValueError: it failed" in done.stderr
    assert "top secret" not in done.stderr


def test_the_sample_video_is_written_once(tmp_path: Path) -> None:
    from selsa_server.cli.packaged import sample

    command = typer.Typer()
    command.command()(sample)
    target = tmp_path / "a.mp4"
    done = CliRunner().invoke(command, ["-o", str(target)])
    assert done.exit_code == 0 and "next: selsa detect" in done.stderr
    assert target.stat().st_size > 1000
    again = CliRunner().invoke(command, ["-o", str(target)])
    assert again.exit_code == 3 and "--overwrite" in again.stderr
