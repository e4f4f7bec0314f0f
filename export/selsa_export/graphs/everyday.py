"""The two stages of the everyday model in the form that the graphs are written from."""

import copy

from torch import Tensor, nn

from selsa_export.graphs.precision import TYPES, FloatPrecision
from selsa_training.everyday.detector import EverydayDetector, EverydayFeatures
from selsa_training.everyday.nanodet import LevelOutput
from selsa_training.model.detector import Detections


class EverydayFrameGraph(nn.Module):
    """The frame engine; inputs and outputs of the tensor contract.

    Args:
        detector: in evaluation mode, on the CPU; it is not modified.
        precision: of the network; boxes, features and keys are float32.
    """

    def __init__(self, detector: EverydayDetector, precision: FloatPrecision) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector)
        self.detector.nanodet = _InPrecision(self.detector.nanodet, precision)  # type: ignore[assignment]

    def forward(self, frames: Tensor, image_size: Tensor) -> EverydayFeatures:
        """See the tensor contract."""
        return self.detector.frame_stage(self.detector.normalise(frames, image_size), image_size)


class EverydaySequenceGraph(nn.Module):
    """The sequence engine, in float32; inputs and outputs of the tensor contract."""

    def __init__(self, detector: EverydayDetector) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector)

    def forward(
        self,
        boxes: Tensor,
        valid: Tensor,
        logits: Tensor,
        points: Tensor,
        keys: Tensor,
        image_size: Tensor,
        scale_factor: Tensor,
        bank_logits: Tensor,
        bank_keys: Tensor,
        bank_valid: Tensor,
    ) -> Detections:
        """See the tensor contract."""
        frame = EverydayFeatures(boxes, valid, logits, points, keys)
        bank = (bank_logits, bank_keys, bank_valid)
        return self.detector.sequence_stage(frame, image_size, scale_factor, *bank)


class _InPrecision(nn.Module):
    """The network computed in another type; its inputs and outputs are float32."""

    def __init__(self, network: nn.Module, precision: FloatPrecision) -> None:
        super().__init__()
        self.dtype = TYPES[precision]
        self.network = network.to(self.dtype)

    def forward(self, images: Tensor) -> list[LevelOutput]:
        return [LevelOutput(*(x.float() for x in level)) for level in self.network(images.to(self.dtype))]
