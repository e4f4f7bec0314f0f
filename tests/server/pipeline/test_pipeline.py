"""The pipeline keeps account of every frame and runs none twice."""

from pathlib import Path

import numpy as np
import pytest
from fake_engines import FakeEngines
from fakes import fake_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media import damage_packet, write_video

from selsa_server.errors import DetectError, EngineFailureError, ParameterError, VideoError
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.run_context import RunContext
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord

FRAMES = 40


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", FRAMES)


def run(
    engines: FakeEngines, video: Path, params: DetectParams | None = None, batch: int = 4
) -> tuple[VideoRecord, list[FrameRecord], SummaryRecord]:
    pipeline = DetectionPipeline(fake_bundle(engines), PipelineOptions(batch=batch))
    first, *frames, last = pipeline.run(video, params or DetectParams(score_threshold=0))
    assert isinstance(first, VideoRecord)
    assert isinstance(last, SummaryRecord)
    assert all(isinstance(frame, FrameRecord) for frame in frames)
    return first, [f for f in frames if isinstance(f, FrameRecord)], last


def test_every_frame_is_run_exactly_once_references_included(video: Path) -> None:
    engines = FakeEngines()
    first, frames, last = run(engines, video)
    assert first.reference_frames == (0, 13, 26, 39)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert engines.frames_run == FRAMES
    assert (last.demuxed, last.decoded, last.corrupt, last.skipped, last.emitted) == (40, 40, 0, 0, 40)
    assert last.complete


