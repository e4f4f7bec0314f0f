"""The objects of a batch of frames as padded tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from selsa_training.data.samples import SampleBatch


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """True objects of every frame, padded to the largest number G (at least 1).

    Attributes:
        boxes: float32 [F, G, 4], xyxy in pixels of the resized frames; padding overlaps no frame.
        labels: int64 [F, G]; 0 in padding.
        valid: bool [F, G].
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor

    @classmethod
    def of(cls, batch: SampleBatch) -> "GroundTruth":
        """The objects of a batch on the CPU. Ignored objects are left out, as in the published recipe."""
        kept = [~ignored for ignored in batch.ignored]
        boxes = [b[k] for b, k in zip(batch.boxes, kept, strict=True)]
        labels = [x[k] for x, k in zip(batch.labels, kept, strict=True)]
        most = max(1, max(len(x) for x in labels))
        # Padding boxes are far outside, so their IoU is 0; they have an area, so their encoding is finite.
        padded = torch.tensor([-1e4, -1e4, -1e4 + 1, -1e4 + 1]).repeat(len(labels), most, 1)
        names = torch.zeros(len(labels), most, dtype=torch.int64)
        valid = torch.zeros(len(labels), most, dtype=torch.bool)
        for frame, (some_boxes, some_labels) in enumerate(zip(boxes, labels, strict=True)):
            padded[frame, : len(some_boxes)] = some_boxes
            names[frame, : len(some_labels)] = some_labels
            valid[frame, : len(some_labels)] = True
        return cls(padded, names, valid)

    def __getitem__(self, frames: Tensor) -> "GroundTruth":
        """The objects of some of the frames."""
        return GroundTruth(self.boxes[frames], self.labels[frames], self.valid[frames])

    def to(self, device: torch.device) -> "GroundTruth":
        """The objects on a device."""
        return GroundTruth(self.boxes.to(device), self.labels.to(device), self.valid.to(device))
