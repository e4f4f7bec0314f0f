"""Samples are functions of (seed, epoch, index); processes share one order; boxes follow their pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import coco_content, write_coco, write_imagenet
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from selsa_bundle.preprocess import Preprocess
from selsa_training.data.batches import BatchOrder
from selsa_training.data.building import DataSetBuilder, FoundObject
from selsa_training.data.errors import ImageError
from selsa_training.data.formats.coco_vid import read_coco_vid
from selsa_training.data.formats.imagenet_vid import read_imagenet
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import DataSet, FrameObjects
from selsa_training.data.samples import SampleBatch, TrainingSamples, collate
from selsa_training.data.sampling import ReferenceSampling, plan_sample, sample_random, whole_video_references
from selsa_training.data.transforms import (
    Augmentation,
    FrameChange,
    changed,
    draw_change,
    prepare_frame,
)

PUBLISHED = ReferenceSampling()
WHOLE_CLIP = ReferenceSampling(method="whole_clip", count=4)
SMALL = Preprocess(long_side=64, short_side=48)


def clips(*lengths: int) -> DataSet:
    """Videos of those lengths; one of length 0 stands for a still."""
    builder = DataSetBuilder(("a",), IssueLog())
    for number, length in enumerate(lengths):
        builder.start_video(str(number), Path(), still=not length)
        for frame in range(max(1, length)):
            builder.add_frame(f"{frame}.jpg", (48, 64))
            builder.add_object(FoundObject(label=0, box=(1, 2, 30, 40)), Path())
    return builder.build(Path())


@given(length=st.integers(2, 60), key=st.integers(0, 59), seed=st.integers(0, 10))
def test_published_references_are_near_and_on_both_sides(length: int, key: int, seed: int) -> None:
    data, key = clips(5, length), 5 + key % length
    plan = plan_sample(data, key, PUBLISHED, sample_random(seed, 0, 0))
    first, *references = plan.frames
    assert first == key
    assert all(frame in data.frames_of(1) and 0 < abs(frame - key) <= 9 for frame in references)
    if 5 < key < 5 + length - 1:
        assert references[0] < key < references[1]
    else:
        # The first and the last frame have one in all.
        assert len(references) == 1


@given(length=st.integers(2, 60), key=st.integers(0, 59), seed=st.integers(0, 10))
def test_whole_clip_references_come_from_every_part(length: int, key: int, seed: int) -> None:
    data, key = clips(length), key % length
    plan = plan_sample(data, key, WHOLE_CLIP, sample_random(seed, 0, 0))
    references = np.array(plan.frames[1:])
    assert key not in references
    assert len(references) == 4
    if length > 8:
        # Without the key frame the parts shift by one at most.
        quarters = references * 4 / (length - 1)
        assert (np.abs(quarters - np.arange(4) - 0.5) <= 0.5 + 8 / (length - 1)).all()


def test_a_still_and_a_single_frame_are_their_own_references() -> None:
    data = clips(0, 1)
    for sampling in (PUBLISHED, WHOLE_CLIP):
        for key in (0, 1):
            plan = plan_sample(data, key, sampling, sample_random(0, 0, 0))
            assert set(plan.frames) == {key}
            assert len(plan.frames) == 1 + sampling.count


def test_test_time_references_span_the_video() -> None:
    data = clips(5, 40)
    assert whole_video_references(data, 1, 4) == [5, 18, 31, 44]
    assert whole_video_references(data, 0, 14)[::13] == [0, 4]


def test_zero_references_give_an_empty_list() -> None:
    for method in ("bilateral_uniform", "whole_clip"):
        sampling = ReferenceSampling(method=method, count=0)
        assert plan_sample(clips(9), 3, sampling, sample_random(0, 0, 0)).frames == (3,)


@pytest.mark.parametrize("options", [{"count": 3}, {"count": -2}, {"window": 0}])
def test_invalid_samplings_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        ReferenceSampling(**options)  # type: ignore[arg-type]


def test_half_of_the_samples_are_mirrored() -> None:
    data = clips(30)
    flips = [plan_sample(data, 5, PUBLISHED, sample_random(0, 0, i)).flip for i in range(400)]
    assert 160 < sum(flips) < 240


@given(count=st.integers(1, 50), batch=st.integers(1, 5), world=st.integers(1, 4), epoch=st.integers(0, 3))
def test_several_processes_see_the_samples_of_one(count: int, batch: int, world: int, epoch: int) -> None:
    parts = [
        list(BatchOrder(count=count, batch=batch, rank=rank, world=world, seed=1, epoch=epoch))
        for rank in range(world)
    ]
    whole = list(BatchOrder(count=count, batch=batch * world, seed=1, epoch=epoch))
    assert [[i for part in step for i in part] for step in zip(*parts, strict=True)] == whole
    assert {index for step in whole for _, index in step} == set(range(count))
    assert {e for step in whole for e, _ in step} == {epoch}


def test_a_resumed_order_continues_at_its_step() -> None:
    whole = list(BatchOrder(count=23, batch=2, seed=5, epoch=3))
    resumed = BatchOrder(count=23, batch=2, seed=5)
    resumed.start(epoch=3, step=7)
    assert len(resumed) == 5
    assert list(resumed) == whole[7:]
    assert list(BatchOrder(count=23, batch=2, seed=6, epoch=3)) != whole
    assert list(BatchOrder(count=23, batch=2, seed=5, epoch=4)) != whole


def test_an_invalid_order_is_refused() -> None:
    with pytest.raises(ValueError, match="rank 2 of 2"):
        BatchOrder(count=3, batch=1, rank=2, world=2)


@given(flip=st.booleans(), height=st.integers(20, 90), width=st.integers(20, 90), seed=st.integers(0, 5))
def test_boxes_follow_their_pixels(flip: bool, height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x1, y1 = int(random.integers(0, width - 10)), int(random.integers(0, height - 10))
    x2, y2 = int(random.integers(x1 + 6, width + 1)), int(random.integers(y1 + 6, height + 1))
    frame = np.zeros((height, width, 3), np.uint8)
    frame[y1:y2, x1:x2] = 255
    objects = FrameObjects(
        np.zeros(1, np.int64),
        np.array([[x1, y1, x2, y2]], np.float32),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(1, np.bool_),
    )
    made = prepare_frame(frame, objects, Preprocess(long_side=160, short_side=120), flip=flip)
    bright = made.pixels[..., 0] > 127
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    drawn = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(made.boxes[0], drawn, atol=1.6)
    assert made.pixels.shape[0] % 16 == made.pixels.shape[1] % 16 == 0
    assert not made.pixels[made.image_size[0] :].any()
    assert not made.pixels[:, made.image_size[1] :].any()


def same(a: SampleBatch, b: SampleBatch) -> bool:
    return a.names == b.names and torch.equal(a.frames, b.frames)


def test_a_sample_depends_on_its_index_alone(tmp_path: Path) -> None:
    data = read_imagenet(write_imagenet(tmp_path), "train", IssueLog())
    samples = TrainingSamples(data, preprocess=SMALL, sampling=PUBLISHED, seed=3)
    assert len(samples) == 5
    first = collate([samples[2, 1]])
    [samples[epoch, 0] for epoch in range(4)]
    again = TrainingSamples(data, preprocess=SMALL, sampling=PUBLISHED, seed=3)
    assert same(first, collate([again[2, 1]]))
    others = [collate([samples[epoch, 1]]) for epoch in range(8)]
    assert len({other.names for other in others}) > 1


def test_a_loader_with_workers_gives_the_same_batches(tmp_path: Path) -> None:
    data = read_imagenet(write_imagenet(tmp_path), "train", IssueLog())
    samples = TrainingSamples(data, preprocess=SMALL, sampling=PUBLISHED, seed=3)
    order = BatchOrder(count=len(samples), batch=2, seed=1)
    alone = list(DataLoader(samples, batch_sampler=order, collate_fn=collate))
    helped = list(DataLoader(samples, batch_sampler=order, collate_fn=collate, num_workers=2))
    assert len(alone) == 3
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))


def test_a_sample_with_fewer_references_is_filled_up_with_absent_frames(tmp_path: Path) -> None:
    data = read_coco_vid(write_coco(tmp_path, coco_content()), tmp_path, IssueLog())
    whole = TrainingSamples(data, preprocess=SMALL, sampling=PUBLISHED, seed=0)[0, 0]
    short = type(whole)(whole.name, whole.frames[:2])
    batch = collate([short, whole])
    assert batch.present.tolist() == [True, True, False, True, True, True]
    assert torch.equal(batch.frames[2], batch.frames[1])


def test_a_batch_is_padded_to_its_largest_frame(tmp_path: Path) -> None:
    data = read_coco_vid(write_coco(tmp_path, coco_content()), tmp_path, IssueLog())
    large, small = (
        TrainingSamples(data, preprocess=p, sampling=PUBLISHED, seed=0)[0, 0]
        for p in (Preprocess(long_side=96, short_side=96), SMALL)
    )
    batch = collate([large, small])
    assert batch.frames.shape == (6, 80, 96, 3)
    assert batch.frames.dtype == torch.uint8
    assert batch.image_size.tolist() == [[72, 96]] * 3 + [[48, 64]] * 3
    assert not batch.frames[3:, 48:].any()
    assert batch.frames_each == 3
    assert len(batch.boxes) == len(batch.labels) == len(batch.ignored) == 6
    assert batch.boxes[0].shape == (1, 4)
    assert batch.names[0].startswith("seven: ")


def test_a_missing_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    data = read_coco_vid(write_coco(tmp_path, coco_content()), tmp_path, IssueLog())
    for path in tmp_path.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(ImageError, match=r"v7/1\.jpg: No such file"):
        TrainingSamples(data, preprocess=SMALL, sampling=PUBLISHED, seed=0)[0, 0]


def test_augmentation_moves_boxes_with_their_pixels() -> None:
    frame = np.zeros((60, 80, 3), np.uint8)
    frame[20:40, 30:60] = 200
    objects = FrameObjects(
        np.arange(1),
        np.array([[30, 20, 60, 40]], np.float32),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(1, bool),
    )
    for seed in range(20):
        change = draw_change(Augmentation(scale=0.5), np.random.default_rng(seed))
        pixels, found = changed(frame, objects, change)
        bright = np.argwhere(pixels[..., 0] > 100)
        seen = [bright[:, 1].min(), bright[:, 0].min(), bright[:, 1].max() + 1, bright[:, 0].max() + 1]
        assert np.abs(found.boxes[0] - seen).max() <= 1
        assert 1 / 1.5 - 1e-9 <= change.zoom <= 1.5 + 1e-9


def test_an_object_that_augmentation_moves_out_of_view_is_left_out_or_ignored() -> None:
    boxes = np.array([[0, 0, 10, 10], [16, 0, 26, 10], [40, 0, 60, 10]], np.float32)
    numbers = np.arange(3)
    objects = FrameObjects(numbers, boxes, numbers, numbers, np.zeros(3, bool))
    # Twice as large, with what was 24 pixels from the left at the left edge.
    change = FrameChange(2.0, (-0.6, 0.0), (1.0, 1.0, 1.0), 0.0)
    _, found = changed(np.zeros((60, 80, 3), np.uint8), objects, change)
    assert found.labels.tolist() == [1, 2]
    assert found.boxes.tolist() == [[0, 0, 4, 20], [32, 0, 72, 20]]
    assert found.ignored.tolist() == [True, False]


def test_augmentation_is_a_function_of_seed_and_index_and_leaves_the_choice_of_frames_alone(
    tmp_path: Path,
) -> None:
    data = read_imagenet(write_imagenet(tmp_path), "train", IssueLog())
    plain = TrainingSamples(data, preprocess=SMALL, sampling=PUBLISHED, seed=3)
    strong = Augmentation(scale=0.5, colour=0.5)
    made = [
        TrainingSamples(data, preprocess=SMALL, sampling=PUBLISHED, seed=3, augmentation=strong)
        for _ in range(2)
    ]
    for index in ((0, 0), (1, 2)):
        first, again = (samples[index] for samples in made)
        assert first.name == again.name == plain[index].name
        for a, b in zip(first.frames, again.frames, strict=True):
            assert np.array_equal(a.pixels, b.pixels)
            assert np.array_equal(a.boxes, b.boxes)
    assert any(
        not np.array_equal(a.pixels, b.pixels)
        for a, b in zip(made[0][0, 0].frames, plain[0, 0].frames, strict=True)
    )
