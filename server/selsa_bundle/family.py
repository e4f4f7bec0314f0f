"""Families of models: which tensors the two engines of a family exchange.

Every frame engine outputs `boxes` and `valid`, every sequence engine outputs detections. The other outputs of
the frame engine, and those that the reference bank keeps, depend on the family. A family is one entry of
`FAMILIES`; the tensor contract, the banks, the runtimes and the gate follow from it.

Shapes are written in letters. B (frames), H, W and R (rows of the bank) differ from call to call; the others
are fixed by the bundle, see `selsa_bundle.contract.Dimensions`.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy.typing as npt

FamilyName = Literal["faster-rcnn", "one-stage"]
Shape = tuple[int | str, ...]
Array = npt.NDArray[Any]

PUBLISHED: Final[FamilyName] = "faster-rcnn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A float32 output of the frame engine with a row for every proposal.

    Attributes:
        name: of the frame engine's output, and of the sequence engine's input for key frames.
        shape: letters and numbers; B comes first, P occurs once.
        bank: the sequence engine's input with the same feature of the reference proposals, where B is left
            out and R takes the place of P; None: the bank does not keep it.
        key: whether it is also an input of the sequence engine, for the key frames.
    """

    name: str
    shape: Shape
    bank: str | None = None
    key: bool = True

    @property
    def bank_shape(self) -> Shape:
        """Shape of the bank's input, which has one row per reference proposal."""
        return tuple("R" if size == "P" else size for size in self.shape[1:])

    @property
    def axis(self) -> int:
        """The axis of the proposals, counted from the end: of a batch, of one frame and of a bank."""
        return self.shape.index("P") - len(self.shape)

    def rows(self, array: Array, rows: Any) -> Array:
        """Some proposals of an array of this feature; a view where `rows` is a slice."""
        found: Array = array[(..., rows, *[slice(None)] * (-self.axis - 1))]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The tensors that the engines of a family exchange.

    Attributes:
        features: outputs of the frame engine after `boxes` and `valid`, in order.
        appearance: name of the feature [B, P, C] that the tracker compares objects by.
        by_shot: whether a key frame attends to references of its own shot only. The published protocol
            spreads references over the whole video.
        of_points: whether features belong to the point that a box was predicted from, not to the box. Two
            points can predict the same box from different features.
    """

    features: tuple[Feature, ...]
    appearance: str
    by_shot: bool = False
    of_points: bool = False

    @property
    def key_features(self) -> tuple[Feature, ...]:
        """Features of the key frames that are inputs of the sequence engine."""
        return tuple(feature for feature in self.features if feature.key)

    @property
    def bank_features(self) -> tuple[Feature, ...]:
        """Features of the reference frames that the bank keeps."""
        return tuple(feature for feature in self.features if feature.bank is not None)

    @property
    def letters(self) -> frozenset[str]:
        """The fixed dimensions that the features need."""
        used = {size for feature in self.features for size in feature.shape if isinstance(size, str)}
        return frozenset(used - {"B"})


FAMILIES: Final[dict[FamilyName, Family]] = {
    # The published SELSA head on Faster R-CNN. A query is a RoI feature after the first shared layer, before
    # its ReLU; memory is key (0) and value (1) of each aggregation stage.
    "faster-rcnn": Family(
        features=(
            Feature(name="queries", shape=("B", "P", "C")),
            Feature(name="memory", shape=("B", "S", 2, "P", "C"), bank="bank"),
        ),
        appearance="queries",
    ),
    # One stage of attention over a one-stage detector. The values that are attended to are class logits.
    "one-stage": Family(
        features=(
            Feature(name="logits", shape=("B", "P", "N"), bank="bank_logits"),
            Feature(name="points", shape=("B", "P", "C")),
            Feature(name="keys", shape=("B", "A", "P", "K"), bank="bank_keys"),
        ),
        appearance="points",
        by_shot=True,
        of_points=True,
    ),
}
