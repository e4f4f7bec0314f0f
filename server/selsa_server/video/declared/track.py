"""What a container claims of one video track."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTrack:
    """Pixels, frames and seconds that are claimed; 0 for what is not said."""

    width: int = 0
    height: int = 0
    frames: int = 0
    seconds: float = 0.0
