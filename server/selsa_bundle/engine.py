"""The engine protocol: what the pipeline asks of a runtime.

Letters of shapes: see `selsa_bundle.contract`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from selsa_bundle.contract import BANK_VALID, Dimensions
from selsa_bundle.tolerance import Precision

Array = npt.NDArray[Any]
Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


class _Named:
    """Arrays by name, also readable as attributes."""

    tensors: dict[str, Array]

    def __getattr__(self, name: str) -> Array:
        try:
            return self.__dict__["tensors"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name}") from None


class FrameBatch(_Named):
    """The frame engine's outputs for B frames, by name.

    Args:
        tensors: `boxes` float32 [B, P, 4], proposals, xyxy in pixels of the resized frame; `valid` bool
            [B, P], false where a row is only padding; and the features of the family, see
            `selsa_bundle.family` (Faster R-CNN: `queries` and `memory`).
    """

    boxes: Float
    valid: Bool

    def __init__(self, **tensors: Array) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        """B, the number of frames."""
        return len(self.boxes)

    def __getitem__(self, frames: slice) -> "FrameBatch":
        """Some of the frames, without copying."""
        return FrameBatch(**{name: array[frames] for name, array in self.tensors.items()})

    def replaced(self, **changed: Array) -> "FrameBatch":
        """A batch with these arrays replaced."""
        return FrameBatch(**{**self.tensors, **changed})

    @staticmethod
    def concatenate(batches: "Sequence[FrameBatch]") -> "FrameBatch":
        """All frames of several batches as one batch; a single batch is returned unchanged."""
        if len(batches) == 1:
            return batches[0]
        names = batches[0].tensors
        return FrameBatch(**{name: np.concatenate([b.tensors[name] for b in batches]) for name in names})


class ReferenceBank(_Named):
    """Features of the reference frames' proposals, frame after frame.

    Args:
        valid: bool [R], false where a row is empty.
        state: returns a new object whenever the arrays have changed, so that a runtime can
            keep its own copy until then; None: a runtime must copy the arrays for each call.
        tensors: by name of the feature, as the sequence engine takes them (Faster R-CNN: `memory` float32
            [S, 2, R, C]).
    """

    valid: Bool
    state: Callable[[], object] | None

    def __init__(self, *, valid: Bool, state: Callable[[], object] | None = None, **tensors: Array) -> None:
        self.valid, self.state, self.tensors = valid, state, tensors

    @staticmethod
    def of(batches: Sequence[FrameBatch], dims: Dimensions) -> "ReferenceBank":
        """The bank of all frames of these batches, in order."""
        rows = slice(dims.bank_rows)
        frames = [batch[i : i + 1] for batch in batches for i in range(len(batch))]
        return ReferenceBank(
            valid=np.concatenate([frame.valid[0, rows] for frame in frames]),
            state=None,
            **{
                f.name: np.concatenate(
                    [f.rows(frame.tensors[f.name][0], rows) for frame in frames], axis=f.axis
                )
                for f in dims.tensors.bank_features
            },
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.valid.nbytes + sum(array.nbytes for array in self.tensors.values())


def sequence_feeds(
    dims: Dimensions, batch: FrameBatch, image_size: Int, scale_factor: Float
) -> dict[str, Array]:
    """The sequence engine's inputs that belong to the key frames."""
    features = {f.name: batch.tensors[f.name] for f in dims.tensors.key_features}
    return {
        "boxes": batch.boxes,
        "valid": batch.valid,
        **features,
        "image_size": image_size,
        "scale_factor": scale_factor,
    }


def bank_feeds(dims: Dimensions, bank: ReferenceBank) -> dict[str, Array]:
    """The sequence engine's inputs that belong to the bank."""
    features = {f.bank or "": bank.tensors[f.name] for f in dims.tensors.bank_features}
    return {**features, BANK_VALID: bank.valid}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionBatch:
    """Detections of B key frames, by score descending, padded with zeros.

    Attributes:
        boxes: float32 [B, D, 4], xyxy in pixels of the source frame as displayed.
        scores: float32 [B, D], in 0..1.
        labels: int64 [B, D], index into the bundle's classes.
        count: int64 [B], how many of the D rows are detections.
        proposals: int64 [B, D], the proposal (0 to P - 1) that each came from; None if the bundle does not
            output it, see `Dimensions.names_proposals`.
    """

    boxes: Float
    scores: Float
    labels: Int
    count: Int
    proposals: Int | None = None

    @staticmethod
    def from_outputs(outputs: Mapping[str, Array]) -> "DetectionBatch":
        """The sequence engine's outputs, by their names in the tensor contract."""
        return DetectionBatch(
            boxes=outputs["detections"],
            scores=outputs["scores"],
            labels=outputs["labels"],
            count=outputs["count"],
            proposals=outputs.get("proposals"),
        )

    def outputs(self) -> dict[str, Array]:
        """The arrays by their names in the tensor contract."""
        known: dict[str, Array] = {
            "detections": self.boxes,
            "scores": self.scores,
            "labels": self.labels,
            "count": self.count,
        }
        if self.proposals is not None:
            known["proposals"] = self.proposals
        return known

    def of(self, frame: int) -> tuple[Float, Float, Int]:
        """Boxes [N, 4], scores [N] and labels [N] of one frame, without the padding."""
        count = int(self.count[frame])
        return self.boxes[frame, :count], self.scores[frame, :count], self.labels[frame, :count]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """The provider that executes the graphs, and their precision."""

    provider: str
    precision: Precision


class Engines(Protocol):
    """A bundle's frame engine and sequence engine on some runtime.

    Safe to call from several threads at once. Starts no thread that calls back.
    """

    @property
    def dimensions(self) -> Dimensions:
        """The family and the fixed dimensions of its tensors."""
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
            batch: the frame engine's outputs for the B key frames.
            image_size: int64 [B, 2], (height, width) of the resized frames without padding.
            scale_factor: float32 [B, 2], resized size / source size along (x, y).

        Raises:
            EngineError: the runtime failed.
        """
        ...

    def close(self) -> None:
        """Free the engines' memory. No call may run or follow; a second close does nothing."""
        ...
