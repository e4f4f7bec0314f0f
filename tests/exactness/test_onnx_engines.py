"""The exported engines in ONNX Runtime give the published detections, whatever the batch."""

from pathlib import Path

import numpy as np
import pytest
from procedural_clip import CLIP_FRAMES, clip_frame
from published import Published, of_batch, partners

from selsa_bundle.engine import DetectionBatch, Engines, FrameBatch, ReferenceBank
from selsa_bundle.preprocess import PreparedFrame, Preprocess
from selsa_bundle.runtimes.load import load_engines


@pytest.fixture(scope="module")
def engines(r18_bundle: Path) -> Engines:
    return load_engines(r18_bundle).engines


@pytest.fixture(scope="module")
def clip() -> list[PreparedFrame]:
    return [Preprocess().prepare(clip_frame(i)) for i in range(CLIP_FRAMES)]


def sizes(frames: list[PreparedFrame]) -> np.ndarray:
    return np.array([f.image_size for f in frames], np.int64)


def run_frames(engines: Engines, frames: list[PreparedFrame]) -> FrameBatch:
    return engines.run_frames(np.stack([f.pixels for f in frames]), sizes(frames))


def run_sequence(
    engines: Engines, frames: list[PreparedFrame], batch: FrameBatch, bank: ReferenceBank
) -> DetectionBatch:
    scales = np.array([f.scale_factor for f in frames], np.float32)
    return engines.run_sequence(batch, sizes(frames), scales, bank)


@pytest.fixture(scope="module")
def features(engines: Engines, clip: list[PreparedFrame]) -> list[FrameBatch]:
    return [run_frames(engines, [frame]) for frame in clip]


@pytest.fixture(scope="module")
def bank(features: list[FrameBatch], published: Published) -> ReferenceBank:
    return ReferenceBank(
        memory=np.concatenate([features[i].memory[0] for i in published.references], axis=2),
        valid=np.concatenate([features[i].valid[0] for i in published.references]),
    )


def test_every_published_proposal_is_ours(features: list[FrameBatch], published: Published) -> None:
    for row, frame in enumerate(published.key_frames):
        partners(published.arrays["proposals"][row, :, :4], features[frame].boxes[0])


def test_every_published_detection_is_ours(
    engines: Engines,
    clip: list[PreparedFrame],
    features: list[FrameBatch],
    bank: ReferenceBank,
    published: Published,
) -> None:
    found = {i: of_batch(run_sequence(engines, [clip[i]], features[i], bank)) for i in published.key_frames}
    published.assert_equals(found)


@pytest.mark.parametrize("chosen", [[0, 1], [3, 0, 11], [5, 5, 5, 5]])
def test_a_batch_gives_each_frame_what_it_gets_alone(
    engines: Engines,
    clip: list[PreparedFrame],
    features: list[FrameBatch],
    bank: ReferenceBank,
    chosen: list[int],
) -> None:
    frames = [clip[i] for i in chosen]
    together = run_sequence(engines, frames, run_frames(engines, frames), bank)
    for position, i in enumerate(chosen):
        alone = run_sequence(engines, [clip[i]], features[i], bank)
        for mine, other in zip(of_batch(together, position), of_batch(alone), strict=True):
            assert np.array_equal(mine, other)


def test_frames_of_other_sizes_in_the_same_padding_do_not_change_each_other(engines: Engines) -> None:
    wide, narrow = (Preprocess().prepare(clip_frame(0)[:, :w]) for w in (320, 317))
    assert wide.pixels.shape == narrow.pixels.shape
    assert wide.image_size != narrow.image_size
    both = run_frames(engines, [wide, narrow])
    for position, frame in enumerate((wide, narrow)):
        alone = run_frames(engines, [frame])
        assert np.array_equal(both.boxes[position], alone.boxes[0])
        assert np.array_equal(both.memory[position], alone.memory[0])


@pytest.mark.parametrize("shape", [(16, 16), (90, 23), (37, 160)])
def test_a_frame_too_small_for_all_proposals_gives_masked_rows(
    engines: Engines, shape: tuple[int, int]
) -> None:
    """Fewer anchors than candidates, fewer boxes than proposals."""
    height, width = (-(-side // 16) * 16 for side in shape)
    pixels = np.zeros((1, height, width, 3), np.uint8)
    pixels[0, : shape[0], : shape[1]] = 90
    size = np.array([shape], np.int64)
    batch = engines.run_frames(pixels, size)
    assert 0 < batch.valid.sum() < 300
    assert np.isfinite(batch.memory).all()
    assert (batch.boxes[0][~batch.valid[0]] == 0).all()
    assert (batch.boxes[0, :, 2] <= shape[1]).all()
    assert (batch.boxes[0, :, 3] <= shape[0]).all()


def test_an_empty_place_in_the_bank_counts_for_nothing(
    engines: Engines, clip: list[PreparedFrame], features: list[FrameBatch], bank: ReferenceBank
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=50, size=(*bank.memory.shape[:2], 300, bank.memory.shape[3])).astype(np.float32)
    padded = ReferenceBank(
        memory=np.concatenate([bank.memory, noise], axis=2),
        valid=np.concatenate([bank.valid, np.zeros(300, np.bool_)]),
    )
    want = run_sequence(engines, [clip[4]], features[4], bank)
    found = run_sequence(engines, [clip[4]], features[4], padded)
    assert np.allclose(want.scores, found.scores, atol=1e-5)
    assert np.allclose(want.boxes, found.boxes, atol=1e-2)


def test_without_any_reference_a_frame_still_has_its_own_proposals(
    engines: Engines, clip: list[PreparedFrame], features: list[FrameBatch]
) -> None:
    nothing = ReferenceBank(memory=np.full_like(features[0].memory[0], 1e3), valid=np.zeros(300, np.bool_))
    itself = ReferenceBank(memory=features[2].memory[0], valid=features[2].valid[0])
    alone = run_sequence(engines, [clip[2]], features[2], nothing)
    twice = run_sequence(engines, [clip[2]], features[2], itself)
    assert alone.count[0] > 0
    # Softmax over every row twice is softmax over every row once.
    assert np.allclose(alone.scores, twice.scores, atol=1e-5)
