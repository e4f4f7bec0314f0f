"""The packaged everyday bundle on input that an ordinary video may have."""

import numpy as np
import numpy.typing as npt
import pytest

from selsa_bundle.bank import BankSlots
from selsa_bundle.classes import COCO
from selsa_bundle.default_bundle import default_bundle, sample_video
from selsa_bundle.engine import DetectionBatch, FrameBatch
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.runtimes.load import LoadedBundle, load_engines, prove_engines
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video

Image = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def bundle() -> LoadedBundle:
    return load_engines(default_bundle())


def run(bundle: LoadedBundle, frames: list[Image]) -> list[tuple[FrameBatch, DetectionBatch]]:
    """Every frame is a reference frame and a key frame."""
    prepared = [bundle.manifest.preprocess.prepare(frame) for frame in frames]
    known = [bundle.engines.run_frames(each.pixels[None], size_of(each)) for each in prepared]
    slots = BankSlots(bundle.engines.dimensions, len(frames))
    for slot, each in enumerate(known):
        slots.fill(slot, each)
    return [
        (
            each,
            bundle.engines.run_sequence(
                each, size_of(shown), np.array([shown.scale_factor], np.float32), slots.bank
            ),
        )
        for each, shown in zip(known, prepared, strict=True)
    ]


def size_of(prepared: PreparedFrame) -> npt.NDArray[np.int64]:
    return np.array([prepared.image_size], np.int64)


def highest_frozen(known: FrameBatch) -> float:
    return float(1 / (1 + np.exp(-known.tensors["logits"].max())))


def flat(value: int, height: int = 360, width: int = 640) -> Image:
    return np.full((height, width, 3), value, np.uint8)


def test_the_bundle_knows_cocos_classes_and_passes_its_own_gate(bundle: LoadedBundle) -> None:
    assert bundle.manifest.classes == COCO
    assert bundle.manifest.dimensions.family == "one-stage"
    assert prove_engines(bundle) is not None


def test_the_manifest_names_who_made_the_detector_and_under_which_licence(bundle: LoadedBundle) -> None:
    origin = bundle.manifest.provenance.origin
    assert all(part in origin for part in ("RangiLyu", "Apache-2.0", "MIT", "converted, unchanged"))


def test_the_licence_texts_and_credits_are_in_the_package() -> None:
    folder = default_bundle().parent / "licences"
    assert "Apache License" in (folder / "nanodet-Apache-2.0.txt").read_text()
    assert "Vladimir Mandic" in (folder / "human-models-MIT.txt").read_text()
    assert "CC BY 4.0" in (folder / "CREDITS.md").read_text()


def test_the_sample_video_is_small_and_whole() -> None:
    index = index_video(sample_video(), VideoLimits())
    assert (index.codec, index.damage) == ("h264", None)
    assert sample_video().stat().st_size <= 400_000


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("count", [1, 3])
def test_frames_without_anything_get_no_confident_detection(
    bundle: LoadedBundle, value: int, count: int
) -> None:
    for known, found in run(bundle, [flat(value)] * count):
        scores = found.scores[0, : found.count[0]]
        assert scores.max(initial=0) <= max(highest_frozen(known), 0.1) + 0.02


def test_noise_gets_no_more_confidence_than_the_frozen_detector_has(bundle: LoadedBundle) -> None:
    random = np.random.default_rng(0)
    frames = [random.integers(0, 255, (360, 640, 3)).astype(np.uint8) for _ in range(4)]
    results = run(bundle, frames)
    most = max(highest_frozen(known) for known, _ in results)
    for _, found in results:
        assert found.scores[0, : found.count[0]].max(initial=0) <= most + 0.03


@pytest.mark.parametrize("size", [(2160, 3840), (1920, 1080), (16, 4000), (4000, 16), (1, 1)])
def test_boxes_lie_inside_frames_of_any_size(bundle: LoadedBundle, size: tuple[int, int]) -> None:
    height, width = size
    frame = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    ((_, found),) = run(bundle, [frame])
    boxes = found.boxes[0, : found.count[0]]
    assert np.isfinite(boxes).all()
    assert (boxes >= 0).all()
    assert (boxes <= np.array([width, height] * 2) + 0.5).all()


def test_a_crowd_is_answered_with_at_most_a_hundred_detections(bundle: LoadedBundle) -> None:
    random = np.random.default_rng(1)
    frame = flat(120, 720, 1280)
    for _ in range(200):
        y, x = int(random.integers(0, 660)), int(random.integers(0, 1240))
        frame[y : y + 60, x : x + 30] = random.integers(0, 255, 3)
    for _, found in run(bundle, [frame, frame]):
        assert 0 <= found.count[0] <= 100
        assert (np.diff(found.scores[0, : found.count[0]]) <= 0).all()
