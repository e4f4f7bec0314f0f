"""A real `selsa serve` with real engines: its log, its end, and its memory over many sizes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import psutil
from media import write_video

from selsa_bundle.runtimes.load import load_engines

PARAMS = {"reference_frames": 0, "stride": 2}


def start(bundle: Path, spool: Path, log: Path, *more: str) -> tuple[subprocess.Popen[str], str]:
    command = [str(Path(sys.executable).parent / "selsa"), "serve", "--bundle", str(bundle), "--port", "0"]
    options = ["--spool-dir", str(spool), "--drain-timeout", "20"]
    process = subprocess.Popen(
        [*command, *options, *more], stdout=subprocess.PIPE, stderr=log.open("w"), text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().split()[-1]


def test_sigterm_lets_the_running_request_finish_and_logs_it(r18_bundle: Path, tmp_path: Path) -> None:
    spool, log = tmp_path / "spool", tmp_path / "log"
    spool.mkdir()
    video = write_video(tmp_path / "v.mp4", 6, size=(160, 96)).read_bytes()
    process, address = start(r18_bundle, spool, log)
    try:
        with (
            httpx.Client(base_url=address, timeout=60) as client,
            client.stream(
                "POST",
                "/detect",
                content=video,
                params=PARAMS,
                headers={"Accept": "application/x-ndjson", "X-Request-ID": "the-one"},
            ) as response,
        ):
            process.send_signal(signal.SIGTERM)
            last = json.loads(list(response.iter_lines())[-1])
        assert (last["type"], last["emitted"]) == ("summary", 3)
        assert process.wait(60) == 0
    finally:
        process.kill()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    settings = next(line for line in lines if line["event"] == "settings")
    assert (settings["drain_timeout"], settings["bundle"][0]["path"]) == (20, str(r18_bundle))
    access = next(line for line in lines if line["event"] == "request" and line["path"] == "/detect")
    assert (access["request_id"], access["status"], access["frames"]) == ("the-one", 200, 3)
    assert [path for path in spool.iterdir() if path.suffix == ".upload"] == []


def test_a_second_server_on_the_same_jobs_says_on_stderr_that_it_takes_none(
    r18_bundle: Path, tmp_path: Path
) -> None:
    (spool := tmp_path / "spool").mkdir()
    first, _ = start(r18_bundle, spool, tmp_path / "first")
    try:
        second, address = start(r18_bundle, spool, tmp_path / "second", "--log-level", "error")
        try:
            refused = httpx.get(f"{address}/v1/jobs", timeout=60)
        finally:
            second.kill()
    finally:
        first.kill()
    assert (refused.status_code, refused.json()["code"]) == (503, "jobs_unavailable")
    said = (tmp_path / "second").read_text()
    assert (
        "selsa serve: this server takes no jobs (/v1/jobs): another server works in the jobs folder" in said
    )
    assert "takes no jobs" not in (tmp_path / "first").read_text()


def test_an_unavailable_provider_is_refused(r18_bundle: Path, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "selsa"), "serve", "--bundle", str(r18_bundle)]
    result = subprocess.run(
        [*command, "--provider", "cuda", "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 3
    assert "--allow-cpu" in result.stderr.splitlines()[-1]


def test_memory_does_not_grow_with_the_number_of_sizes(r18_bundle: Path) -> None:
    engines = load_engines(r18_bundle).engines
    process = psutil.Process()
    rng = np.random.default_rng(3)

    def run(height: int, width: int) -> None:
        engines.run_frames(np.zeros((1, height, width, 3), np.uint8), np.array([[height, width]]))

    run(320, 320)
    before = process.memory_info().rss
    for height, width in rng.integers(4, 16, (40, 2)) * 16:
        run(int(height), int(width))
    assert process.memory_info().rss - before < 60 << 20
