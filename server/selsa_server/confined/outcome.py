"""How decoders end, and the message for the sender of the video."""

import os
import signal
from dataclasses import dataclass
from typing import Final, Literal

from selsa_server.confined.rules import DecoderRules
from selsa_server.errors import DecoderError, DecoderLostError, DetectError, OverloadError

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

# Exit statuses of decoders that can no longer send an answer.
OUT_OF_MEMORY: Final = 71
UNCONFINED: Final = 72
REPAIR: Final = "repair or convert it, to H.264 in MP4 for example"


@dataclass(frozen=True, slots=True)
class DecoderEnd:
    """Why a decoder ended while it had work to do.

    Attributes:
        outcome: for the metrics.
    """

    outcome: DecoderOutcome
    error: Exception


def end_of(status: int | None, rules: DecoderRules) -> DecoderEnd:
    """Why a decoder ended that was not asked to end.

    Args:
        status: as of wait(2); None if it is unknown, since the fork server is gone.
    """
    if status is None:
        detail = "The process that starts decoders ended, and this video's decoder with it; send it again."
        return DecoderEnd("failed", DecoderLostError("internal_error", detail))
    if os.WIFSIGNALED(status):
        return _signalled(os.WTERMSIG(status), rules)
    code = os.WEXITSTATUS(status)
    if code == OUT_OF_MEMORY:
        return DecoderEnd("memory", _memory(rules))
    if code == UNCONFINED:
        return DecoderEnd("failed", RuntimeError("a decoder could not be confined as is required"))
    return DecoderEnd("crashed", _crashed(f"exit status {code}"))


def no_process(rules: DecoderRules) -> DecoderEnd:
    """No process could be started."""
    wait = rules.retry_after
    detail = f"The server can start no decoder at the moment; send the video again in {wait} s."
    return DecoderEnd("failed", OverloadError(detail, wait))


def hung(rules: DecoderRules) -> DecoderEnd:
    """It made no progress and was killed."""
    detail = f"The decoder made no progress for {rules.timeout:g} s; the video may be damaged: {REPAIR}."
    return DecoderEnd("timeout", DecoderError("decoder_timeout", detail))


def invalid_answer() -> DecoderEnd:
    """Its answer is not valid."""
    return DecoderEnd("crashed", _crashed("an invalid answer"))


def _signalled(number: int, rules: DecoderRules) -> DecoderEnd:
    if number == signal.SIGXCPU:
        detail = (
            f"Decoding took the {rules.cpu_seconds} s of processor time that one video may take; send a part."
        )
        return DecoderEnd("timeout", DecoderError("decoder_timeout", detail))
    if number == signal.SIGKILL:
        detail = (
            "The decoder was killed while it worked on this video, perhaps because the machine ran out "
            "of memory; send the video again, or scale it down."
        )
        return DecoderEnd("killed", DecoderLostError("decoder_failed", detail))
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return DecoderEnd("crashed", _crashed(name))


def _crashed(how: str) -> DetectError:
    detail = f"The decoder crashed on this video ({how}); the file may be damaged: {REPAIR}."
    return DecoderError("decoder_failed", detail)


def _memory(rules: DecoderRules) -> DetectError:
    detail = (
        f"Decoding this video takes more than the {rules.memory >> 20} MiB of memory that a decoder may "
        "have; scale it down or convert it."
    )
    return DecoderError("decoder_failed", detail)
