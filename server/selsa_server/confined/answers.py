"""What a decoder answers: JSON of these shapes, and nothing else is believed.

A decoder may be in the hands of whoever made the video. So the server takes from it numbers within bounds,
texts of bounded length, and pixels, which mean nothing to it.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from selsa_server.confined.answer_base import AnswerBase, Count, Name, Side, StepBase, Text, Ticks
from selsa_server.confined.video_answers import HeadAnswer, IndexAnswer
from selsa_server.errors import DetectError, ParameterError, RequestError, VideoError

MAX_HEAD: Final = 64 << 10


class ReadyAnswer(AnswerBase):
    """The decoder is confined, but for these parts."""

    kind: Literal["ready"] = "ready"
    missing: dict[Name, Text]


class FrameAnswer(StepBase):
    """A prepared frame, whose pixels are in the shared memory; `shape` is their (H, W)."""

    kind: Literal["frame"] = "frame"
    index: Count
    pts: Ticks | None
    time: Annotated[float, Field(allow_inf_nan=False)] | None
    shape: tuple[Side, Side]
    image_size: tuple[Side, Side]
    scale_factor: tuple[
        Annotated[float, Field(gt=0, allow_inf_nan=False)], Annotated[float, Field(gt=0, allow_inf_nan=False)]
    ]


class CorruptAnswer(StepBase):
    """A frame that does not decode."""

    kind: Literal["corrupt"] = "corrupt"
    index: Count


class EndAnswer(StepBase):
    """There are no more frames."""

    kind: Literal["end"] = "end"


class DoneAnswer(AnswerBase):
    """The order is carried out."""

    kind: Literal["done"] = "done"


class NeedsInputAnswer(AnswerBase):
    """Send what comes next of the live source."""

    kind: Literal["needs input"] = "needs input"


class InputFailedAnswer(AnswerBase):
    """The frames end because the live source failed, as the server knows."""

    kind: Literal["input failed"] = "input failed"


class RefusedAnswer(AnswerBase):
    """An error of the video or the request."""

    kind: Literal["refused"] = "refused"
    code: Name
    detail: Text
    parameter: Name | None = None
    allowed: Text | None = None

    @classmethod
    def of(cls, error: DetectError) -> "RefusedAnswer":
        """The answer for an error."""
        return cls(
            code=error.code, detail=error.detail[:4000], parameter=error.parameter, allowed=error.allowed
        )

    def error(self) -> DetectError:
        """The error.

        Raises:
            ValueError: decoders have no errors of that code.
        """
        if self.code in ParameterError.codes:
            return ParameterError(self.parameter or "", self.detail, self.allowed or "")
        if self.code in VideoError.codes:
            return VideoError(self.code, self.detail)
        return RequestError(self.code, self.detail)


class FailedAnswer(AnswerBase):
    """An error that nobody thought of: its traceback."""

    kind: Literal["failed"] = "failed"
    trace: Annotated[str, Field(max_length=20_000)]


Answer = (
    ReadyAnswer
    | IndexAnswer
    | FrameAnswer
    | CorruptAnswer
    | HeadAnswer
    | EndAnswer
    | DoneAnswer
    | NeedsInputAnswer
    | InputFailedAnswer
    | RefusedAnswer
    | FailedAnswer
)
_ANSWER: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Field(discriminator="kind")])


def parse_answer(head: bytes) -> Answer:
    """The answer that a message is.

    Raises:
        ValueError: it is none.
    """
    return _ANSWER.validate_json(head)
