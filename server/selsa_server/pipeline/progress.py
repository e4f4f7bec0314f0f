"""How far a run of the pipeline is: written by the thread that runs it, read by any other."""

from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """Frames of one run.

    Attributes:
        total: frames that were selected; None until that is known.
        done: those of them that have a record or do not decode.
    """

    total: int | None = None
    done: int = 0

    @property
    def left(self) -> int:
        """Selected frames that were not worked on: what a cancellation saves."""
        return 0 if self.total is None else self.total - self.done


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Where an earlier run on the same video, with the same parameters and bundle, had come to.

    Attributes:
        emitted: frame records that it gave, all of them kept.
        last: source index of the last of them.
    """

    emitted: int
    last: int
