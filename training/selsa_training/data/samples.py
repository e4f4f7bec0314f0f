"""Training samples as a torch data set, and their collation into batches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from selsa_bundle.preprocess import Preprocess
from selsa_training.data.batches import SampleIndex
from selsa_training.data.images import read_image
from selsa_training.data.records import DataSet
from selsa_training.data.sampling import ReferenceSampling, plan_sample, sample_random
from selsa_training.data.transforms import (
    Augmentation,
    TrainingFrame,
    changed,
    draw_change,
    prepare_frame,
)

NO_AUGMENTATION: Final = Augmentation()


@dataclass(frozen=True, slots=True)
class Sample:
    """A key frame and its reference frames, in that order.

    Attributes:
        name: `VIDEO: FRAME, FRAME, ...`, for messages.
        frames: T frames with their objects.
    """

    name: str
    frames: tuple[TrainingFrame, ...]


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """B samples of T frames each; frame t of sample b is row b * T + t.

    Attributes:
        names: B names, for messages.
        frames: uint8 [B * T, H, W, 3], RGB, padded with zeros to the largest.
        image_size: int64 [B * T, 2], (height, width) without padding.
        boxes: B * T of float32 [N, 4], xyxy in pixels of the resized frames.
        labels: B * T of int64 [N].
        ignored: B * T of bool [N].
        frames_each: T, the largest number of frames of a sample.
        present: bool [B * T]; false for a frame that only fills up a sample with fewer than T frames. It
            repeats the sample's last frame.
    """

    names: tuple[str, ...]
    frames: Tensor
    image_size: Tensor
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    ignored: tuple[Tensor, ...]
    frames_each: int
    present: Tensor

    def pin_memory(self) -> "SampleBatch":
        """The batch with its images in page-locked memory; `DataLoader(pin_memory=True)` calls it."""
        return replace(self, frames=self.frames.pin_memory(), image_size=self.image_size.pin_memory())


class TrainingSamples(Dataset[Sample]):
    """Samples by `SampleIndex`, from `BatchOrder`: the same index gives the same sample, bit for bit.

    Sample (epoch, i) has the i-th of `keys` as its key frame.
    """

    def __init__(
        self,
        data: DataSet,
        *,
        preprocess: Preprocess,
        sampling: ReferenceSampling,
        seed: int,
        flip: float = 0.5,
        augmentation: Augmentation = NO_AUGMENTATION,
    ) -> None:
        self.data = data
        self.keys = data.training_keys()
        self.preprocess = preprocess
        self.sampling = sampling
        self.seed = seed
        self.flip = flip
        self.augmentation = augmentation

    def __len__(self) -> int:
        """Number of samples of an epoch."""
        return len(self.keys)

    def __getitem__(self, index: SampleIndex) -> Sample:
        """Read one sample.

        Raises:
            ImageError: an image cannot be read; `selsa check-data --images` finds such images before
                training.
        """
        epoch, place = index
        key = int(self.keys[place])
        random = sample_random(self.seed, epoch, place)
        plan = plan_sample(self.data, key, self.sampling, random, flip=self.flip)
        # Drawn last, so that samples without augmentation do not depend on it.
        change = draw_change(self.augmentation, random) if self.augmentation else None
        read: dict[int, TrainingFrame] = {}
        for frame in plan.frames:
            if frame not in read:
                image, objects = read_image(self.data.path(frame)), self.data.objects(frame)
                if change is not None:
                    image, objects = changed(image, objects, change)
                read[frame] = prepare_frame(image, objects, self.preprocess, flip=plan.flip)
        video = self.data.video_names[self.data.video_of(key)]
        numbers = ", ".join(self.data.frame_names[frame] for frame in plan.frames)
        return Sample(f"{video}: {numbers}", tuple(read[frame] for frame in plan.frames))


def collate(samples: Sequence[Sample]) -> SampleBatch:
    """A batch of samples, padded to the largest frame and to the largest number of frames among them."""
    each = max(len(sample.frames) for sample in samples)
    filled = [[sample.frames[min(i, len(sample.frames) - 1)] for i in range(each)] for sample in samples]
    frames = [frame for sample in filled for frame in sample]
    height = max(frame.pixels.shape[0] for frame in frames)
    width = max(frame.pixels.shape[1] for frame in frames)
    pixels = np.zeros((len(frames), height, width, 3), np.uint8)
    for row, frame in zip(pixels, frames, strict=True):
        row[: frame.pixels.shape[0], : frame.pixels.shape[1]] = frame.pixels
    return SampleBatch(
        tuple(sample.name for sample in samples),
        torch.from_numpy(pixels),
        torch.tensor([frame.image_size for frame in frames]),
        tuple(torch.from_numpy(frame.boxes) for frame in frames),
        tuple(torch.from_numpy(frame.labels) for frame in frames),
        tuple(torch.from_numpy(frame.ignored) for frame in frames),
        each,
        torch.tensor([i < len(sample.frames) for sample in samples for i in range(each)]),
    )
