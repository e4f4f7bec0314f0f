"""docs/recipes.md is correct: each of its programs runs."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_engines import FakeEngines
from live_server import live_server
from media import write_video
from typer.testing import CliRunner

from selsa_client.cli.main import build_app
from selsa_server.settings import ServerSettings

TEXT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
SERVER = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    settings = ServerSettings(spool_dir=folder, jobs_dir=folder / "jobs")
    with live_server(FakeEngines(), settings, batch=3) as address:
        yield f"http://{address}"


@pytest.fixture
def desk(tmp_path, monkeypatch, address):
    """A folder with the video and its results, as the commands at the top of the page make them."""
    write_video(tmp_path / "video.mp4", 12, codec="mpeg4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SELSA_SERVER", address)
    for command in re.findall(r"^\$ selsa (.*)$", TEXT, re.MULTILINE):
        done = CliRunner().invoke(build_app(), shlex.split(command))
        assert done.exit_code == 0, done.output
    return tmp_path


def run(title, address):
    """Execute the program under a heading; returns its variables."""
    section = TEXT.partition(f"## {title}\n")[2]
    code = re.search(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[1].replace(SERVER, address)
    names = {}
    exec(compile(code, title, "exec"), names)
    return names


def test_objects_per_minute_are_counted_in_ten_lines(desk, address, capsys):
    run("Count objects per minute", address)
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(re.fullmatch(r"minute 0: \d+\.\d \w+ in view", line) for line in lines)
    section = TEXT.partition("## Count objects per minute\n")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1].splitlines()
    assert len([line for line in code if line and not line.startswith(("import", "from"))]) <= 10


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here")
def test_the_parts_with_a_class_are_cut(desk, address):
    parts = run("Cut the parts where a class appears", address)["parts"]
    assert parts, "the fake detects a dog"
    for number in range(len(parts)):
        probe = ["ffmpeg", "-v", "error", "-i", f"part-{number}.mp4", "-f", "null", "-"]
        subprocess.run(probe, check=True)


def test_detections_become_a_table(desk, address, capsys):
    pytest.importorskip("pandas")
    table = run("A table in pandas", address)["table"]
    assert len(table) > 0
    assert "class_name" in capsys.readouterr().out


def test_supervision_draws_each_frame(desk, address):
    pytest.importorskip("supervision")
    run("Draw with supervision", address)
    assert len(list(desk.glob("drawn-*.png"))) == 12


def test_a_bucket_is_detected_on_once(desk, address, monkeypatch):
    s3fs = pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        bucket = s3fs.S3FileSystem(skip_instance_cache=True)
        bucket.mkdir("archive")
        for name in ("a.mp4", "b.mp4"):
            bucket.put(str(desk / "video.mp4"), f"archive/{name}")
        run("All videos of a bucket", address)
        results = {path: bucket.info(path)["LastModified"] for path in bucket.glob("archive/*.json")}
        assert len(results) == 2
        assert json.loads(bucket.cat("archive/a.mp4.json"))["summary"]["complete"]
        run("All videos of a bucket", address)
        assert results == {path: bucket.info(path)["LastModified"] for path in results}
    finally:
        server.stop()
