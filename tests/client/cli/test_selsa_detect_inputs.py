"""`selsa detect` on all kinds of inputs and on several: output and exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fake_engines import FakeEngines
from live_server import live_server
from media import write_video
from typer.testing import CliRunner

from selsa_client import Client
from selsa_client.cli.main import build_app
from selsa_server.settings import ServerSettings

SELSA = [sys.executable, "-c", "from selsa_client.cli.main import main; main()"]


@dataclass
class Done:
    returncode: int
    stdout: bytes
    stderr: bytes


def selsa(*arguments, **more):
    """Run the command: in this process, which is faster, or in a new one if there are further arguments."""
    if more:
        command = [*SELSA, *map(str, arguments)]
        found = subprocess.run(command, capture_output=True, timeout=60, **more)
        return Done(found.returncode, found.stdout, found.stderr)
    ran = CliRunner().invoke(build_app(), list(map(str, arguments)), prog_name="selsa")
    return Done(ran.exit_code, ran.stdout_bytes, ran.stderr_bytes)


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    settings = ServerSettings(spool_dir=folder, jobs_dir=folder / "jobs")
    with live_server(FakeEngines(), settings, batch=3) as address:
        yield f"http://{address}"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name, count in (("a.mp4", 5), ("b.mkv", 7)):
        write_video(folder / name, count, codec="mpeg4")
    (folder / "notes.txt").write_text("no video")
    return folder


def test_each_record_of_several_videos_names_its_video(address, videos):
    done = selsa("detect", videos, "--server", address)
    assert (done.returncode, done.stderr) == (0, b"")
    seen = [(record["source"], record["type"]) for record in lines(done)]
    a, b = str(videos / "a.mp4"), str(videos / "b.mkv")
    assert seen == [
        *[(a, kind) for kind in ("video", *["frame"] * 5, "summary")],
        *[(b, kind) for kind in ("video", *["frame"] * 7, "summary")],
    ]


def test_a_failing_video_does_not_stop_the_others(address, videos, tmp_path):
    done = selsa("detect", "no.mp4", videos / "notes.txt", videos / "a.mp4", "--server", address)
    assert done.returncode == 3
    first, second = done.stderr.decode().splitlines()
    assert first.startswith("selsa detect: no.mp4: Cannot read no.mp4")
    assert "not_a_video" in second
    assert {record["source"] for record in lines(done)} == {str(videos / "a.mp4")}


def test_the_highest_exit_code_counts(stub, samples, clip):
    bodies = iter([samples.failed, samples.ndjson(samples.video), samples.whole])
    stub.answer = lambda handler: handler.records(next(bodies))
    done = selsa("detect", clip, clip, clip, "--server", stub.address, "--retries", 0)
    assert done.returncode == 5
    errors = [record for record in lines(done) if record["type"] == "error"]
    assert [(record["code"], record["source"]) for record in errors] == [("truncated", str(clip))]


def test_results_of_several_videos_go_into_a_folder(address, videos, tmp_path):
    done = selsa("detect", videos / "a.mp4", videos, "--server", address, "-o", tmp_path / "results")
    assert (done.returncode, done.stdout) == (0, b"")
    written = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert written == ["a-2.ndjson", "a.ndjson", "b.ndjson"]
    records = [json.loads(line) for line in (tmp_path / "results" / "b.ndjson").read_text().splitlines()]
    assert records[-1]["emitted"] == 7


def test_several_videos_and_one_result_file_are_wrong_usage(stub, clip):
    done = selsa("detect", clip, clip, "--server", stub.address, "-o", "all.json")
    assert done.returncode == 2
    assert b"several videos" in done.stderr
    assert stub.requests == []


@pytest.mark.parametrize("through", ["pipe", "file"])
def test_stdin_is_an_input(address, videos, through):
    path = videos / "a.mp4"
    source = {"input": path.read_bytes()} if through == "pipe" else {"stdin": path.open("rb")}
    done = selsa("detect", "-", "--server", address, **source)
    assert done.returncode == 0, done.stderr
    assert len(lines(done)) == 7


def test_a_pipe_is_sent_once_but_a_file_again(stub, clip, samples):
    def answer(handler):
        busy = len(stub.requests) % 2 == 1
        handler.problem(503, "server_busy", {"Retry-After": "0"}) if busy else handler.records(samples.whole)

    stub.answer = answer
    assert selsa("detect", "-", "--server", stub.address, input=b"video").returncode == 4
    assert [size for _, _, size in stub.requests] == [5]
    stub.requests.clear()
    with clip.open("rb") as file:
        assert selsa("detect", "-", "--server", stub.address, stdin=file).returncode == 0
    assert [size for _, _, size in stub.requests] == [clip.stat().st_size] * 2


@pytest.fixture
def website(videos):
    """The videos over http; `/moved` leads to one of them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/a.mp4")
                self.end_headers()
                return
            path = videos / self.path.strip("/")
            if not path.is_file():
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            self.wfile.write(path.read_bytes())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_web_address_is_an_input(address, website):
    done = selsa("detect", f"{website}/moved", "--server", address)
    assert done.returncode == 0, done.stderr
    assert len(lines(done)) == 7
    missing = selsa("detect", f"{website}/none.mp4?token=secret", "--server", address)
    assert missing.returncode == 3
    assert b"404" in missing.stderr
    assert b"secret" not in missing.stderr