@pytest.mark.parametrize("mode", ["sequence", "online"])
@pytest.mark.parametrize("tracks", [False, True])
def test_frames_that_repeat_are_computed_once_with_the_same_records(
    tmp_path: Path, mode: str, tracks: bool
) -> None:
    def repeated(index: int) -> np.ndarray:
        return np.full((48, 64, 3), 20 + 9 * (index // 5), np.uint8)

    path = write_video(tmp_path / "still.mkv", FRAMES, codec="ffv1", pix_fmt="bgr0", picture=repeated)
    params = DetectParams.model_validate({"mode": mode, "tracks": tracks, "score_threshold": 0})
    engines = FakeEngines()
    _, frames, last = run(engines, path, params)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert last.emitted == FRAMES
    # Every fifth frame is new. Four references run alone; what follows them is another frame than before.
    assert engines.frames_run <= FRAMES // 5 + (8 if mode == "sequence" else 0)
    for index, frame in enumerate(frames):
        expected = (20 + 9 * (index // 5)) / 255
        assert [found.score for found in frame.detections] == pytest.approx([expected], abs=0.01)


def test_times_are_those_of_the_source(video: Path) -> None:
    _, frames, _ = run(FakeEngines(), video)
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(FRAMES)])


def test_boxes_are_pixels_of_the_frame_as_displayed(tmp_path: Path) -> None:
    turned = write_video(tmp_path / "turned.mp4", 3, size=(96, 64), rotation=90)
    first, frames, _ = run(FakeEngines(), turned)
    assert (first.width, first.height, first.rotation) == (64, 96, 90)
    box = frames[0].detections[0].box
    assert (box.x1, box.y1) == (0, 0)
    assert (box.x2, box.y2) == pytest.approx((64, 96), abs=0.01)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.none() | st.floats(0, 1.5),
    length=st.none() | st.floats(0.05, 2),
    stride=st.integers(1, 50),
    references=st.integers(0, 20),
    batch=st.integers(1, 9),
    mode=st.sampled_from(["sequence", "online"]),
)
def test_selected_frames_are_emitted_once_and_in_order(
    video: Path,
    start: float | None,
    length: float | None,
    stride: int,
    references: int,
    batch: int,
    mode: str,
) -> None:
    end = None if length is None else (start or 0) + length
    params = DetectParams(start=start, end=end, stride=stride, reference_frames=references, mode=mode)
    inside = [i for i in range(FRAMES) if (start or 0) <= i / 25 < (np.inf if end is None else end)]
    if not inside:
        return
    engines = FakeEngines()
    _, frames, last = run(engines, video, params, batch)
    assert [frame.index for frame in frames] == inside[::stride]
    assert last.emitted + last.skipped + last.corrupt == last.demuxed == FRAMES
    assert engines.frames_run <= len(set(inside[::stride])) + references


@pytest.mark.parametrize("mode", ["sequence", "online"])
def test_the_batch_size_changes_nothing(video: Path, mode: str) -> None:
    params = DetectParams(score_threshold=0, mode=mode)
    assert run(FakeEngines(), video, params, batch=1)[1] == run(FakeEngines(), video, params, batch=7)[1]


def test_an_online_frame_sees_only_the_frames_before_it(video: Path) -> None:
    engines = FakeEngines()
    run(engines, video, DetectParams(mode="online", reference_frames=4))
    # One valid row a frame; four places, halved whenever a fifth frame comes.
    assert engines.references_seen[:10] == [0, 1, 2, 3, 4, 3, 3, 4, 4, 3]
    assert max(engines.references_seen) == 4


def test_a_range_without_frames_is_refused_naming_where_frames_are(video: Path) -> None:
    with pytest.raises(ParameterError, match=r"start is 99 s, which leaves no frame: .* 0 s and 1.56 s"):
        run(FakeEngines(), video, DetectParams(start=99))


def test_parameters_that_do_not_fit_the_bundle_are_refused_before_any_work(video: Path) -> None:
    engines = FakeEngines()
    for params, named in (
        (DetectParams(classes=("dog", "unicorn")), "unicorn"),
        (DetectParams(max_detections=99), "99"),
    ):
        with pytest.raises(ParameterError, match=named):
            run(engines, video, params)
    assert engines.frame_calls == 0


def test_classes_scores_and_numbers_filter_detections(video: Path) -> None:
    assert all(frame.detections for frame in run(FakeEngines(), video)[1])
    for params in (DetectParams(classes=("fox",)), DetectParams(score_threshold=1)):
        assert not any(frame.detections for frame in run(FakeEngines(), video, params)[1])


def test_a_failing_engine_is_an_engine_error_without_internals(video: Path) -> None:
    with pytest.raises(EngineFailureError) as raised:
        run(FakeEngines(fail_at=5), video)
    assert raised.value.code == "engine_failed"
    assert "fake" not in raised.value.detail


def test_it_stops_before_the_next_engine_call(video: Path) -> None:
    engines = FakeEngines()
    pipeline = DetectionPipeline(fake_bundle(engines), PipelineOptions(batch=2))
    records = pipeline.run(video, DetectParams(), RunContext(stopped=lambda: engines.frames_run >= 10))
    assert not any(isinstance(record, SummaryRecord) for record in records)
    assert engines.frames_run <= 12


def test_a_damaged_frame_is_counted_where_that_is_tolerated_and_an_error_where_not(tmp_path: Path) -> None:
    damaged = write_video(tmp_path / "damaged.avi", 12, codec="mjpeg", pix_fmt="yuvj420p")
    damage_packet(damaged, 5)
    with pytest.raises(VideoError):
        run(FakeEngines(), damaged)
    _, frames, last = run(FakeEngines(), damaged, DetectParams(decode="tolerant"))
    assert [frame.index for frame in frames] == [i for i in range(12) if i != 5]
    assert (last.corrupt, last.emitted, last.complete) == (1, 11, False)


def test_a_file_that_is_cut_off_is_never_complete(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mkv", FRAMES, codec="mpeg4")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(VideoError, match="cut off"):
        run(FakeEngines(), path)
    _, frames, last = run(FakeEngines(), path, DetectParams(decode="tolerant"))
    assert 0 < len(frames) < FRAMES
    assert not last.complete


def test_a_clock_that_starts_anew_is_said_and_times_go_on(tmp_path: Path) -> None:
    part = write_video(tmp_path / "part.ts", 10).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(part + part)
    _, frames, last = run(FakeEngines(), path)
    times = [frame.time for frame in frames if frame.time is not None]
    assert (len(times), last.clock_jumps, last.complete) == (20, 1, True)
    assert np.diff(times) == pytest.approx(0.04)


def test_every_error_has_a_status_and_a_sentence(video: Path) -> None:
    with pytest.raises(DetectError) as raised:
        run(FakeEngines(), video, DetectParams(classes=("unicorn",)))
    assert (raised.value.code, raised.value.parameter) == ("invalid_parameter", "classes")
    assert raised.value.allowed == "dog, fox"
    assert raised.value.detail.endswith(".")
