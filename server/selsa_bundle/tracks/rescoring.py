"""Rescoring along tubes, after REPP (Sabater et al., IROS 2020): weak detections between strong ones gain.

REPP gives each detection of a tube the tube's mean score. That takes from detections that were right: so here
a score only rises, half of the way to the mean of the better half of the tube's scores nearby. A box moves
to where its neighbours say it is, the more so the weaker its own score is.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_bundle.tracks.geometry import Float, Int
from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.tubes import NONE, TubeFrame, linked_to

Double = npt.NDArray[np.float64]
# Frames on each side whose scores count, and whose boxes do.
SCORE_FRAMES: Final = 8
BOX_FRAMES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RescoreOptions:
    """The numbers of rescoring; chosen on synthetic clips that no score is reported on.

    Attributes:
        share: of the way to the mean of the better half that a score rises.
        near: frames; standard deviation of the weight of a box's neighbours.
        ridge: frames squared, added to the variance of the neighbours' times: keeps a line through few
            neighbours flat.
    """

    share: float = 0.5
    near: float = 2.0
    ridge: float = 0.5


class Rescorer:
    """Rescores the frames of one video or stream in order. Its memory is a window of frames.

    Args:
        look_ahead: frames after a frame that count for it, at most; with 0 only the past counts, and boxes
            stay, because a box that follows its past lags behind its object.
        options: its numbers.
    """

    def __init__(self, look_ahead: int = SCORE_FRAMES, options: RescoreOptions | None = None) -> None:
        self._ahead = look_ahead
        self._options = options or RescoreOptions()
        self._window: deque[TubeFrame] = deque()
        self._place = 0  # of the next frame to leave, in the window

    def add(self, seen: Observation) -> list[Observation]:
        """The frames that are final after the next one, at most one."""
        self._window.append(linked_to(self._window[-1] if self._window else None, seen))
        return self._leaving(self._ahead)

    def rest(self) -> list[Observation]:
        """The frames that still wait, after the last one."""
        return self._leaving(0)

    def _leaving(self, staying: int) -> list[Observation]:
        left = []
        while len(self._window) - self._place > staying:
            left.append(self._rescored())
            self._place += 1
            if self._place > SCORE_FRAMES:
                self._window.popleft()
                self._place -= 1
        return left

    def _rescored(self) -> Observation:
        frames = list(self._window)[: self._place + 1 + self._ahead]
        seen = frames[self._place].seen
        if not len(seen.scores) or len(frames) == 1:
            return seen
        rows = _tube_rows(frames, self._place)
        scores = np.stack([_gathered(each.seen.scores, at) for each, at in zip(frames, rows, strict=True)])
        boxes = seen.boxes
        if self._ahead:
            near = slice(max(0, self._place - BOX_FRAMES), self._place + BOX_FRAMES + 1)
            places = np.stack(
                [_gathered(each.seen.boxes, at) for each, at in zip(frames[near], rows[near], strict=True)]
            )
            offsets = np.array([each.seen.index - seen.index for each in frames[near]])
            boxes = self._smoothed(seen, places, scores[near], offsets)
        return seen.with_values(boxes, self._raised(seen.scores, scores))

    def _raised(self, own: Float, scores: Double) -> Float:
        """float32 [N] of own scores [N] and those of the tubes [K, N], NaN where a tube is not."""
        best_first = -np.sort(-scores, axis=0)
        half = (np.isfinite(scores).sum(0) + 1) // 2
        sums = np.nancumsum(best_first, axis=0)
        mean = sums[half - 1, np.arange(len(half))] / half
        raised: Float = np.maximum(own, own + self._options.share * (mean - own)).astype(np.float32)
        return raised

    def _smoothed(self, seen: Observation, boxes: Double, scores: Double, offsets: Int) -> Float:
        """Boxes [N, 4], towards weighted lines through those of their tubes, never outside of them.

        Args:
            seen: the frame.
            boxes: float64 [K, N, 4] of the tubes, NaN where a tube is not.
            scores: float64 [K, N] of the tubes.
            offsets: int64 [K], source frames from the frame to each of the K.
        """
        own, own_scores = seen.boxes, seen.scores
        known = np.isfinite(scores) & np.isfinite(boxes).all(-1)
        times = offsets[:, None].astype(np.float64)
        near = np.exp(-0.5 * np.square(times / self._options.near))
        weights = np.where(known, near * (np.square(np.nan_to_num(scores)) + 1e-3), 0.0)
        total = np.maximum(weights.sum(0), 1e-12)
        shares = (weights / total)[..., None]
        filled = np.where(known[..., None], boxes, 0.0)
        time = (shares[..., 0] * times).sum(0)
        apart = times - time
        spread = (shares[..., 0] * np.square(apart)).sum(0) + self._options.ridge
        mean = (shares * filled).sum(0)
        slope = (shares * apart[..., None] * (filled - mean)).sum(0) / spread[:, None]
        low = np.where(known[..., None], boxes, np.inf).min(0)
        high = np.where(known[..., None], boxes, -np.inf).max(0)
        line = np.clip(mean - slope * time[:, None], low, high)
        # A box moves in so far as its score is below the best one near it.
        best = np.where(known, scores, 0.0).max(0)
        share = (1.0 - own_scores / np.maximum(best, 1e-9))[:, None]
        moved = own + share * (line - own)
        smoothed: Float = np.where((known.sum(0) > 1)[:, None], moved, own).astype(np.float32)
        return smoothed


def _tube_rows(frames: Sequence[TubeFrame], place: int) -> list[Int]:
    """For each frame, the rows of the tubes of the frame at `place`; `NONE` where a tube is not."""
    rows = [np.zeros(0, np.int64)] * len(frames)
    rows[place] = np.arange(len(frames[place].seen.scores))
    for at in range(place - 1, -1, -1):
        rows[at] = _followed(frames[at + 1].before, rows[at + 1])
    for at in range(place + 1, len(frames)):
        rows[at] = _followed(frames[at - 1].after, rows[at - 1])
    return rows


def _followed(links: Int, rows: Int) -> Int:
    followed: Int = np.append(links, NONE)[rows]
    return followed


def _gathered(values: Float, rows: Int) -> Double:
    """float64 [N, ...], NaN where there is no row."""
    padded = np.concatenate([values.astype(np.float64), np.full((1, *values.shape[1:]), np.nan)])
    gathered: Double = padded[rows]
    return gathered