def test_live_gives_the_same_frames_from_every_kind_of_input(address, videos, website):
    file = selsa("detect", videos / "b.mkv", "--mode", "online", "--server", address)
    frames = [record for record in lines(file) if record["type"] == "frame"]
    for source in (videos / "b.mkv", f"{website}/b.mkv"):
        done = selsa("detect", "--live", source, "--server", address)
        assert done.returncode == 0, done.stderr
        assert [record for record in lines(done) if record["type"] == "frame"] == frames
    piped = selsa("detect", "--live", "-", "--server", address, input=(videos / "b.mkv").read_bytes())
    assert [record for record in lines(piped) if record["type"] == "frame"] == frames


def test_an_mp4_with_its_index_at_the_end_is_remuxed(address, videos):
    done = selsa("detect", "--live", videos / "a.mp4", "--server", address, "--stride", 2, "--drop", "oldest")
    assert done.returncode == 0, done.stderr
    video, *frames, summary = lines(done)
    assert (video["mode"], video["frame_count"]) == ("online", None)
    assert summary["emitted"] == len(frames)


def test_a_stream_is_retried_while_the_server_is_busy(videos, tmp_path):
    settings = ServerSettings(spool_dir=tmp_path, jobs_dir=tmp_path / "jobs", max_streams=1)
    with live_server(FakeEngines(), settings) as busy, Client(f"http://{busy}") as client:
        other = client.stream(container="jpeg")
        other.open()
        command = ["detect", "--live", videos / "b.mkv", "--server", f"http://{busy}"]
        assert selsa(*command, "--retries", 0).returncode == 4
        threading.Timer(0.5, other.close).start()
        done = selsa(*command)
    assert done.returncode == 0, done.stderr
    assert len(lines(done)) == 9


def test_a_missing_pyav_is_one_line_with_the_install_command(address, videos, tmp_path):
    (tmp_path / "av.py").write_text("raise ModuleNotFoundError('no av', name='av')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = selsa("detect", "--live", videos / "a.mp4", "--server", address, env=env)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"pip install 'selsa[live]'" in done.stderr
    assert selsa("detect", "--live", videos / "b.mkv", "--server", address, env=env).returncode == 0


def test_live_on_this_machine_gives_the_frames_of_the_file(videos):
    file = lines(selsa("detect", videos / "a.mp4", "--local", "--mode", "online"))
    live = lines(selsa("detect", videos / "a.mp4", "--local", "--live"))
    assert [each["detections"] for each in live[1:-1]] == [each["detections"] for each in file[1:-1]]
    assert [each["type"] for each in live] == ["video", *["frame"] * 5, "summary"]
    piped = selsa("detect", "-", "--local", "--live", input=(videos / "b.mkv").read_bytes())
    assert len(lines(piped)) == 9
    missing = selsa("detect", "no.mp4", "--local", "--live")
    assert (missing.returncode, missing.stderr.count(b"\n")) == (3, 1)


def test_local_detection_stores_stdin_in_a_file_first(videos):
    done = selsa("detect", "-", "--local", input=(videos / "a.mp4").read_bytes())
    assert [each["type"] for each in lines(done)] == ["video", *["frame"] * 5, "summary"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--live", "a.mp4", "--start", "1"], "--start"),
        (["rtsp://host/1", "--local", "--end", "1"], "--start and --end"),
        (["a.mp4", "--drop", "oldest"], "--drop"),
        (["-", "-"], "stdin"),
        (["ftp://host/a.mp4"], "rtsp://"),
        (["a.mp4", "--api-key", "two words"], "printable"),
    ],
)
def test_options_that_exclude_each_other_are_one_line_and_exit_2(arguments, words):
    done = selsa("detect", *arguments)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert words in done.stderr.decode()


@pytest.mark.parametrize("argument", ["rtsp://127.0.0.1:1/stream", "camera:/dev/null-camera"])
def test_a_missing_camera_is_an_input_error(stub, argument):
    done = selsa("detect", argument, "--server", stub.address)
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)


def test_a_key_from_the_environment_reaches_the_server(stub, clip, monkeypatch):
    monkeypatch.setenv("SELSA_API_KEY", "secret")
    monkeypatch.setenv("SELSA_SERVER", stub.address)
    assert selsa("detect", clip).returncode == 0
    assert stub.requests[0][1]["authorization"] == "Bearer secret"


def test_a_terminal_shows_the_name_of_the_current_video(stub, clip):
    master, slave = pty.openpty()
    command = [*SELSA, "detect", str(clip), str(clip), "--server", stub.address]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=slave, env={**os.environ, "COLUMNS": "200"}
    )
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 65536):
            shown += part
    except OSError:  # Linux reports the end of a terminal as EIO
        pass
    os.close(master)
    assert process.wait(60) == 0
    assert "clip.mp4: detecting" in shown.decode()


ENDLESS = """
import sys, itertools, time
from selsa_client.cli import camera
from selsa_client.live.protocol import TimedImage
image = open(sys.argv.pop(1), "rb").read()
def images(device):
    for number in itertools.count():
        yield TimedImage(image, number / 20)
        time.sleep(0.05)
camera.camera_images = images
from selsa_client.cli.main import main
main()
"""


def test_ctrl_c_ends_a_camera_with_its_summary(address, tmp_path):
    import cv2
    from media import frame_pixels

    cv2.imwrite(str(tmp_path / "image.jpg"), frame_pixels(3))
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / "image.jpg")]
    arguments = ["detect", "camera:0", "--server", address, "-o", str(tmp_path / "out.ndjson")]
    with subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        partial = []
        while not partial or partial[0].stat().st_size < 2000:
            assert time.monotonic() < until
            time.sleep(0.02)
            partial = list(tmp_path.glob(".out.ndjson.*"))
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert process.returncode == 0
    assert message.count(b"\n") == 1 and b"wrote " in message
    records = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert records[-1]["type"] == "summary"
    assert records[-1]["emitted"] == len(records) - 2
