"""The frames of a film, grouped by shot for detection, in bounded memory.

A shot's references can be chosen when its last frame is known. So frames wait, with their features, until a
cut comes, or a dissolve, which ends a shot at its middle. Of a shot longer than `LONGEST` frames the first
half of those that wait is detected, with references from all that wait: every frame has references before and
after it, as far as the shot goes.
"""

from dataclasses import dataclass, field
from typing import Final

from selsa_bundle.engine import FrameBatch
from selsa_bundle.tracks.cuts import HALF, CutDetector, DissolveDetector
from selsa_server.video.prepared import TimedFrame

LONGEST: Final = 128


@dataclass(slots=True)
class ShotPart:
    """Consecutive frames of one shot.

    Attributes:
        frames: references may be any of them.
        features: of the frame engine, a batch of one for each frame.
        ready: so many of the first frames are to be detected now; the others come again in the next part.
    """

    frames: list[TimedFrame] = field(default_factory=list)
    features: list[FrameBatch] = field(default_factory=list)
    ready: int = 0


class ShotParts:
    """Takes frame after frame and gives parts of shots. At most `LONGEST` frames wait."""

    def __init__(self) -> None:
        self._cuts = CutDetector()
        self._dissolves = DissolveDetector()
        self._waiting = ShotPart()

    def add(self, frame: TimedFrame, features: FrameBatch) -> ShotPart:
        """What can be detected before this frame; `ready` is 0 if nothing can."""
        part, waiting = ShotPart(), self._waiting
        if self._cuts.is_cut(frame.prepared.picture):
            self._dissolves.clear()
            part = self.rest()
        elif self._dissolves.was_dissolve(frame.prepared.picture):
            part = ShotPart(waiting.frames[:-HALF], waiting.features[:-HALF])
            part.ready = len(part.frames)
            self._waiting = ShotPart(waiting.frames[-HALF:], waiting.features[-HALF:])
        elif len(waiting.frames) == LONGEST:
            part, half = waiting, LONGEST // 2
            part.ready = half
            self._waiting = ShotPart(part.frames[half:], part.features[half:])
        self._waiting.frames.append(frame)
        self._waiting.features.append(features)
        return part

    def rest(self) -> ShotPart:
        """All frames that wait."""
        part, self._waiting = self._waiting, ShotPart()
        part.ready = len(part.frames)
        return part
