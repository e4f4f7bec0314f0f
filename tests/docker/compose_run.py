"""`make compose-test`: build and run the CPU profile in a Docker engine.

The script builds the image, waits until the server is healthy, detects on the packaged video and compares
with local detection, kills the server during a job and waits until the job is complete, and removes
everything. It prints the measured times and the number of measurements. It has its own project name, so it
removes only its own containers and volumes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from selsa_bundle.default_bundle import sample_video

DOCKER = Path(__file__).parents[2] / "docker"
PROJECT = "selsa-compose-test"
SERVICE = "server-cpu"
IMAGE = "selsa-server:cpu"
PATIENCE = 120.0
# Another build of a library may round differently.
BOX, SCORE = 0.1, 1e-3


class FailedError(Exception):
    """A check failed."""


def compose(*arguments: str, port: int, quiet: bool = True) -> str:
    done = subprocess.run(
        ["docker", "compose", "--project-name", PROJECT, "--profile", "cpu", *arguments],
        cwd=DOCKER,
        env={**os.environ, "SELSA_PUBLISH": f"127.0.0.1:{port}", "SELSA_BUNDLE": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise FailedError(f"docker compose {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout.strip()


@contextmanager
def composed(port: int) -> Iterator[httpx.Client]:
    """Start the CPU profile, yield a client, and remove the profile with its volumes at the end."""
    compose("up", "--detach", "--no-build", port=port)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            yield client
    finally:
        compose("down", "--volumes", "--timeout", "60", port=port)


def wait_ready(client: httpx.Client) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if client.get("/readyz").status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise FailedError(f"the server was not ready within {PATIENCE:g} s")


def wait_healthy(port: int) -> None:
    """Wait until the image's HEALTHCHECK reports healthy."""
    container = compose("ps", "--quiet", SERVICE, port=port)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        health = ["docker", "inspect", "--format", "{{.State.Health.Status}}", container]
        if subprocess.run(health, capture_output=True, text=True, check=True).stdout.strip() == "healthy":
            return
        time.sleep(0.2)
    raise FailedError(f"the container was not healthy within {PATIENCE:g} s")


def first_record(client: httpx.Client, video: Path) -> float:
    """Seconds from the request to the first frame's record."""
    begin = time.monotonic()
    headers = {"Accept": "application/x-ndjson", "Content-Type": "video/mp4"}
    with client.stream("POST", "/detect", content=video.read_bytes(), headers=headers) as answer:
        for line in answer.iter_lines():
            if json.loads(line)["type"] == "frame":
                return time.monotonic() - begin
    raise FailedError("no frame came")


def frames_of(lines: Iterator[str]) -> list[dict[str, Any]]:
    """The frames of complete records."""
    records = [json.loads(line) for line in lines if line.strip()]
    if not records or records[-1]["type"] != "summary" or not records[-1]["complete"]:
        raise FailedError(f"the records are incomplete; the last is {records[-1:]}")
    return [record for record in records if record["type"] == "frame"]


def detected_here(video: Path) -> list[dict[str, Any]]:
    selsa = Path(sys.executable).parent / "selsa"
    done = subprocess.run(
        [selsa, "detect", video, "--local", "--provider", "cpu"], capture_output=True, text=True, check=True
    )
    return frames_of(iter(done.stdout.splitlines()))


def compare(found: list[dict[str, Any]], expected: list[dict[str, Any]], what: str) -> None:
    if [frame["index"] for frame in found] != [frame["index"] for frame in expected]:
        raise FailedError(f"{what}: other frames than on this machine")
    for one, other in zip(found, expected, strict=True):
        pairs = list(zip(one["detections"], other["detections"], strict=False))
        same = len(one["detections"]) == len(other["detections"]) and all(agrees(*pair) for pair in pairs)
        if not same:
            raise FailedError(f"{what}: frame {one['index']} differs from this machine's")
    print(f"{what}: {len(found)} frames as on this machine")


