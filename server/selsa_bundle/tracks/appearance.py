"""Appearance of a detection: the frame engine's feature of the proposal that it came from.

Networks differ in the scale of their features and in the usual similarity of two objects. So the scale of
similarity is learned from the video itself: pairs that overlap in consecutive frames show how similar an
object is to itself, detections of one frame that do not overlap show how similar different objects are.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_bundle.engine import DetectionBatch, FrameBatch
from selsa_bundle.family import Family

Float = npt.NDArray[np.float32]

# Proposals whose mean is the background that is subtracted.
BACKGROUND_ROWS: Final = 64
# The start values count as so many pairs.
PRIOR_PAIRS: Final = 20.0
# Weight of the past, in pairs: older pairs count less and less.
MOST_PAIRS: Final = 2000.0


def appearance(family: Family, frame: FrameBatch, found: DetectionBatch, position: int) -> Float | None:
    """Unit vectors float32 [N, C] of one frame's detections; None if the bundle does not output proposals.

    Zeros where the features are not finite, as those of a network that overflows in float16.

    Args:
        family: of the bundle's model.
        frame: the frame engine's outputs of that frame, a batch of one.
        found: the sequence engine's outputs.
        position: of the frame in `found`.
    """
    if found.proposals is None:
        return None
    features = frame.tensors[family.appearance][0]
    valid = frame.valid[0]
    rows = found.proposals[position, : int(found.count[position])]
    known = features[:BACKGROUND_ROWS][valid[:BACKGROUND_ROWS]]
    known = known[np.isfinite(known).all(-1)]
    looks = features[rows] - (known.mean(0) if len(known) > 1 else 0.0)
    looks = looks.astype(np.float32)
    return unit(np.where(np.isfinite(looks).all(-1, keepdims=True), looks, np.float32(0)))


def unit(vectors: Float) -> Float:
    """Each row divided by its length; zeros stay zeros."""
    length = np.sqrt(np.square(vectors).sum(-1, keepdims=True))
    divided: Float = vectors / np.maximum(length, 1e-9)
    return divided


@dataclass(slots=True)
class Likeness:
    """Similarity of two appearances: 0 is usual for different objects, 1 for one object in two frames.

    The start values count as `PRIOR_PAIRS` pairs.
    """

    same: float = 0.9
    other: float = 0.3
    _same_pairs: float = field(default=PRIOR_PAIRS)
    _other_pairs: float = field(default=PRIOR_PAIRS)

    def __call__(self, a: Float, b: Float) -> Float:
        """float32 [N, M] of unit vectors [N, C] and [M, C]; may be below 0 and above 1."""
        return self._scaled(a @ b.T)

    def of_pairs(self, a: Float, b: Float) -> Float:
        """float32 [K] of unit vectors [K, C] and [K, C]."""
        return self._scaled((a * b).sum(-1))

    def _scaled(self, cosines: Float) -> Float:
        scale = max(self.same - self.other, 0.05)
        alike: Float = ((cosines - self.other) / scale).astype(np.float32)
        return alike

    def learn_same(self, cosines: Float) -> None:
        """Learn from cosines of pairs that certainly are one object."""
        self.same, self._same_pairs = _mean(self.same, self._same_pairs, float(cosines.sum()), len(cosines))

    def learn_other(self, looks: Float, apart: npt.NDArray[np.bool_]) -> None:
        """Learn from the objects of one frame.

        Args:
            looks: float32 [N, C], unit vectors.
            apart: bool [N, N], symmetric: pairs that certainly are two objects.
        """
        # The sum over all pairs without a matrix product, which would wake the threads of BLAS.
        both = np.square(looks.sum(0)).sum() - np.square(looks).sum()
        first, second = np.nonzero(np.triu(~apart, 1))
        close = (looks[first] * looks[second]).sum()
        pairs = len(looks) * (len(looks) - 1) // 2 - len(first)
        self.other, self._other_pairs = _mean(self.other, self._other_pairs, float(both / 2 - close), pairs)


def _mean(before: float, weight: float, added: float, count: int) -> tuple[float, float]:
    """The mean after `count` more values whose sum is `added`, and its weight."""
    if not count:
        return before, weight
    total = weight + count
    return (before * weight + added) / total, min(total, MOST_PAIRS)
