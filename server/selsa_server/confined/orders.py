"""Orders of the server to a decoder.

Orders are pickled, since a decoder trusts the server. Answers never are: see `answers`. After a `LiveOrder`,
`Next` asks for each frame, and `LivePiece` follows where the decoder needs input. After a `DrawOrder`,
`DrawRecord` follows for each record, then `Finish`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from selsa_bundle.preprocess import Preprocess
from selsa_server.decoders.protocol import DrawOrder, LiveOrder
from selsa_server.sandbox.allowance import Allowance
from selsa_server.schema.detect import FrameRecord, VideoRecord
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import VideoIndex
from selsa_server.video.live.input import LiveMessage


@dataclass(frozen=True, slots=True)
class Begin:
    """The first order: confine the process. `required`: exit if confinement is incomplete."""

    allowance: Allowance
    required: bool


@dataclass(frozen=True, slots=True)
class Prove:
    """Self-test: try what is forbidden."""


@dataclass(frozen=True, slots=True)
class IndexFile:
    """Pass 1 over a file."""

    path: Path
    limits: VideoLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeFile:
    """Pass 2 over a file; then `Next` for each frame that is wanted."""

    path: Path
    index: VideoIndex
    wanted: Sequence[int]
    preprocess: Preprocess
    tolerant: bool


@dataclass(frozen=True, slots=True)
class LivePiece:
    """The next message of a live source; None at its end. `failed`: the source failed."""

    message: LiveMessage | None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class DrawRecord:
    """The next record."""

    record: VideoRecord | FrameRecord


@dataclass(frozen=True, slots=True)
class Next:
    """Give the next frame."""


@dataclass(frozen=True, slots=True)
class Finish:
    """There are no more records; complete the file."""


Order = (
    Begin | Prove | IndexFile | DecodeFile | LiveOrder | LivePiece | DrawOrder | DrawRecord | Next | Finish
)