def agrees(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (
        one["class_id"] == other["class_id"]
        and abs(one["score"] - other["score"]) <= SCORE
        and all(abs(one["box"][side] - other["box"][side]) <= BOX for side in other["box"])
    )


def detect(client: httpx.Client, video: Path) -> list[dict[str, Any]]:
    headers = {"Accept": "application/x-ndjson", "Content-Type": "video/mp4"}
    answer = client.post("/detect", content=video.read_bytes(), headers=headers)
    answer.raise_for_status()
    return frames_of(iter(answer.text.splitlines()))


def kill_and_recover(client: httpx.Client, video: Path, port: int) -> list[dict[str, Any]]:
    """Submit a job, kill the server while it runs, and return the frames of the finished job."""
    submitted = client.post("/v1/jobs", content=video.read_bytes(), headers={"Content-Type": "video/mp4"})
    submitted.raise_for_status()
    job = "/v1/jobs/" + submitted.json()["id"]
    while client.get(job).json()["progress"]["done"] == 0:
        time.sleep(0.05)
    before = client.get(job).json()["progress"]["done"]
    container = compose("ps", "--quiet", SERVICE, port=port)
    kill_outright(container)
    begin = time.monotonic()
    wait_ready_again(client, container)
    print(f"killed with {before} frames done; ready again after {time.monotonic() - begin:.1f} s")
    end = time.monotonic() + PATIENCE
    while (state := client.get(job).json()["state"]) not in ("done", "failed", "cancelled"):
        if time.monotonic() > end:
            raise FailedError(f"the job is still {state} after {PATIENCE:g} s")
        time.sleep(0.2)
    return frames_of(iter(client.get(job + "/results").text.splitlines()))


def kill_outright(container: str) -> None:
    """Send SIGKILL from outside the container; Docker would not restart it after `docker kill`."""
    asked = ["docker", "inspect", "--format", "{{.State.Pid}}", container]
    pid = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    killer = ["docker", "run", "--rm", "--pid", "host", "--user", "0", "--entrypoint", "sh", IMAGE]
    subprocess.run([*killer, "-c", f"kill -9 {pid}"], capture_output=True, check=True)


def wait_ready_again(client: httpx.Client, container: str) -> None:
    restarts = ["docker", "inspect", "--format", "{{.RestartCount}}", container]
    end = time.monotonic() + PATIENCE
    while subprocess.run(restarts, capture_output=True, text=True, check=True).stdout.strip() == "0":
        if time.monotonic() > end:
            raise FailedError("the engine did not restart the killed server")
        time.sleep(0.1)
    wait_ready(client)


def measured_start(port: int, video: Path) -> tuple[float, float]:
    """Seconds from `docker compose up` to readiness, and to the first frame's record."""
    begin = time.monotonic()
    with composed(port) as client:
        wait_ready(client)
        ready = time.monotonic() - begin
        first_record(client, video)
        return ready, time.monotonic() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=18765, help="free port of this machine")
    parser.add_argument("--starts", type=int, default=3, help="how often the start is measured")
    asked = parser.parse_args()
    video = sample_video()
    try:
        run(asked.port, asked.starts, video)
    except (FailedError, httpx.HTTPError, subprocess.CalledProcessError) as error:
        print(f"FAILED: {error}")
        return 1
    print("compose-test passed")
    return 0


def run(port: int, starts: int, video: Path) -> None:
    begin = time.monotonic()
    compose("build", port=port, quiet=False)
    print(f"built in {time.monotonic() - begin:.1f} s")
    inspect = ["docker", "image", "inspect", "--format", "{{.Size}}", IMAGE]
    size = int(subprocess.run(inspect, capture_output=True, text=True, check=True).stdout)
    print(f"image: {size / 1e6:.0f} MB")
    times = [measured_start(port, video) for _ in range(starts)]
    for name, values in zip(("ready", "first detection"), zip(*times, strict=True), strict=True):
        print(f"up to {name}: median {median(values):.1f} s, least {min(values):.1f} s of {len(values)}")
    with composed(port) as client:
        wait_healthy(port)
        expected = detected_here(video)
        compare(detect(client, video), expected, "POST /detect")
        compare(kill_and_recover(client, video, port), expected, "the job that was killed")
        begin = time.monotonic()
    print(f"down in {time.monotonic() - begin:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
