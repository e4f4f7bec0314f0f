"""The answers of a decoder: JSON of these shapes; anything else is refused.

A hostile video may have taken control of its decoder. So the server accepts only numbers within bounds,
texts of bounded length, and pixels.
"""

from fractions import Fraction
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from selsa_bundle.picture import Orientation
from selsa_server.errors import DetectError, ParameterError, RequestError, StorageError, VideoError
from selsa_server.run_context import Stopwatch
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import VideoIndex
from selsa_server.video.live.container import LiveCounts, LiveHead

MAX_HEAD: Final = 64 << 10

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
Side = Annotated[int, Field(ge=1, lt=1 << 20)]
Positive = Annotated[int, Field(ge=1, lt=1 << 62)]
Rate = tuple[Annotated[int, Field(gt=-(1 << 62), lt=1 << 62)], Positive]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=4000)]
Name = Annotated[str, Field(max_length=100)]
Rotation = Literal[0, 90, 180, 270]
Aspect = tuple[Annotated[int, Field(ge=1, lt=1 << 31)], Annotated[int, Field(ge=1, lt=1 << 31)]]
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
        skipped: how many of `seen` the stride leaves out.
        clock_jumps: how often the clock of the source restarted or leapt.
        cut_off: whether it ended in the middle of something.
    """

    decode: Seconds = 0
    prepare: Seconds = 0
    seen: Count = 0
    skipped: Count = 0
    clock_jumps: Count = 0
    cut_off: bool = False

    def count(self, clock: Stopwatch) -> None:
        """Add the seconds."""
        clock.add("decode", self.decode)
        clock.add("prepare", self.prepare)

    def note(self, counts: LiveCounts) -> None:
        """Bring the counts of a live source up to date."""
        counts.seen, counts.skipped = self.seen, self.skipped
        counts.clock_jumps, counts.cut_off = self.clock_jumps, self.cut_off


class ReadyAnswer(AnswerBase):
    """The decoder is confined, except in these parts; each with its reason."""

    kind: Literal["ready"] = "ready"
    missing: dict[Name, Text]


class StreamBase(AnswerBase):
    """The fields that `VideoIndex` and `LiveHead` share."""

    width: Count  # 0 if neither the container nor the first frames state it
    height: Count
    codec: Name
    average_rate: Rate | None
    time_base: tuple[Positive, Positive]
    rotation: Rotation
    mirrored: bool
    sample_aspect_ratio: Aspect

    @staticmethod
    def fields_of(stream: VideoIndex | LiveHead) -> dict[str, Any]:
        """The fields of an answer."""
        rate = stream.average_rate
        return {
            "width": stream.width,
            "height": stream.height,
            "codec": stream.codec,
            "average_rate": None if rate is None else rate.as_integer_ratio(),
            "time_base": stream.time_base.as_integer_ratio(),
            "rotation": stream.orientation.rotation,
            "mirrored": stream.orientation.mirrored,
            "sample_aspect_ratio": stream.sample_aspect_ratio.as_integer_ratio(),
        }

    def stream_fields(self) -> dict[str, Any]:
        """The fields of a `VideoIndex` or a `LiveHead`."""
        return {
            "width": self.width,
            "height": self.height,
            "codec": self.codec,
            "average_rate": None if self.average_rate is None else Fraction(*self.average_rate),
            "time_base": Fraction(*self.time_base),
            "orientation": Orientation(self.rotation, self.mirrored),
            "sample_aspect_ratio": Fraction(*self.sample_aspect_ratio),
        }


class IndexAnswer(StreamBase):
    """What pass 1 learned; after the head come int64 time stamps and a byte for each frame."""

    kind: Literal["index"] = "index"
    duration: Seconds
    clock_jumps: Count
    has_pts: bool
    by_pts: bool
    stream: Count
    damage: Text | None

    @classmethod
    def of(cls, index: VideoIndex) -> tuple["IndexAnswer", bytes]:
        """The answer for an index, and its body."""
        answer = cls(
            **cls.fields_of(index),
            duration=index.duration,
            clock_jumps=index.clock_jumps,
            has_pts=index.has_pts,
            by_pts=index.by_pts,
            stream=index.stream,
            damage=index.damage,
        )
        return answer, index.pts.tobytes() + index.keyframe.tobytes()

    def index(self, body: bytes, limits: VideoLimits) -> VideoIndex:
        """The index.

        Raises:
            ValueError: the numbers are no index.
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
            **self.stream_fields(),
            duration=self.duration,
            clock_jumps=self.clock_jumps,
            pts=pts,
            keyframe=keyframe,
            has_pts=self.has_pts,
            by_pts=self.by_pts,
            stream=self.stream,
            damage=self.damage,
            limits=limits,
        )


class HeadAnswer(StepBase, StreamBase):
    """What is known of a live source after its first frame."""

    kind: Literal["head"] = "head"
    width: Side
    height: Side

    @classmethod
    def of(cls, head: LiveHead) -> "HeadAnswer":
        """The answer for a head."""
        return cls(**cls.fields_of(head))

    def item(self) -> LiveHead:
        """The head."""
        return LiveHead(**self.stream_fields())


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
    """The order was carried out."""

    kind: Literal["done"] = "done"


class NeedsInputAnswer(AnswerBase):
    """The decoder needs the next bytes of the live source."""

    kind: Literal["needs input"] = "needs input"


class InputFailedAnswer(AnswerBase):
    """The frames end because the live source failed; the server has the error."""

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
        if self.code in StorageError.codes:
            return StorageError(self.detail)
        return RequestError(self.code, self.detail)


class FailedAnswer(AnswerBase):
    """An unexpected error: its traceback."""

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
    """Parse a message.

    Raises:
        ValueError: it is not an answer.
    """
    return _ANSWER.validate_json(head)
