"""What a decoder answers of a whole video, and what the server makes of it."""

from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from selsa_server.confined.answer_base import (
    AnswerBase,
    Count,
    Name,
    Positive,
    Rate,
    Rotation,
    Seconds,
    Side,
    StepBase,
    Text,
)
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import VideoIndex
from selsa_server.video.live.container import LiveHead


class IndexAnswer(AnswerBase):
    """What pass 1 learned; after the head come int64 time stamps and a byte for each frame."""

    kind: Literal["index"] = "index"
    width: Count  # 0 where the container does not say and the first frames do not decode
    height: Count
    codec: Name
    average_rate: Rate | None
    time_base: tuple[Positive, Positive]
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


class HeadAnswer(StepBase):
    """What is known of a live source once its first frame is there."""

    kind: Literal["head"] = "head"
    width: Side
    height: Side
    codec: Name
    average_rate: Rate | None
    time_base: tuple[Positive, Positive]
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
