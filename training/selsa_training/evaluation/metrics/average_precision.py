"""Average precision of a ranked list."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Interpolation = Literal["all", "101"]
"""`all`: the area under the interpolated curve (PASCAL VOC from 2010 on, ImageNet VID). `101`: the mean of
its values at recall 0, 0.01, ... 1 (COCO)."""


def average_precision(
    scores: npt.NDArray[np.float32],
    right: npt.NDArray[np.bool_],
    wrong: npt.NDArray[np.float64],
    positives: int,
    interpolation: Interpolation = "all",
) -> float:
    """Average precision of detections of one class.

    Args:
        scores: float32 [M].
        right: bool [M], whether each found an object.
        wrong: float64 [M], how much each counts as a false positive, 0 to 1; detections that are neither
            right nor wrong do not count.
        positives: objects that were to be found.
        interpolation: how the curve is turned into a number.

    Returns:
        0 to 1; NaN if there was nothing to find.
    """
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits, misses = np.cumsum(right[order]), np.cumsum(wrong[order])
    recall = hits / positives
    precision = hits / np.maximum(hits + misses, np.finfo(np.float64).tiny)
    # At each recall the best precision at that recall or a higher one.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if interpolation == "all":
        return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    reached = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.append(envelope, 0.0)[reached].mean())
