"""Which frames of a video are key frames and which are reference frames."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selsa_bundle.references import spread_references
from selsa_server.errors import ParameterError
from selsa_server.schema.detect import DetectParams
from selsa_server.video.index import VideoIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Source indices of the frames that take part.

    Attributes:
        keys: frames that are detected on, ascending.
        references: reference frames, ascending, duplicates kept; empty in online mode.
        filled: whether the frames between the keys get records too.
    """

    keys: Sequence[int]
    references: tuple[int, ...]
    filled: bool = False

    @property
    def frames(self) -> Sequence[int]:
        """Frames that get a record if they, and the keys beside them, can be decoded."""
        return range(self.keys[0], self.keys[-1] + 1) if self.filled else self.keys

    def between(self, key: int, later: int) -> list[int]:
        """The frames to fill between two keys; not the keys between them, which could not be decoded."""
        if not self.filled:
            return []
        undecoded = self.keys[bisect_right(self.keys, key) : bisect_left(self.keys, later)]
        return [index for index in range(key + 1, later) if index not in undecoded]


def select_frames(index: VideoIndex, params: DetectParams, default_references: int) -> Selection:
    """The selection that `start`, `end`, `stride`, `fill` and `reference_frames` ask for.

    References are spread over all frames between `start` and `end`, whatever the stride: a segment gives what
    a file cut to that segment would. With `fill`, which is for speed, they are spread over the keys: then no
    frame is computed as a reference only.

    Raises:
        ParameterError: no frame lies between `start` and `end`.
    """
    first, last = _range(index, params)
    if first >= last:
        times = index.times()
        span = f"the video's frames lie between {times[0]:g} s and {times[-1]:g} s"
        name = "start" if params.start is not None else "end"
        value = params.start if params.start is not None else params.end
        raise ParameterError(name, f"{name} is {value:g} s, which leaves no frame: {span}.", span)
    keys: Sequence[int] = range(first, last, params.stride)
    filled = params.fill == "interpolate" and params.stride > 1
    if filled and keys[-1] != last - 1:
        # The last frame too, so that every frame has a key before and after it.
        keys = [*keys, last - 1]
    references: tuple[int, ...] = ()
    if params.mode == "sequence":
        count = default_references if params.reference_frames is None else params.reference_frames
        among = keys if filled else range(first, last)
        references = tuple(among[i] for i in spread_references(len(among), count))
    return Selection(keys=keys, references=references, filled=filled)


def _range(index: VideoIndex, params: DetectParams) -> tuple[int, int]:
    """[first, last) of the frames with start <= time < end."""
    if params.start is None and params.end is None:
        return 0, len(index.pts)
    times = index.times()
    first = np.searchsorted(times, -math.inf if params.start is None else params.start, side="left")
    last = np.searchsorted(times, math.inf if params.end is None else params.end, side="left")
    return int(first), int(last)
