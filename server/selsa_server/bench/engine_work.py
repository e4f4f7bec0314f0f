"""The engines alone, on inputs that are made once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selsa_bundle.engine import DetectionBatch, FrameBatch, ReferenceBank
from selsa_bundle.preprocess import PreparedFrame, Preprocess
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.video.decode import CorruptFrame, decode_frames
from selsa_server.video.index import VideoIndex


class EngineWork:
    """Both engines of a bundle on the first frames of a video, with a bank of as many as the bundle wants.

    Attributes:
        frames: prepared, as many as a batch has.
        features: what the frame engine knows of them.
        bank: memory of reference frames; those there are, again and again.
    """

    def __init__(self, bundle: LoadedBundle, frames: Sequence[PreparedFrame]) -> None:
        self._engines = bundle.engines
        self.frames = list(frames)
        self.features = self.run_frames(len(frames))
        count = max(1, bundle.manifest.reference_frames)
        rows = [self.features[i % len(frames) : i % len(frames) + 1] for i in range(count)]
        self.bank = ReferenceBank.of(rows, self._engines.dimensions)

    @property
    def padded_size(self) -> tuple[int, int]:
        """(width, height) of what goes into the frame engine, in pixels."""
        height, width, _ = self.frames[0].pixels.shape
        return width, height

    def run_frames(self, count: int) -> FrameBatch:
        """One call of the frame engine on the first `count` frames."""
        frames = self.frames[:count]
        return self._engines.run_frames(np.stack([f.pixels for f in frames]), _sizes(frames))

    def run_sequence(self, count: int) -> DetectionBatch:
        """One call of the sequence engine on the first `count` frames as key frames."""
        frames = self.frames[:count]
        return self._engines.run_sequence(self.features[:count], _sizes(frames), _scales(frames), self.bank)

    def frame_inputs(self) -> dict[str, npt.NDArray[Any]]:
        """The tensor contract's inputs of the frame engine, for one frame."""
        frames = self.frames[:1]
        return {"frames": np.stack([f.pixels for f in frames]), "image_size": _sizes(frames)}

    def sequence_inputs(self) -> dict[str, npt.NDArray[Any]]:
        """The tensor contract's inputs of the sequence engine, for one key frame."""
        frames, known = self.frames[:1], self.features[:1]
        return {
            "boxes": known.boxes,
            "valid": known.valid,
            "queries": known.queries,
            "memory": known.memory,
            "image_size": _sizes(frames),
            "scale_factor": _scales(frames),
            "bank": self.bank.memory,
            "bank_valid": self.bank.valid,
        }


def first_frames(preprocess: Preprocess, video: Path, index: VideoIndex, count: int) -> list[PreparedFrame]:
    """`count` frames from the beginning of a video; those of one that is shorter are given again.

    Raises:
        VideoError: the video cannot be decoded.
    """
    frames = [
        preprocess.prepare(frame.pixels)
        for frame in decode_frames(video, index, range(min(count, len(index))), tolerant=False)
        if not isinstance(frame, CorruptFrame)
    ]
    return [frames[i % len(frames)] for i in range(count)]


def _sizes(frames: Sequence[PreparedFrame]) -> npt.NDArray[np.int64]:
    return np.array([frame.image_size for frame in frames], np.int64)


def _scales(frames: Sequence[PreparedFrame]) -> npt.NDArray[np.float32]:
    return np.array([frame.scale_factor for frame in frames], np.float32)
