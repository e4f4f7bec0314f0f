"""Records with tracks: final when they leave, the same after a resume, and nothing of it without tracks."""

import json
from pathlib import Path

import numpy as np
import pytest
from fake_engines import FakeEngines
from fakes import fake_bundle
from media import write_video

from selsa_bundle.engine import DetectionBatch, FrameBatch, Int, ReferenceBank
from selsa_server.pipeline.frame_records import LOOK_AHEAD
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions, Resume
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, TrackedDetection, VideoRecord

FRAMES = 40


def scene(index: int, after: int = FRAMES) -> np.ndarray:
    """A picture that changes little; a very different one from frame `after` on."""
    return np.full((48, 64, 3), 20 + index % 3 if index < after else 200, np.uint8)


class TwoObjects(FakeEngines):
    """Two objects in every frame: one of a high score, one of a middling score."""

    def run_frames(self, frames: np.ndarray, image_size: Int) -> FrameBatch:
        batch = super().run_frames(frames, image_size)
        queries = np.tile(np.array([[1, 0, 0, 0], [0, 1, 0, 0]], np.float32), (len(frames), 1, 1))
        return batch.replaced(queries=queries, valid=np.ones_like(batch.valid))

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: np.ndarray, bank: ReferenceBank
    ) -> DetectionBatch:
        found = super().run_sequence(batch, image_size, scale_factor, bank)
        boxes, scores = found.boxes.copy(), found.scores.copy()
        boxes[:, :2] = [[0, 0, 20, 20], [40, 20, 60, 40]]
        scores[:, :2] = [0.99, 0.6]
        return DetectionBatch(
            boxes=boxes,
            scores=scores,
            labels=found.labels,
            count=np.full(len(boxes), 2),
            proposals=np.tile(np.array([0, 1, 0]), (len(boxes), 1)),
        )


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", FRAMES, picture=scene)


def records(
    video: Path, batch: int = 4, resume: Resume | None = None, **params: object
) -> list[VideoRecord | FrameRecord | SummaryRecord]:
    pipeline = DetectionPipeline(fake_bundle(TwoObjects()), PipelineOptions(batch=batch))
    return list(pipeline.run(video, DetectParams.model_validate(params), resume=resume))


def lines(found: list[VideoRecord | FrameRecord | SummaryRecord]) -> list[str]:
    return [record.model_dump_json(exclude={"seconds", "timings"}) for record in found]


def test_an_object_has_its_number_from_its_first_frame_on_in_sequence_mode(video: Path) -> None:
    first, *frames, last = records(video, tracks=True)
    assert isinstance(first, VideoRecord)
    assert first.look_ahead == LOOK_AHEAD
    assert [frame.index for frame in frames] == list(range(FRAMES))
    for frame in frames:
        assert [found.track_id for found in frame.detections] == [1, 2]
    assert isinstance(last, SummaryRecord)
    assert last.emitted == FRAMES
    assert last.aliases == {}
    assert last.objects is not None
    assert [(o.track_id, o.class_name, o.first_index, o.last_index, o.frames) for o in last.objects] == [
        (1, "dog", 0, FRAMES - 1, FRAMES),
        (2, "dog", 0, FRAMES - 1, FRAMES),
    ]
    assert last.objects[1].score == 0.6


def test_online_mode_waits_for_nothing_so_a_number_is_null_until_it_is_confirmed(video: Path) -> None:
    first, *frames, _ = records(video, tracks=True, mode="online")
    assert isinstance(first, VideoRecord)
    assert first.look_ahead == 0
    numbers = [[found.track_id for found in frame.detections] for frame in frames]
    assert numbers[0] == [1, None]
    assert numbers[-1] == [1, 2]
    assert '"track_id":null' in frames[0].model_dump_json()


@pytest.mark.parametrize("mode", ["sequence", "online"])
def test_records_do_not_depend_on_batches_nor_on_where_a_run_was_resumed(video: Path, mode: str) -> None:
    whole = lines(records(video, tracks=True, mode=mode))
    assert lines(records(video, batch=7, tracks=True, mode=mode)) == whole
    for last in (0, 3, 17, FRAMES - 1):
        left = lines(records(video, tracks=True, mode=mode, resume=Resume(emitted=last + 1, last=last)))
        assert left == [whole[0], *whole[last + 2 :]]


def test_without_tracks_nothing_of_them_is_in_the_records(video: Path) -> None:
    for record in records(video):
        text = record.model_dump_json()
        assert "track" not in text
        assert not {"look_ahead", "objects", "aliases"} & json.loads(text).keys()


def test_a_record_with_tracks_reads_back_as_it_was(video: Path) -> None:
    frame = records(video, tracks=True)[1]
    again = FrameRecord.model_validate_json(frame.model_dump_json())
    assert again == frame
    assert all(isinstance(found, TrackedDetection) for found in again.detections)


def test_aliases_change_the_numbers_of_a_frame_once(video: Path) -> None:
    frame = records(video, tracks=True)[1]
    assert isinstance(frame, FrameRecord)
    named = frame.with_aliases({2: 1})
    assert [found.track_id for found in named.detections] == [1, 1]
    assert named.with_aliases({2: 1}) == named
    assert frame.with_aliases({}) is frame


def test_a_single_frame_has_its_objects(video: Path, tmp_path: Path) -> None:
    one = write_video(tmp_path / "one.mp4", 1)
    *_, frame, last = records(one, tracks=True)
    assert [found.track_id for found in frame.detections] == [1, None]
    assert [each.track_id for each in last.objects] == [1]


class OtherAfterCut(TwoObjects):
    """What lies at the places of the objects looks different in bright frames."""

    def run_frames(self, frames: np.ndarray, image_size: Int) -> FrameBatch:
        batch = super().run_frames(frames, image_size)
        bright = frames.mean((1, 2, 3)) > 60
        return batch.replaced(
            queries=np.where(bright[:, None, None], -batch.queries[..., ::-1], batch.queries)
        )


def test_an_identity_does_not_survive_a_cut_on_position_alone(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mp4", 20, picture=lambda index: scene(index, after=10))
    for engines, expected in ((TwoObjects(), {1, 2}), (OtherAfterCut(), {3, 4})):
        pipeline = DetectionPipeline(fake_bundle(engines))
        *_, frame, _ = pipeline.run(path, DetectParams(tracks=True))
        assert {found.track_id for found in frame.detections} == expected


class NotFinite(TwoObjects):
    """The feature of the first object is not a number in every frame."""

    def run_frames(self, frames: np.ndarray, image_size: Int) -> FrameBatch:
        batch = super().run_frames(frames, image_size)
        queries = batch.queries.copy()
        queries[:, 0, 1] = np.nan
        return batch.replaced(queries=queries)


def test_features_that_are_not_finite_are_no_appearance(video: Path) -> None:
    pipeline = DetectionPipeline(fake_bundle(NotFinite()))
    _, *frames, _ = pipeline.run(video, DetectParams(tracks=True))
    assert [[found.track_id for found in frame.detections] for frame in frames] == [[1, 2]] * FRAMES
