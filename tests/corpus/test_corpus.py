"""Odd and broken files against a real server: the right answer to each, and to the next request."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import httpx
import pytest
import uvicorn
from case import Case, Refused
from cut_and_flipped import DAMAGED
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_bundle
from forged import FORGED
from good_formats import FORMATS
from good_shapes import SHAPES
from live_server import wait_until
from media import number_of, write_video
from no_videos import NO_VIDEOS

from selsa_server.api.app import build_app
from selsa_server.api.listener import listen
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.settings import ServerSettings
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import DecodedFrame, decode_frames
from selsa_server.video.index import index_video
from selsa_training.data.video_frames import frames_in_order

CASES = [*FORMATS, *SHAPES, *NO_VIDEOS, *DAMAGED, *FORGED]
READABLE = [case for case in CASES if case.numbered and case.refused is None]
# MB that the server may take for one file. A frame of 8K is 100 MB, and some are decoded ahead.
PEAK = 40
PEAK_OF_8K = 900


class Served:
    """The server under test and a video that it can read."""

    def __init__(self, client: httpx.Client, good: bytes, spool: Path) -> None:
        self.client = client
        self.good = good
        self.spool = spool

    def post(self, body: bytes, **params: str) -> httpx.Response:
        return self.client.post("/detect", content=body, params=params)

    def answers_the_next_request(self) -> None:
        assert self.client.get("/healthz").status_code == 200
        answer = self.post(self.good)
        assert (answer.status_code, len(answer.json()["frames"])) == (200, 3)
        # The client has the answer a moment before its request is over.
        wait_until(lambda: not any(path.is_file() for path in self.spool.iterdir()))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    spool = tmp_path_factory.mktemp("spool")
    good = write_video(tmp_path_factory.mktemp("good") / "video.mp4", 3).read_bytes()
    pipeline = DetectionPipeline(fake_bundle(FakeEngines()), PipelineOptions(limits=VideoLimits()))
    listener = listen("127.0.0.1", 0)
    app = build_app(pipeline, ServerSettings(spool_dir=spool), fork_server=FORK_SERVER)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as client:
            deadline = time.monotonic() + 60
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield Served(client, good, spool)
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()


def file_of(case: Case, folder: Path) -> Path:
    try:
        return case.make(folder)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this build of FFmpeg cannot make it: {error}")


def check_refusal(answer: httpx.Response, refused: Refused) -> None:
    assert answer.headers["content-type"] == "application/problem+json", answer.text[:300]
    assert (answer.status_code, answer.json()["code"]) in refused.answers


def check_detections(answer: httpx.Response, case: Case) -> None:
    assert answer.status_code == 200, answer.text[:500]
    document = answer.json()
    video, frames, summary = document["video"], document["frames"], document["summary"]
    assert summary["complete"]
    assert [frame["index"] for frame in frames] == list(range(video["frame_count"]))
    assert video["frame_count"] == summary["emitted"] == case.frames
    assert video["rotation"] == case.rotation
    times = [frame["time"] for frame in frames]
    assert times == sorted(times)
    if case.times is not None:
        assert times == pytest.approx(case.times, abs=1e-3)
    if case.size is not None:
        assert (video["width"], video["height"]) == case.size
        # The engines are fake: their detection is the whole frame.
        whole = frames[0]["detections"][0]["box"] if frames[0]["detections"] else None
        if whole is not None:
            assert (whole["x2"], whole["y2"]) == pytest.approx(case.size, rel=0.01)


def check_tolerant(answer: httpx.Response, case: Case) -> None:
    """As much as there is, nothing made up, nothing lost without being counted."""
    if case.tolerant is None or isinstance(case.tolerant, Refused):
        refused = case.tolerant or case.refused
        assert refused is not None
        check_refusal(answer, refused)
        return
    count, lowest = case.tolerant
    assert answer.status_code == 200, answer.text[:500]
    document = answer.json()
    summary, indices = document["summary"], [frame["index"] for frame in document["frames"]]
    assert indices == sorted(set(indices))
    assert summary["demuxed"] == summary["emitted"] + summary["corrupt"]
    assert len(indices) == summary["emitted"] >= lowest
    if count is not None:
        assert summary["demuxed"] == count


def memory(of: str) -> float:
    """MB: `VmRSS` now, or `VmHWM` at most since the last call of `forget_the_peak`."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(of))
    return int(line.split()[1]) * 1024 / 1e6


def forget_the_peak() -> None:
    """Writing files takes memory too; only reading them is measured."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"this system does not measure peaks of memory: {error}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_file_gets_the_right_answer_and_so_does_the_next(
    case: Case, served: Served, tmp_path: Path
) -> None:
    body = file_of(case, tmp_path).read_bytes()
    answer = served.post(body)
    if case.refused is None:
        check_detections(answer, case)
    else:
        check_refusal(answer, case.refused)
        check_tolerant(served.post(body, decode="tolerant"), case)
    served.answers_the_next_request()


@pytest.mark.parametrize("case", READABLE, ids=lambda case: case.name)
def test_the_server_and_training_read_every_frame_in_its_place(case: Case, tmp_path: Path) -> None:
    path = file_of(case, tmp_path)
    index = index_video(path, VideoLimits())
    frames = decode_frames(path, index, range(len(index)), tolerant=False)
    numbers = [number_of(frame.pixels) for frame in frames if isinstance(frame, DecodedFrame)]
    assert numbers == list(range(len(index)))
    assert [number_of(pixels) for pixels in frames_in_order(path)] == numbers


# As a decoder reads the files of the folder that is given; prints the modules that are imported meanwhile.
READ_ALL = """
import sys
from pathlib import Path
from selsa_server.confined import fork_server_main
fork_server_main._warm_up()
from selsa_bundle.preprocess import Preprocess
from selsa_server.errors import VideoError
from selsa_server.run_context import Stopwatch
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video
from selsa_server.video.prepared import prepare_frames

def read(path, tolerant):
    try:
        index = index_video(path, VideoLimits())
        clock = Stopwatch(("decode", "prepare"))
        for _ in prepare_frames(path, index, range(len(index)), Preprocess(), clock, tolerant=tolerant):
            pass
    except VideoError:
        pass

before = set(sys.modules)
for path in Path(sys.argv[1]).glob("*/*"):
    for tolerant in (False, True):
        read(path, tolerant)
print(*(set(sys.modules) - before))
"""


@pytest.mark.slow
def test_reading_a_file_imports_nothing_since_a_confined_decoder_cannot(tmp_path: Path) -> None:
    for number, case in enumerate(case for case in CASES if not case.heavy):
        folder = tmp_path / str(number)
        folder.mkdir()
        with suppress(pytest.skip.Exception):
            file_of(case, folder)
    command = [sys.executable, "-c", READ_ALL, str(tmp_path)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == []


def test_no_file_takes_memory_out_of_proportion(served: Served, tmp_path: Path) -> None:
    grew = {}
    for case in [*FORGED, *(case for case in CASES if case.heavy)]:
        folder = tmp_path / str(len(grew))
        folder.mkdir()
        body = file_of(case, folder).read_bytes()
        forget_the_peak()
        before = memory("VmRSS")
        served.post(body)
        grew[case.name] = memory("VmHWM") - before
    allowed = {case.name: PEAK_OF_8K if case.heavy else PEAK for case in CASES}
    assert {name: growth for name, growth in grew.items() if growth > allowed[name]} == {}


def test_the_corpus_is_as_large_as_it_is_said_to_be() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 150
