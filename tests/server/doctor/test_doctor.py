"""`selsa doctor` tries what it reports: sound things are ok, broken ones fail with a remedy."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from selsa_bundle.default_bundle import synthetic_bundle
from selsa_server.doctor.doctor import findings

SELSA = [sys.executable, "-c", "from selsa_client.cli.main import main; main()"]


def test_the_packaged_bundle_runs_on_the_cpu_and_every_fault_has_a_remedy() -> None:
    found = list(findings(synthetic_bundle()))
    by_subject = {each.subject: each for each in found}
    assert "test frames" in by_subject["fp32 on cpu"].text
    assert by_subject["fp32 on cpu"].status == "ok"
    assert "h264" in by_subject["FFmpeg"].text
    assert {"ONNX Runtime", "H.264 encoder", "bundle", "engines"} <= set(by_subject)
    assert all(each.remedy for each in found if each.status in ("missing", "warn", "fail"))


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_a_bundle_that_cannot_be_used_fails_and_the_rest_is_reported(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "bundle"
    if fault == "damaged":
        shutil.copytree(synthetic_bundle(), folder)
        with (folder / "frame.onnx").open("r+b") as file:
            file.seek(1000)
            file.write(b"damage")
    found = {each.subject: each for each in findings(folder)}
    assert found["bundle"].status == "fail"
    assert found["bundle"].remedy
    assert found["FFmpeg"].status == "ok"


def test_the_command_prints_json_and_ends_with_1_when_something_failed(tmp_path: Path) -> None:
    command = [*SELSA, "doctor", "--json", "--bundle", str(tmp_path), "--server", "http://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(line) == {"status", "subject", "text", "remedy"} for line in lines)
    failed = {line["subject"] for line in lines if line["status"] == "fail"}
    assert failed == {"bundle", "server http://127.0.0.1:9"}


HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numpy", "av", "cv2", "onnxruntime", "fastapi"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
from selsa_client.cli.main import main
main()
"""


def test_with_the_client_alone_it_says_what_is_missing_and_ends_with_0() -> None:
    done = subprocess.run([sys.executable, "-c", HIDE, "doctor"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "missing              server: not installed" in done.stdout
    assert "pip install 'selsa[server]'" in done.stdout
    assert done.stdout.rstrip().endswith("next: selsa detect VIDEO --server ADDRESS")


def test_drawing_with_the_client_alone_is_one_line_that_names_the_extra(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"video")
    command = [sys.executable, "-c", HIDE, "detect", str(clip), "--render", str(tmp_path / "o.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'selsa[server]'" in done.stderr
