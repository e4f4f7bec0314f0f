"""A shot of a film has the detections that it has alone, where the family of the model says so."""

from itertools import starmap
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from fake_engines import FakeEngines
from fakes import fake_bundle
from media import write_video

from selsa_bundle.default_bundle import default_bundle
from selsa_bundle.engine import FrameBatch
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.runtimes.load import LoadedBundle, load_engines
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.shots import LONGEST, ShotParts
from selsa_server.schema.detect import DetectParams, FrameRecord, VideoRecord
from selsa_server.video.prepared import TimedFrame

Image = npt.NDArray[np.uint8]
# Frames of each shot.
FIRST, SECOND = 9, 6


def shot(seed: int, count: int) -> list[Image]:
    """A scene of large blocks, and something that moves."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    scene = cv2.resize(cells, (160, 120), interpolation=cv2.INTER_NEAREST)
    frames = [scene.copy() for _ in range(count)]
    for position, frame in enumerate(frames):
        cv2.circle(frame, (20 + 8 * position, 60), 12, (250, 240, 10), -1)
    return frames


def film(path: Path, frames: list[Image]) -> Path:
    return write_video(
        path, len(frames), codec="ffv1", pix_fmt="bgr0", size=(160, 120), picture=lambda i: frames[i]
    )


@pytest.fixture(scope="module")
def bundle() -> LoadedBundle:
    return load_engines(default_bundle())


@pytest.mark.parametrize("mode", ["sequence", "online"])
def test_a_shot_has_the_detections_that_it_has_alone(bundle: LoadedBundle, tmp_path: Path, mode: str) -> None:
    one, other = shot(1, FIRST), shot(2, SECOND)
    params = DetectParams(mode=mode, score_threshold=0.01)
    pipeline = DetectionPipeline(bundle)

    def records(name: str, frames: list[Image]) -> tuple[tuple[int, ...], list[tuple]]:
        first, *rest = pipeline.run(film(tmp_path / name, frames), params)
        assert isinstance(first, VideoRecord)
        found = [each.detections for each in rest if isinstance(each, FrameRecord)]
        assert len(found) == len(frames)
        return first.reference_frames, found

    references, both = records("both.mkv", one + other)
    assert references == ()
    for name, frames, found in (("one.mkv", one, both[:FIRST]), ("other.mkv", other, both[FIRST:])):
        _, alone = records(name, frames)
        for mine, theirs in zip(found, alone, strict=True):
            assert [d.class_id for d in mine] == [d.class_id for d in theirs]
            assert np.allclose([d.score for d in mine], [d.score for d in theirs], atol=1e-6)


@pytest.mark.parametrize("mode", ["sequence", "online"])
def test_a_dissolve_ends_the_references_of_a_shot(bundle: LoadedBundle, tmp_path: Path, mode: str) -> None:
    one, other, fade = shot(1, 30), shot(2, 42), 12
    mixed = [
        np.asarray(cv2.addWeighted(a, 1 - share, b, share, 0), np.uint8)
        for a, b, share in zip(one[-fade:], other, np.linspace(0, 1, fade + 2)[1:-1], strict=False)
    ]
    dissolved = [*one[:-fade], *mixed, *other[fade:]]
    params, pipeline = DetectParams(mode=mode, score_threshold=0.01), DetectionPipeline(bundle)
    # From some frame on the records are those of a film that begins in the dissolve.
    begin = dissolved[20 if mode == "sequence" else 32 :]

    def last(name: str, frames: list[Image]) -> list[tuple]:
        found = list(pipeline.run(film(tmp_path / name, frames), params))
        assert isinstance(found[0], VideoRecord)
        records = [each for each in found if isinstance(each, FrameRecord)]
        assert len(records) == len(frames)
        return [each.detections for each in records[-6:]]

    whole, alone = last("whole.mkv", dissolved), last("begin.mkv", begin)
    for mine, theirs in zip(whole, alone, strict=True):
        assert [d.class_id for d in mine] == [d.class_id for d in theirs]
        assert np.allclose([d.score for d in mine], [d.score for d in theirs], atol=1e-4)


def test_the_published_family_spreads_its_references_over_the_whole_film(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", shot(1, FIRST) + shot(2, SECOND))
    first, *_ = DetectionPipeline(fake_bundle(FakeEngines())).run(path, DetectParams())
    assert isinstance(first, VideoRecord)
    assert first.reference_frames == (0, 5, 9, 14)


def test_a_long_shot_comes_in_parts_that_overlap_and_every_frame_is_ready_once() -> None:
    pixels = shot(3, 1)[0]
    prepared = PreparedFrame(pixels=pixels, image_size=pixels.shape[:2], scale_factor=(1.0, 1.0))
    parts, taken = ShotParts(), []
    count = 2 * LONGEST + 5
    features = FrameBatch(boxes=np.zeros((1, 1, 4), np.float32), valid=np.ones((1, 1), np.bool_))
    given = [(TimedFrame(index=i, pts=i, time=None, prepared=prepared), features) for i in range(count)]
    for part in [*starmap(parts.add, given), parts.rest()]:
        taken += [frame.index for frame in part.frames[: part.ready]]
        assert len(part.frames) <= LONGEST
        assert not part.ready or len(part.frames) >= LONGEST // 2
    assert taken == list(range(count))
