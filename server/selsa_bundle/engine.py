"""The engine protocol: what the pipeline asks of a runtime, whatever runs underneath.

Shape legend: B frames, P proposals, C feature width, S stages, R rows of the bank, D detections.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from selsa_bundle.contract import Dimensions
from selsa_bundle.tolerance import Precision

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBatch:
    """What the frame engine knows of B frames.

    Attributes:
        boxes: float32 [B, P, 4], proposals, xyxy in pixels of the resized frame.
        valid: bool [B, P], false where a row is only padding.
        queries: float32 [B, P, C], RoI features after the first shared layer, before its ReLU.
        memory: float32 [B, S, 2, P, C], key (0) and value (1) of each aggregation stage.
    """

    boxes: Float
    valid: Bool
    queries: Float
    memory: Float

    def __len__(self) -> int:
        """B, the number of frames."""
        return int(self.boxes.shape[0])

    def __getitem__(self, frames: slice) -> "FrameBatch":
        """The same of some of the frames, without copying."""
        return FrameBatch(
            boxes=self.boxes[frames],
            valid=self.valid[frames],
            queries=self.queries[frames],
            memory=self.memory[frames],
        )

    @staticmethod
    def concatenate(batches: "Sequence[FrameBatch]") -> "FrameBatch":
        """One batch of the frames of several; a single one is returned as it is."""
        if len(batches) == 1:
            return batches[0]
        return FrameBatch(
            boxes=np.concatenate([b.boxes for b in batches]),
            valid=np.concatenate([b.valid for b in batches]),
            queries=np.concatenate([b.queries for b in batches]),
            memory=np.concatenate([b.memory for b in batches]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceBank:
    """Key/value memory of the reference frames, one after the other.

    Attributes:
        memory: float32 [S, 2, R, C].
        valid: bool [R].
        state: gives an object that is another one whenever memory or valid has changed, so that a runtime
            may keep a copy of its own until then; None: nobody tells, so it must copy them for each call.
    """

    memory: Float
    valid: Bool
    state: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionBatch:
    """Detections of B key frames, by score descending, padded with zeros.

    Attributes:
        boxes: float32 [B, D, 4], xyxy in pixels of the source frame as displayed.
        scores: float32 [B, D], in 0..1.
        labels: int64 [B, D], index into the bundle's classes.
        count: int64 [B], how many of the D rows are detections.
    """

    boxes: Float
    scores: Float
    labels: Int
    count: Int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What really runs: the provider that executes the graphs and their precision."""

    provider: str
    precision: Precision


class Engines(Protocol):
    """A bundle's frame engine and sequence engine on some runtime.

    Passive and safe to call from several threads at once; owns no thread of the caller's concern.
    """

    @property
    def dimensions(self) -> Dimensions:
        """The fixed dimensions P, C, S and D."""
        ...

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        ...

    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: Int) -> FrameBatch:
        """Run the frame engine.

        Args:
            frames: uint8 [B, H, W, 3], RGB, resized and padded.
            image_size: int64 [B, 2], (height, width) without the padding.

        Raises:
            EngineError: the runtime failed.
        """
        ...

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: Float, bank: ReferenceBank
    ) -> DetectionBatch:
        """Run the sequence engine on key frames that share one bank.

        Args:
            batch: what the frame engine knows of the B key frames.
            image_size: int64 [B, 2], (height, width) of the resized frames without padding.
            scale_factor: float32 [B, 2], resized size / source size along (x, y).
            bank: memory of the reference frames.

        Raises:
            EngineError: the runtime failed.
        """
        ...

    def close(self) -> None:
        """Give back the memory that the engines hold. No call may run or follow; again is harmless."""
        ...
