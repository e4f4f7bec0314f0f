"""The model in torch as an implementation of the engine protocol."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import (
    DetectionBatch,
    EngineInfo,
    FrameBatch,
    ReferenceBank,
    bank_feeds,
    sequence_feeds,
)
from selsa_training.model.detector import Detector

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


class TorchEngines:
    """The two stages of a detector in evaluation mode. See `selsa_bundle.engine.Engines`.

    Args:
        detector: the model, on `device`.
        device: the device that computes. Inputs and outputs are in the CPU's memory.
    """

    def __init__(self, detector: Detector, device: torch.device | None = None) -> None:
        self._detector = detector
        self._device = device or torch.device("cpu")

    @property
    def dimensions(self) -> Dimensions:
        """The fixed dimensions P, C, S and D."""
        return self._detector.dimensions

    @property
    def info(self) -> EngineInfo:
        """Provider `torch VERSION DEVICE`."""
        return EngineInfo(provider=f"torch {torch.__version__} {self._device.type}", precision="fp32")

    @torch.inference_mode()
    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: Int) -> FrameBatch:
        """Run the frame stage; see the protocol."""
        size = self._in(image_size)
        images = self._detector.normalise(self._in(frames), size)
        found = [x.cpu().numpy() for x in self._detector.frame_stage(images, size)]
        names = ("boxes", "valid", *(feature.name for feature in self.dimensions.tensors.features))
        return FrameBatch(**dict(zip(names, found, strict=True)))

    @torch.inference_mode()
    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: Float, bank: ReferenceBank
    ) -> DetectionBatch:
        """Run the sequence stage; see the protocol."""
        feeds = sequence_feeds(self.dimensions, batch, image_size, scale_factor)
        inputs = [*feeds.values(), *bank_feeds(self.dimensions, bank).values()]
        of_frame = 2 + len(self.dimensions.tensors.key_features)
        frame = self._detector.frame_outputs(*map(self._in, inputs[:of_frame]))
        found = self._detector.sequence_stage(frame, *map(self._in, inputs[of_frame:]))
        boxes, scores, labels, count, proposals = (x.cpu().numpy() for x in found)
        return DetectionBatch(boxes=boxes, scores=scores, labels=labels, count=count, proposals=proposals)

    def close(self) -> None:
        """Does nothing: the caller owns the model."""

    def _in(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)
