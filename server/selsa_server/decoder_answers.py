"""What a decoder answers: JSON of these shapes, and nothing else is believed.

A decoder may be in the hands of whoever made the video. So the server takes from it numbers within bounds,
texts of bounded length, and pixels, which mean nothing to it.
"""

from fractions import Fraction
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from selsa_server.container import VideoLimits
from selsa_server.errors import DetectError, ParameterError, RequestError, VideoError
from selsa_server.live_container import LiveHead
from selsa_server.stopwatch import Stopwatch
from selsa_server.video_index import VideoIndex

__all__ = [
    "MAX_HEAD",
    "Answer",
    "CorruptAnswer",
    "DoneAnswer",
    "EndAnswer",
    "FailedAnswer",
    "FrameAnswer",
    "HeadAnswer",
    "IndexAnswer",
    "InputFailedAnswer",
    "NeedsInputAnswer",
    "ReadyAnswer",
    "RefusedAnswer",
    "parse_answer",
]

MAX_HEAD: Final = 64 << 10

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
Side = Annotated[int, Field(ge=1, lt=1 << 20)]
Ratio = tuple[Annotated[int, Field(ge=1, lt=1 << 62)], Annotated[int, Field(ge=1, lt=1 << 62)]]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=4000)]
Name = Annotated[str, Field(max_length=100)]
Rotation = Literal[0, 90, 180, 270]
Ticks = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Step(_Answer):
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


class ReadyAnswer(_Answer):
    """The decoder is confined, but for these parts."""

    kind: Literal["ready"] = "ready"
    missing: dict[Name, Text]


class IndexAnswer(_Answer):
    """What pass 1 learned; after the head come int64 time stamps and a byte for each frame."""

    kind: Literal["index"] = "index"
    width: Side
    height: Side
    codec: Name
    average_rate: Ratio | None
    time_base: Ratio
    duration: Seconds
    rotation: Rotation
    has_pts: bool
    stream: Count
    damage: Text | None

    @classmethod
    def of(cls, index: VideoIndex) -> tuple["IndexAnswer", bytes]:
        """The answer for an index, and its body."""
        rate = index.average_rate
        answer = cls(
            width=index.width,
            height=index.height,
            codec=index.codec,
            average_rate=None if rate is None else (rate.numerator, rate.denominator),
            time_base=(index.time_base.numerator, index.time_base.denominator),
            duration=index.duration,
            rotation=index.rotation,
            has_pts=index.has_pts,
            stream=index.stream,
            damage=index.damage,
        )
        return answer, index.pts.tobytes() + index.keyframe.tobytes()

    def index(self, body: bytes, limits: VideoLimits) -> VideoIndex:
        """The index.

        Raises:
            ValueError: it is none.
            VideoError: it is over a limit.
        """
        count, rest = divmod(len(body), 9)
        pts: npt.NDArray[np.int64] = np.frombuffer(body, np.int64, count)
        keyframe = np.frombuffer(body, np.uint8, count, 8 * count).astype(np.bool_)
        if rest or not count or bool((pts[1:] < pts[:-1]).any()):
            raise ValueError("an index has its frames in order")
        limits.check_size(self.width, self.height)
        limits.check_count(count)
        limits.check_duration(self.duration)
        return VideoIndex(
            width=self.width,
            height=self.height,
            codec=self.codec,
            average_rate=None if self.average_rate is None else Fraction(*self.average_rate),
            time_base=Fraction(*self.time_base),
            duration=self.duration,
            rotation=self.rotation,
            pts=pts,
            keyframe=keyframe,
            has_pts=self.has_pts,
            stream=self.stream,
            damage=self.damage,
            limits=limits,
        )


class FrameAnswer(_Step):
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


class CorruptAnswer(_Step):
    """A frame that does not decode."""

    kind: Literal["corrupt"] = "corrupt"
    index: Count


class HeadAnswer(_Step):
    """What is known of a live source once its first frame is there."""

    kind: Literal["head"] = "head"
    width: Side
    height: Side
    codec: Name
    average_rate: Ratio | None
    time_base: Ratio
    rotation: Rotation

    @classmethod
    def of(cls, head: LiveHead) -> "HeadAnswer":
        """The answer for a head."""
        rate = head.average_rate
        return cls(
            width=head.width,
            height=head.height,
            codec=head.codec,
            average_rate=None if rate is None else (rate.numerator, rate.denominator),
            time_base=(head.time_base.numerator, head.time_base.denominator),
            rotation=head.rotation,
        )

    def item(self) -> LiveHead:
        """As the pipeline has it."""
        return LiveHead(
            width=self.width,
            height=self.height,
            codec=self.codec,
            average_rate=None if self.average_rate is None else Fraction(*self.average_rate),
            time_base=Fraction(*self.time_base),
            rotation=self.rotation,
        )


class EndAnswer(_Step):
    """There are no more frames."""

    kind: Literal["end"] = "end"


class DoneAnswer(_Answer):
    """The order is carried out."""

    kind: Literal["done"] = "done"


class NeedsInputAnswer(_Answer):
    """Send what comes next of the live source."""

    kind: Literal["needs input"] = "needs input"


class InputFailedAnswer(_Answer):
    """The frames end because the live source failed, as the server knows."""

    kind: Literal["input failed"] = "input failed"


class RefusedAnswer(_Answer):
    """An error of the video or the request."""

    kind: Literal["refused"] = "refused"
    code: Name
    detail: Text
    parameter: Name | None = None
    allowed: Text | None = None

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


class FailedAnswer(_Answer):
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
