"""The model in torch behind the engine protocol, so that whatever runs engines can run the model itself."""

import numpy as np
import numpy.typing as npt
import torch

from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import DetectionBatch, EngineInfo, FrameBatch, ReferenceBank
from selsa_export.onnx_graphs import dimensions_of
from selsa_training.model.detector import FrameFeatures, SelsaDetector

__all__ = ["TorchEngines"]

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]


class TorchEngines:
    """The two stages of a detector in evaluation mode on the CPU. See `selsa_bundle.engine.Engines`."""

    def __init__(self, detector: SelsaDetector) -> None:
        self._detector = detector

    @property
    def dimensions(self) -> Dimensions:
        """The fixed dimensions P, C, S and D."""
        return dimensions_of(self._detector.config)

    @property
    def info(self) -> EngineInfo:
        """Provider `torch`."""
        return EngineInfo(provider=f"torch {torch.__version__}", precision="fp32")

    @torch.inference_mode()
    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: Int) -> FrameBatch:
        """Run the frame stage; see the protocol."""
        size = torch.from_numpy(image_size)
        images = self._detector.normalise(torch.from_numpy(frames), size)
        boxes, valid, queries, memory = (x.numpy() for x in self._detector.frame_stage(images, size))
        return FrameBatch(boxes=boxes, valid=valid, queries=queries, memory=memory)

    @torch.inference_mode()
    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: Float, bank: ReferenceBank
    ) -> DetectionBatch:
        """Run the sequence stage; see the protocol."""
        inputs = (batch.boxes, batch.valid, batch.queries, batch.memory)
        frame = FrameFeatures(*(torch.from_numpy(x) for x in inputs))
        rest = (torch.from_numpy(x) for x in (image_size, scale_factor, bank.memory, bank.valid))
        boxes, scores, labels, count = (x.numpy() for x in self._detector.sequence_stage(frame, *rest))
        return DetectionBatch(boxes=boxes, scores=scores, labels=labels, count=count)
