"""`selsa detect` as a process: its output, its files and its exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from selsa_client.cli.options import option_name
from selsa_client.formats import FORMATS
from selsa_server.schema.detect import DetectionDocument, DetectParams

SELSA = [sys.executable, "-c", "from selsa_client.cli.main import main; main()"]


def selsa(*arguments, env=None):
    environment = {**os.environ, "COLUMNS": "300", **(env or {})}
    return subprocess.run(
        [*SELSA, *map(str, arguments)],
        capture_output=True,
        env=environment,
        timeout=120,
    )


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_records_go_to_stdout_and_nothing_to_stderr(stub, samples, clip):
    done = selsa("detect", clip, env={"SELSA_SERVER": stub.address})
    assert (done.returncode, done.stderr) == (0, b"")
    assert lines(done) == [samples.video, *samples.frames, samples.summary]


def test_every_parameter_is_an_option_and_reaches_the_server(stub, clip):
    values = {
        "model": "small",
        "bank": "first",
        "score_threshold": "0.25",
        "max_detections": "7",
        "classes": "dog",
        "reference_frames": "3",
        "start": "0.5",
        "end": "9.0",
        "stride": "2",
        "decode": "tolerant",
        "tracks": "true",
        "rescore": "true",
        "fill": "interpolate",
    }
    online = {"mode": "online", "classes": "fox"}  # `fill` needs the other mode
    assert set(values) | set(online) == set(DetectParams.model_fields)
    for sent in (values, online):
        given = [part for name, value in sent.items() for part in (option_name(name), value)]
        done = selsa("detect", clip, "--server", stub.address, *given, "--classes", "cat")
        assert done.returncode == 0, done.stderr
        query = stub.requests[-1][0].partition("?")[2].split("&")
        assert sorted(query) == sorted([*(f"{name}={value}" for name, value in sent.items()), "classes=cat"])


def test_the_help_page_names_every_parameter_with_its_description(clip):
    page = " ".join(selsa("detect", "--help").stdout.decode().split())
    for name, field in DetectParams.model_fields.items():
        assert option_name(name) in page
        assert (field.description or "?")[:30] in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stride", "0"], ["--stride", "'0'", "greater than or equal to 1"]),
        (["--mode", "fast"], ["--mode", "'fast'", "'sequence' or 'online'"]),
        (["--score-threshold", "nan"], ["--score-threshold", "'nan'"]),
        (["--start", "2", "--end", "1"], ["--start", "--end", "greater"]),
        (["--server", "nowhere"], ["'nowhere'", "http://"]),
        (["--bundle", "b"], ["--local"]),
        (["-o", "result.yaml"], ["result.yaml", *(end for ends in FORMATS.values() for end in ends)]),
        (["-o", "no/such/folder/result.json"], ["does not exist"]),
    ],
)
def test_wrong_usage_is_one_line_that_names_it_and_exits_2(stub, clip, arguments, words):
    done = selsa("detect", clip, "--server", stub.address, *arguments)
    message = done.stderr.decode()
    assert done.returncode == 2
    assert message.count("\n") == 1
    assert all(word in message for word in words)
    assert stub.requests == []


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [(415, "not_a_video", 3), (413, "body_too_large", 3), (404, "not_found", 4), (500, "internal_error", 4)],
)
def test_an_error_of_the_server_is_one_line_and_an_exit_code(stub, clip, status, code, exit_code):
    stub.answer = lambda handler: handler.problem(status, code)
    done = selsa("detect", clip, "--server", stub.address)
    message = f"selsa detect: What is wrong and what to do. ({status} {code})\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (exit_code, b"", message)


def test_a_busy_server_is_retried_as_often_as_asked(stub, samples, clip):
    stub.answer = lambda handler: (
        handler.records(samples.whole)
        if len(stub.requests) > 2
        else handler.problem(503, "server_busy", {"Retry-After": "0"})
    )
    assert selsa("detect", clip, "--server", stub.address, "--retries", 1).returncode == 4
    stub.requests.clear()
    assert selsa("detect", clip, "--server", stub.address).returncode == 0


def test_a_missing_file_exits_3_and_a_missing_server_4(clip):
    missing = selsa("detect", "no.mp4")
    assert (missing.returncode, missing.stderr.count(b"\n")) == (3, 1)
    unreachable = selsa("detect", clip, "--server", "http://127.0.0.1:1")
    assert (unreachable.returncode, unreachable.stderr.count(b"\n")) == (4, 1)


@pytest.mark.parametrize("name", ["out.json", "out.ndjson"])
def test_a_result_file_appears_complete(stub, samples, clip, tmp_path, name):
    done = selsa("detect", clip, "--server", stub.address, "-o", tmp_path / name)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"wrote " in done.stderr
    text = (tmp_path / name).read_bytes()
    if name.endswith("ndjson"):
        assert [json.loads(line) for line in text.splitlines()][-1] == samples.summary
    else:
        document = DetectionDocument.model_validate_json(text)
        assert document.model_dump(mode="json")["frames"] == samples.frames
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", name]


@pytest.mark.parametrize("name", ["out.json", "out.ndjson"])
@pytest.mark.parametrize(("cut", "exit_code"), [("incomplete", 5), ("failed", 3)])
def test_a_failed_run_leaves_the_old_result_file(stub, samples, clip, tmp_path, name, cut, exit_code):
    body = samples.failed if cut == "failed" else samples.ndjson(samples.video, samples.frames[0])
    stub.answer = lambda handler: handler.records(body)
    (tmp_path / name).write_text("old")
    done = selsa("detect", clip, "--server", stub.address, "-o", tmp_path / name)
    assert (done.returncode, done.stderr.count(b"\n")) == (exit_code, 1)
    assert (tmp_path / name).read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", name]


def test_a_late_failure_ends_stdout_with_its_error_record(stub, samples, clip):
    stub.answer = lambda handler: handler.records(samples.failed)
    done = selsa("detect", clip, "--server", stub.address)
    assert done.returncode == 3
    assert lines(done) == [samples.video, samples.frames[0], samples.error]


def one_frame_then_wait(stub, samples):
    def answer(handler):
        handler.begin()
        handler.wfile.write(samples.ndjson(samples.video, samples.frames[0]))
        handler.until_gone()

    stub.answer = answer


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_drops_the_connection_and_removes_the_partial_file(
    stub, samples, clip, tmp_path, number, exit_code
):
    one_frame_then_wait(stub, samples)
    with subprocess.Popen(
        [*SELSA, "detect", clip, "--server", stub.address, "-o", tmp_path / "out.json"],
        stderr=subprocess.PIPE,
    ) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.glob(".out.json.*")) or not stub.requests:
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(number)
        _, message = process.communicate(timeout=60)
    assert (process.returncode, message) == (exit_code, b"")
    assert stub.gone.wait(60)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_reader_that_closes_stdout_is_not_an_error(stub, samples, clip):
    def answer(handler):
        handler.begin()
        handler.wfile.write(samples.ndjson(samples.video))
        for index in range(10**6):
            handler.wfile.write(samples.ndjson(samples.frames[1] | {"index": index}))

    stub.answer = lambda handler: _until_broken(answer, handler)
    with subprocess.Popen(
        [*SELSA, "detect", clip, "--server", stub.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert json.loads(process.stdout.readline()) == samples.video
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


def _until_broken(answer, handler):
    try:
        answer(handler)
    except OSError:
        handler.close_connection = True


def on_terminal(*arguments):
    """stderr as a terminal shows it; stdout is a pipe."""
    master, slave = pty.openpty()
    process = subprocess.Popen([*SELSA, *arguments], stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 65536):
            shown += part
    except OSError:  # Linux reports the end of a terminal as EIO
        pass
    os.close(master)
    return process.wait(60), shown.decode()


def test_a_terminal_shows_the_upload_then_the_frames(stub, clip):
    code, shown = on_terminal("detect", str(clip), "--server", stub.address)
    assert code == 0
    assert "sending" in shown or "waiting for the server" in shown
    assert "detecting" in shown
    assert "3/3" in shown


def test_quiet_shows_nothing_on_a_terminal(stub, clip):
    assert on_terminal("detect", str(clip), "--server", stub.address, "--quiet") == (0, "")
