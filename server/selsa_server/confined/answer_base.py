"""What a decoder's answers are made of: numbers within bounds, and texts of bounded length."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from selsa_server.run_context import Stopwatch

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
Side = Annotated[int, Field(ge=1, lt=1 << 20)]
Positive = Annotated[int, Field(ge=1, lt=1 << 62)]
Rate = tuple[Annotated[int, Field(gt=-(1 << 62), lt=1 << 62)], Positive]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=4000)]
Name = Annotated[str, Field(max_length=100)]
Rotation = Literal[0, 90, 180, 270]
Ticks = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]


class AnswerBase(BaseModel):
    """Any answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StepBase(AnswerBase):
    """An answer to `Next`.

    Attributes:
        decode: seconds that decoding took since the last answer.
        prepare: seconds of resizing.
        seen: frames of a live source so far.
        skipped: those of them that its stride leaves out.
    """

    decode: Seconds = 0
    prepare: Seconds = 0
    seen: Count = 0
    skipped: Count = 0

    def count(self, clock: Stopwatch) -> None:
        """Add the seconds."""
        clock.add("decode", self.decode)
        clock.add("prepare", self.prepare)
