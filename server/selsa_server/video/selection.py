"""Which frames of a video are key frames and which are reference frames."""

import math
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
        keys: frames that get a record, ascending.
        references: reference frames, ascending, duplicates kept; empty in online mode.
    """

    keys: Sequence[int]
    references: tuple[int, ...]


def select_frames(index: VideoIndex, params: DetectParams, default_references: int) -> Selection:
    """The selection that `start`, `end`, `stride` and `reference_frames` ask for.

    References are spread over all frames between `start` and `end`, whatever the stride: a segment gives what
    a file cut to that segment would.

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
    references: tuple[int, ...] = ()
    if params.mode == "sequence":
        count = default_references if params.reference_frames is None else params.reference_frames
        references = tuple(first + i for i in spread_references(last - first, count))
    return Selection(keys=range(first, last, params.stride), references=references)


def _range(index: VideoIndex, params: DetectParams) -> tuple[int, int]:
    """[first, last) of the frames with start <= time < end."""
    if params.start is None and params.end is None:
        return 0, len(index.pts)
    times = index.times()
    first = np.searchsorted(times, -math.inf if params.start is None else params.start, side="left")
    last = np.searchsorted(times, math.inf if params.end is None else params.end, side="left")
    return int(first), int(last)
