"""Engines of large models, so slow that no frame should run twice."""

import hashlib

import numpy as np
import numpy.typing as npt

from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import DetectionBatch, EngineInfo, Engines, FrameBatch, ReferenceBank

__all__ = ["RememberedFrames"]

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]


class RememberedFrames:
    """Real engines that keep what they found in a frame and give it back for exactly the same pixels.

    A frame that differs in one bit runs. Those of a batch that are new run as one batch.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._known: dict[bytes, FrameBatch] = {}

    @property
    def dimensions(self) -> Dimensions:
        return self._engines.dimensions

    @property
    def info(self) -> EngineInfo:
        return self._engines.info

    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: Int) -> FrameBatch:
        keys = [_digest(pixels, size) for pixels, size in zip(frames, image_size, strict=True)]
        new = {key: row for row, key in enumerate(keys) if key not in self._known}
        if new:
            rows = list(new.values())
            found = self._engines.run_frames(frames[rows], image_size[rows])
            self._known.update({key: found[i : i + 1] for i, key in enumerate(new)})
        return FrameBatch.concatenate([self._known[key] for key in keys])

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: Float, bank: ReferenceBank
    ) -> DetectionBatch:
        return self._engines.run_sequence(batch, image_size, scale_factor, bank)

    def close(self) -> None:
        self._known.clear()
        self._engines.close()


def _digest(pixels: npt.NDArray[np.uint8], size: Int) -> bytes:
    """Of one frame [H, W, 3] and its (h, w) without padding."""
    return hashlib.sha256(repr((pixels.shape, size.tolist())).encode() + pixels.tobytes()).digest()
