"""Crops of the training objects, for pretraining a backbone as a classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from selsa_training.data.images import read_image
from selsa_training.data.records import DataSet

# Margin on every side, and largest random shift and scale, as shares of the box's long side.
CONTEXT: Final = 0.1
SHAKE: Final = 0.1
_CROPS: Final = 4


@dataclass(frozen=True, slots=True)
class CropBatch:
    """N crops: `images` uint8 [N, size, size, 3] RGB, `labels` int64 [N], and the names of their frames."""

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]


class ObjectCrops(Dataset[CropBatch]):
    """Batches of crops. Batch i has the objects of random frames and depends only on seed, rank and i."""

    def __init__(self, data: DataSet, *, size: int, frames: int, batches: int, seed: int, rank: int) -> None:
        self.data = data
        keys = data.training_keys()
        self.keys = keys[data.learnable_objects()[keys] > 0]
        self.size = size
        self.frames = frames
        self.batches = batches
        self.seed = seed
        self.rank = rank

    def __len__(self) -> int:
        """Number of batches."""
        return self.batches

    def __getitem__(self, index: int) -> CropBatch:
        """Read one batch.

        Raises:
            ImageError: an image cannot be read.
        """
        random = np.random.default_rng([_CROPS, self.seed, self.rank, index])
        images, labels, names = [], [], []
        for frame in random.choice(self.keys, self.frames).tolist():
            pixels, objects = read_image(self.data.path(frame)), self.data.objects(frame)
            names.append(
                f"{self.data.video_names[self.data.video_of(frame)]}: {self.data.frame_names[frame]}"
            )
            for box, label in zip(
                objects.boxes[~objects.ignored], objects.labels[~objects.ignored], strict=True
            ):
                images.append(_crop(pixels, box, self.size, random))
                labels.append(int(label))
        return CropBatch(torch.from_numpy(np.stack(images)), torch.tensor(labels), tuple(names))


def _crop(
    pixels: npt.NDArray[np.uint8], box: Sequence[float], size: int, random: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """A square around the box, moved, scaled and mirrored at random; edge pixels repeat outside the image."""
    x1, y1, x2, y2 = (float(x) for x in box)
    side = max(x2 - x1, y2 - y1) * (1 + 2 * CONTEXT) * random.uniform(1 - SHAKE, 1 + 2 * SHAKE)
    move_x, move_y = random.uniform(-SHAKE, SHAKE, 2) * side
    left, top = (x1 + x2 - side) / 2 + move_x, (y1 + y2 - side) / 2 + move_y
    scale = size / side
    mirrored = random.random() < 0.5
    along = -scale if mirrored else scale
    start = size - 1 + left * scale if mirrored else -left * scale
    matrix = np.array([[along, 0, start], [0, scale, -top * scale]], np.float64)
    area = cv2.warpAffine(
        pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return area.astype(np.uint8, copy=False)
