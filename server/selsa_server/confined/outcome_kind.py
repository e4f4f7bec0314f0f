"""How decoder processes end, in a word."""

from typing import Final, Literal

DecoderOutcome = Literal["ok", "cancelled", "timeout", "memory", "crashed", "killed", "failed"]
DECODER_OUTCOMES: Final[tuple[DecoderOutcome, ...]] = (
    "ok",
    "cancelled",
    "timeout",
    "memory",
    "crashed",
    "killed",
    "failed",
)

# Exit statuses of those that can say no more.
OUT_OF_MEMORY: Final = 71
UNCONFINED: Final = 72
