"""Overlap of boxes, and one-to-one matching."""

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]


def overlaps(a: Float, b: Float) -> Float:
    """Intersection over union of every box with every other; 0 for a box without an area.

    Args:
        a: float32 [N, 4], xyxy.
        b: float32 [M, 4], xyxy.

    Returns:
        float32 [N, M].
    """
    # Side by side: twice as fast as over a last axis of 2.
    width, height = (
        np.minimum.outer(a[:, side + 2], b[:, side + 2]) - np.maximum.outer(a[:, side], b[:, side])
        for side in (0, 1)
    )
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    total = areas(a)[:, None] + areas(b)[None] - shared
    found: Float = (shared / np.maximum(total, 1e-9)).astype(np.float32)
    return found


def areas(boxes: Float) -> Float:
    """float32 [N] of boxes [N, 4], in square pixels."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    area: Float = sides[:, 0] * sides[:, 1]
    return area


def enlarged(boxes: Float, share: float | Float) -> Float:
    """Boxes whose every side is moved out by a share of the box's width or height; the share may be [N]."""
    out = (boxes[:, 2:] - boxes[:, :2]) * np.reshape(share, (-1, 1))
    return np.concatenate([boxes[:, :2] - out, boxes[:, 2:] + out], axis=1).astype(np.float32)


def match(affinity: Float, least: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of the highest affinity first, each row and column once.

    Args:
        affinity: float32 [N, M].
        least: pairs at or below this are left out.
    """
    rows, columns = np.nonzero(affinity > least)
    return matched(rows, columns, affinity[rows, columns], least)


def matched(rows: Int, columns: Int, affinity: Float, least: float) -> list[tuple[int, int]]:
    """As `match`, of the pairs that have an affinity.

    Args:
        rows: int64 [K]; of equal affinities the first one counts more.
        columns: int64 [K].
        affinity: float32 [K].
        least: pairs at or below this are left out.
    """
    kept = np.flatnonzero(affinity > least)
    order = kept[np.argsort(-affinity[kept], kind="stable")]
    taken_rows, taken_columns, pairs = set[int](), set[int](), []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in taken_rows and column not in taken_columns:
            taken_rows.add(row)
            taken_columns.add(column)
            pairs.append((row, column))
    return pairs
