"""Filled and rescored records: every frame once and in order, marked, and the same wherever a run begins."""

from pathlib import Path

import numpy as np
import pytest
from fake_engines import FakeEngines
from fakes import fake_bundle
from media import damage_packet, write_video
from pydantic import ValidationError

from selsa_bundle.engine import DetectionBatch, FrameBatch, Int, ReferenceBank
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions, Resume
from selsa_server.render.contact_sheet import open_contact_sheet
from selsa_server.render.video import open_drawn_video
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.schema.stream import stream_message

FRAMES = 20
DARK = (7, 8)


def scene(index: int) -> np.ndarray:
    return np.full((48, 64, 3), 25 if index in DARK else 40 + index, np.uint8)


class OneMoves(FakeEngines):
    """An object that moves with the grey level of the picture; in dark pictures it is hardly seen."""

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: np.ndarray, bank: ReferenceBank
    ) -> DetectionBatch:
        found = super().run_sequence(batch, image_size, scale_factor, bank)
        grey = np.rint(batch.queries[:, 0, 0])
        boxes, scores = found.boxes.copy(), found.scores.copy()
        left = np.where(grey < 30, 47, grey) - 40
        boxes[:, 0] = np.stack([left, 0 * left, left + 20, 0 * left + 20], -1)
        scores[:, 0] = np.where(grey < 30, 0.02, 0.9)
        return DetectionBatch(boxes=boxes, scores=scores, labels=found.labels, count=found.count)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video")
    return write_video(folder / "video.mkv", FRAMES, codec="ffv1", pix_fmt="bgr0", picture=scene)


Found = list[VideoRecord | FrameRecord | SummaryRecord]


def records(video: Path, batch: int = 4, resume: Resume | None = None, **params: object) -> Found:
    pipeline = DetectionPipeline(fake_bundle(OneMoves()), PipelineOptions(batch=batch))
    return list(pipeline.run(video, DetectParams.model_validate(params), resume=resume))


def lines(found: Found) -> list[str]:
    return [record.model_dump_json(exclude={"seconds", "timings"}) for record in found]


FILLED = {"stride": 3, "fill": "interpolate"}


def test_every_frame_has_its_record_with_its_time_and_the_ones_between_are_marked(video: Path) -> None:
    first, *frames, last = records(video, **FILLED)
    plain = records(video)[1:-1]
    assert isinstance(first, VideoRecord)
    assert isinstance(last, SummaryRecord)
    assert first.fill == "interpolate"
    # No frame is computed only to be a reference.
    assert {*first.reference_frames} <= {0, 3, 6, 9, 12, 15, 18, 19}
    assert [(each.index, each.pts, each.time) for each in frames] == [
        (each.index, each.pts, each.time) for each in plain
    ]
    # The last frame is detected on, so that nothing is filled without an end.
    assert [each.index for each in frames if not each.filled] == [0, 3, 6, 9, 12, 15, 18, 19]
    assert [each.detections[0].box.x1 for each in frames] == pytest.approx(range(FRAMES), abs=1e-4)
    assert (last.emitted, last.filled, last.decoded, last.skipped) == (FRAMES, 12, 8, 0)
    assert last.complete


def test_a_filled_object_keeps_its_number(video: Path) -> None:
    _, *frames, last = records(video, tracks=True, **FILLED)
    assert [[found.track_id for found in frame.detections] for frame in frames] == [[1]] * FRAMES
    assert last.objects[0].frames == 8


def test_rescoring_finds_a_weak_detection_between_strong_ones(video: Path) -> None:
    plain = records(video, score_threshold=0.3)[1:-1]
    first, *frames, _ = records(video, score_threshold=0.3, rescore=True)
    assert isinstance(first, VideoRecord)
    assert first.rescored
    assert [each.index for each in plain if not each.detections] == list(DARK)
    assert [each.index for each in frames if not each.detections] == []
    assert frames[0] == plain[0]
    for index in DARK:
        assert 0.4 < frames[index].detections[0].score < 0.5
        assert frames[index].detections[0].box.x1 == pytest.approx(index, abs=1)


def test_online_mode_rescores_by_the_past(video: Path) -> None:
    _, *frames, _ = records(video, score_threshold=0.3, rescore=True, mode="online")
    assert all(each.detections for each in frames)


@pytest.mark.parametrize(
    "params",
    [
        {"rescore": True},
        {"rescore": True, "mode": "online"},
        {**FILLED},
        {**FILLED, "tracks": True, "rescore": True},
    ],
    ids=lambda params: " ".join(params),
)
def test_records_do_not_depend_on_batches_nor_on_where_a_run_was_resumed(
    video: Path, params: dict[str, object]
) -> None:
    whole = lines(records(video, **params))
    assert lines(records(video, batch=7, **params)) == whole
    for last in (0, 4, FRAMES - 1):
        left = lines(records(video, resume=Resume(emitted=last + 1, last=last), **params))
        assert left == [whole[0], *whole[last + 2 :]]


def test_off_they_change_nothing_and_say_nothing(video: Path) -> None:
    text = "".join(lines(records(video)))
    assert not any(word in text for word in ("filled", "fill", "rescored"))
    # With a stride of 1 there is nothing to fill.
    assert lines(records(video, fill="interpolate"))[1:-1] == lines(records(video))[1:-1]


def test_a_part_of_a_video_is_filled_between_its_ends(video: Path) -> None:
    _, *frames, last = records(video, start=0.2, end=0.6, **FILLED)
    assert [each.index for each in frames] == list(range(5, 15))
    assert (last.emitted, last.skipped) == (10, 10)


def test_frames_beside_a_key_that_does_not_decode_are_filled_and_counts_add_up(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", FRAMES, codec="ffv1", pix_fmt="bgr0", picture=scene)
    damage_packet(path, 6)
    # Beside an end that does not decode nothing is known, so nothing is filled.
    for start, expected in ((0, {*range(FRAMES)} - {6}), (6 / 25, {*range(9, FRAMES)})):
        _, *frames, last = records(path, decode="tolerant", start=start, **FILLED)
        assert {each.index for each in frames} == expected
        assert last.emitted + last.skipped + last.corrupt == last.demuxed
        assert last.corrupt == 1


def test_filling_is_refused_where_what_follows_is_not_known() -> None:
    with pytest.raises(ValidationError, match=r"fill \(interpolate\) needs the mode sequence"):
        DetectParams(mode="online", fill="interpolate")
    for value, allowed in (("interpolate", "'none'"), ("nearest", "'none'")):
        with pytest.raises(ValidationError, match=allowed):
            stream_message(f'{{"type": "start", "container": "mp4", "fill": "{value}"}}')
    assert stream_message('{"type": "start", "container": "mp4", "rescore": true}')


def test_drawings_have_the_filled_frames(video: Path, tmp_path: Path) -> None:
    import av

    found = records(video, **FILLED)
    params = DetectParams.model_validate(FILLED)
    with open_drawn_video(video, tmp_path / "drawn.mp4", params) as write:
        for each in found:
            write(each)
    with av.open(str(tmp_path / "drawn.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES
    with open_contact_sheet(video, tmp_path / "sheet.png", params) as write:
        for each in found:
            write(each)
    assert (tmp_path / "sheet.png").stat().st_size > 0
