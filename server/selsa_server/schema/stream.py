"""The wire format of `WS /stream`: the client's messages. The server sends the records of `schema.detect`.

    client -> server   text    StreamStart, once, first
                       binary  the next bytes of the container, or one JPEG image
                       text    StreamFrame before an image: its time
                       text    StreamEnd: the input is complete
    server -> client   text    records: one video, frames, then exactly one summary or error

After the last record the server closes with 1000, or after an error with 4000 + its HTTP status.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from selsa_server.schema.detect import DetectParams

LiveContainer = Literal["mp4", "mpegts", "matroska", "jpeg"]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StreamStart(DetectParams):
    """The first message: the container, and the parameters of `/detect` that a live video can have."""

    type: Literal["start"]
    container: LiveContainer = Field(
        description="mp4 (index in front, or fragmented), mpegts, matroska (WebM too), or jpeg: single images"
    )
    mode: Literal["online"] = Field(default="online", description="a live video has no other mode")
    fill: Literal["none"] = Field(
        default="none", description="a live video is not filled: what follows is not known"
    )
    start: None = Field(default=None, description="a live video has no range")
    end: None = Field(default=None, description="a live video has no range")
    drop: Literal["never", "oldest"] = Field(
        default="never",
        description="when frames arrive faster than they are detected on. never: reading slows down; "
        "oldest: the frames that have waited longest are left out and counted",
    )


class StreamFrame(_Message):
    """Comes before an image."""

    type: Literal["frame"]
    time: float = Field(ge=0, allow_inf_nan=False, description="seconds; never less than the one before")


class StreamEnd(_Message):
    """The input is over; the records of what is left follow, then the summary."""

    type: Literal["end"]


StreamMessage = Annotated[StreamStart | StreamFrame | StreamEnd, Field(discriminator="type")]
_MESSAGE: TypeAdapter[StreamStart | StreamFrame | StreamEnd] = TypeAdapter(StreamMessage)


def stream_message(text: str) -> StreamStart | StreamFrame | StreamEnd:
    """A text message of a client.

    Raises:
        pydantic.ValidationError: it is none.
    """
    return _MESSAGE.validate_json(text)
