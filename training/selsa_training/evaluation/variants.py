"""Variants of detection on the same frame features: the modes, and the points of a curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from selsa_bundle.references import spread_references

Mode = Literal["sequence", "online", "single"]
MODES: Final[tuple[Mode, ...]] = ("sequence", "online", "single")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The frames that a key frame's proposals attend to, besides their own.

    Attributes:
        references: number of reference frames; 0: detect on the single frame.
        online: references are spread over the frames seen so far instead of over the whole video.
        proposals: number of proposals per frame, the best ones; None: all.
    """

    references: int
    online: bool = False
    proposals: int | None = None

    def reference_frames(self, frame_count: int) -> Sequence[int]:
        """Positions of the references known before the first key frame, ascending, with duplicates."""
        return spread_references(frame_count, self.references) if frame_count and not self.online else ()


def variant_of(mode: Mode, references: int) -> Variant:
    """The variant of a mode; `references` is ignored in single-frame mode."""
    if mode == "single":
        return Variant(references=0)
    return Variant(references=references, online=mode == "online")
