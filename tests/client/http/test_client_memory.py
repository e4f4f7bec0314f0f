"""The client's memory does not grow with the size of the upload, measured with a real server process."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from media import write_video

MIB = 1 << 20
SIZE = 300 * MIB
LIMIT = 150 * MIB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")

# VmHWM, not ru_maxrss: the latter starts at the size of the process that started this one.
PEAK = """
import atexit, pathlib, re, sys
def tell():
    status = pathlib.Path("/proc/self/status").read_text()
    sys.stderr.write("peak " + re.search(r"VmHWM:\\s+(\\d+) kB", status)[1] + "\\n")
atexit.register(tell)
"""
COMMAND = PEAK + "from selsa_client.cli.main import main; main()"
SDK = (
    PEAK
    + """
import asyncio
from selsa_client import AsyncClient
async def run():
    async with AsyncClient(sys.argv[1]) as client, client.detect(sys.argv[2]) as stream:
        print(len([frame async for frame in stream]))
asyncio.run(run())
"""
)
SUBMIT = (
    PEAK
    + """
from selsa_client import Client
with Client(sys.argv[1]) as client:
    job = client.jobs.submit(sys.argv[2])
    client.jobs.cancel(job.id)  # its copy of the video goes with it
    print(job.state)
"""
)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video of a few frames in a file of many bytes, nearly all of them a hole."""
    path = tmp_path_factory.mktemp("large") / "large.mp4"
    write_video(path, 5, codec="mpeg4", container_options={"movflags": "faststart"})
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        # A box of type `free`, which readers step over.
        file.write((SIZE - end).to_bytes(4, "big") + b"free")
        file.truncate(SIZE)
    return path


@contextmanager
def server(folder):
    script = Path(__file__).parents[2] / "server" / "fake_server.py"
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield next(line for line in process.stdout if line.startswith("Serving ")).split()[-1]
        finally:
            process.kill()


def peak(code, *arguments, **more):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        **more,
    )
    found = re.search(r"peak (\d+)", done.stderr)
    assert done.returncode == 0, done.stderr
    assert found is not None
    return int(found[1]) << 10, done.stdout


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with server(tmp_path_factory.mktemp("spool")) as address:
        yield address


@pytest.mark.parametrize("way", ["command", "stdin", "live", "sdk", "job"])
def test_a_large_upload_costs_little_memory(address, video, way):
    if way == "sdk":
        used, shown = peak(SDK, address, video)
        assert shown.strip() == "5"
    elif way == "job":
        used, shown = peak(SUBMIT, address, video)
        assert shown.strip() in ("queued", "running", "done")
    else:
        more = {"stdin": video.open("rb")} if way == "stdin" else {}
        source = "-" if way == "stdin" else video
        live = ["--live"] if way == "live" else []
        used, shown = peak(COMMAND, "detect", source, *live, "--server", address, **more)
        assert shown.count('"type":"frame"') == 5
    assert used < LIMIT
