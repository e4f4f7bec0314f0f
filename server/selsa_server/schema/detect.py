"""The wire format of `/detect`: parameters and records, for the server and the client.

A response is a sequence of records: one `video`, one `frame` per frame, then exactly one `summary` or
`error`. A sequence without that last record is incomplete. This module needs pydantic and nothing else.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

NDJSON: Final = "application/x-ndjson"
PROBLEM_JSON: Final = "application/problem+json"


def plain_number(value: Any) -> Any:
    """The value; ValueError for Python's own spellings of numbers, such as 1_000."""
    if isinstance(value, str) and "_" in value:
        raise ValueError("a number has no underscores")
    return value


ClassName = Annotated[str, Field(min_length=1, max_length=100)]


def _is_none(value: object) -> bool:
    return value is None


def _is_false(value: object) -> bool:
    return value is False


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True)


class DetectParams(BaseModel):
    """The query parameters of `POST /detect` and the options of `selsa detect`, by the same names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="which of the models served; default: the server's default"
    )
    mode: Literal["sequence", "online"] = Field(
        default="sequence",
        description="sequence: references from the whole video (the paper's protocol); "
        "online: only frames seen so far",
    )
    bank: Literal["spread", "first"] = Field(
        default="spread",
        description="online mode only. spread: references evenly over the past; first: ten times the first "
        "frame, as the published demo does",
    )
    score_threshold: float = Field(default=0.05, ge=0, le=1, description="lowest score that is returned")
    max_detections: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="detections per frame at most; default: what the bundle gives",
    )
    classes: tuple[ClassName, ...] = Field(
        default=(),
        max_length=1000,
        description="names of the classes to return, repeatable or with commas between; default: all",
    )
    reference_frames: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="reference frames; default: the bundle's (14 for published models)",
    )
    start: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="seconds; frames before it are left out"
    )
    end: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="seconds; frames at or after it are left out"
    )
    stride: int = Field(default=1, ge=1, le=100_000, description="detect on every n-th frame")
    fill: Literal["none", "interpolate"] = Field(
        default="none",
        description="sequence mode only. interpolate: the frames that stride leaves out are answered too, "
        "along the objects of the frames around them, and marked as filled",
    )
    decode: Literal["strict", "tolerant"] = Field(
        default="strict",
        description="strict: a damaged video is an error; "
        "tolerant: detect on the frames that decode, count the rest",
    )
    # Off by default: a response stays what it was, its records leave at once, and a job that was interrupted
    # need not compute its first frames again.
    tracks: bool = Field(
        default=False,
        description="give each detection the number of its object (track_id), and list the objects in the "
        "summary; in sequence mode records leave a few frames later",
    )
    rescore: bool = Field(
        default=False,
        description="raise the scores of weak detections that continue strong ones of the frames around, and "
        "steady their boxes; online mode knows the frames before only, and leaves boxes as they are",
    )

    @field_validator(
        "score_threshold", "max_detections", "reference_frames", "start", "end", "stride", mode="before"
    )
    @classmethod
    def _numbers_are_plain(cls, value: Any) -> Any:
        return plain_number(value)

    @field_validator("classes", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        # No class has a comma in its name.
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            return value
        return tuple(part.strip() for name in names for part in name.split(","))

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"end ({self.end:g}) must be greater than start ({self.start:g})")
        return self

    @model_validator(mode="after")
    def _filling_knows_what_follows(self) -> Self:
        if self.fill != "none" and self.mode != "sequence":
            raise ValueError(
                f"fill ({self.fill}) needs the mode sequence, which knows the frames that follow"
            )
        return self


class ModelInfo(_Wire):
    """The model of the detections and where it runs."""

    name: str
    title: str | None = Field(default=None, description="its name for people", exclude_if=_is_none)
    description: str | None = Field(
        default=None, description="what it detects and what it is for", exclude_if=_is_none
    )
    warning: str | None = Field(
        default=None,
        description="what it must not be used for, or why its scores mean little",
        exclude_if=_is_none,
    )
    bundle: str = Field(description="sha256: and the digest of the bundle")
    provider: str
    precision: str
    classes: tuple[str, ...]


class VideoRecord(_Wire):
    """First record: properties of the video, known before detection."""

    type: Literal["video"] = "video"
    width: int = Field(description="pixels, as displayed (rotated and mirrored)")
    height: int = Field(description="pixels, as displayed (rotated and mirrored)")
    frame_count: int | None = Field(description="frames in the source; null for a live stream")
    duration: float | None = Field(description="seconds; null for a live stream")
    average_rate: str | None = Field(description="frames per second as a fraction, such as 30000/1001")
    time_base: str = Field(description="seconds per pts tick as a fraction")
    codec: str
    rotation: int = Field(description="degrees clockwise that were applied for display: 0, 90, 180 or 270")
    mirrored: bool = Field(
        default=False, description="whether left and right were exchanged after the rotation"
    )
    sample_aspect_ratio: str = Field(
        default="1/1",
        description="width of a pixel divided by its height, as displayed (rotation applied); boxes are in "
        "pixels, so multiply x by it where pictures are shown in their true shape",
    )
    model: ModelInfo
    mode: Literal["sequence", "online"]
    reference_frames: tuple[int, ...] = Field(
        description="source indices; empty in online mode, and where each shot has its own"
    )
    look_ahead: int | None = Field(
        default=None,
        exclude_if=_is_none,
        description="with tracks: detected frames that a record waits for before its track_ids are final",
    )
    rescored: bool = Field(
        default=False, exclude_if=_is_false, description="whether scores are raised along objects (rescore)"
    )
    fill: Literal["interpolate"] | None = Field(
        default=None, exclude_if=_is_none, description="how the frames that stride leaves out are answered"
    )


class Box(_Wire):
    """Corners in pixels of the frame as displayed; x to the right, y down, origin top left."""

    x1: float
    y1: float
    x2: float
    y2: float


class Detection(_Wire):
    """One detected object in one frame."""

    box: Box
    score: float
    class_id: int
    class_name: str
    # Absent from the wire format without tracks; null, for a detection of no object, is not the same.
    track_id: int | None = Field(default=None, exclude=True)


class TrackedDetection(Detection):
    """One detected object in one frame, with `tracks`."""

    track_id: int | None = Field(
        ge=1, description="the object's number; null: not confirmed to be an object that stays"
    )


class FrameRecord(_Wire):
    """The detections of one frame, by score descending."""

    type: Literal["frame"] = "frame"
    index: int = Field(description="0-based index in the source, never renumbered")
    pts: int | None = Field(description="presentation time stamp in ticks of time_base")
    time: float | None = Field(description="seconds: pts * time_base")
    filled: bool = Field(
        default=False,
        exclude_if=_is_false,
        description="whether the frame was not detected on, but answered from the detected frames around it",
    )
    detections: tuple[TrackedDetection | Detection, ...]

    @property
    def tracked(self) -> bool:
        """Whether the detections have numbers of objects; false for a frame without detections."""
        return any(isinstance(each, TrackedDetection) for each in self.detections)

    def with_aliases(self, aliases: Mapping[int, int]) -> Self:
        """The same record with the numbers that a summary's `aliases` give; twice is the same as once."""
        if not any(each.track_id in aliases for each in self.detections):
            return self
        renamed = (
            each
            if each.track_id is None or each.track_id not in aliases
            else each.model_copy(update={"track_id": aliases[each.track_id]})
            for each in self.detections
        )
        return self.model_copy(update={"detections": tuple(renamed)})


class TrackedObject(_Wire):
    """One object of a video, with `tracks`."""

    track_id: int = Field(ge=1)
    class_id: int = Field(description="the class with the highest sum of scores over its detections")
    class_name: str
    first_index: int = Field(description="source index of the first frame it was detected in")
    last_index: int
    first_time: float | None = Field(description="seconds")
    last_time: float | None
    frames: int = Field(description="how many frames it was detected in")
    score: float = Field(description="mean score of its detections")


class SummaryRecord(_Wire):
    """Last record of a complete response. emitted + skipped + corrupt == demuxed."""

    type: Literal["summary"] = "summary"
    complete: bool = Field(
        description="true when every selected frame has its record and the file is not cut off"
    )
    demuxed: int = Field(description="frames in the source")
    decoded: int = Field(description="frames decoded in presentation order")
    corrupt: int = Field(description="frames that could not be decoded (tolerant decoding only)")
    skipped: int = Field(description="frames left out by start, end or stride")
    emitted: int = Field(description="frame records in this response")
    filled: int | None = Field(
        default=None, exclude_if=_is_none, description="with fill: how many of `emitted` were not detected on"
    )
    clock_jumps: int = Field(
        default=0,
        description="how often the source's clock started anew or leapt; pts and time go on increasing there",
    )
    seconds: float = Field(description="wall time from the first look at the video to this record")
    timings: dict[str, float] = Field(description="seconds spent per part; parts overlap")
    objects: tuple[TrackedObject, ...] | None = Field(
        default=None,
        exclude_if=_is_none,
        description="with tracks: the objects, by track_id, without aliases",
    )
    objects_left_out: int | None = Field(
        default=None,
        exclude_if=_is_none,
        description="objects that are not listed because there are too many",
    )
    aliases: dict[int, int] | None = Field(
        default=None,
        exclude_if=_is_none,
        description="with tracks: a track_id of earlier records that turned out to be an object with a lower "
        "one: {track_id: the object's}",
    )


class Problem(_Wire):
    """An error as RFC 9457 `application/problem+json`, with a stable `code`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    parameter: str | None = None
    allowed: str | None = None
    request_id: str | None = None


class ErrorRecord(_Wire):
    """Last record of a response that failed after it began."""

    type: Literal["error"] = "error"
    code: str
    status: int = Field(description="the HTTP status of this error in a response that has not started")
    title: str
    detail: str
    emitted: int = Field(description="frame records before this one")

    def problem(self) -> Problem:
        """The same error as a problem."""
        fields = self.model_dump(include={"code", "status", "title", "detail"})
        return Problem(type=f"urn:selsa:problem:{self.code}", **fields)


Record = Annotated[VideoRecord | FrameRecord | SummaryRecord | ErrorRecord, Field(discriminator="type")]

_RECORD: Final[TypeAdapter[Any]] = TypeAdapter(Record)


def parse_record(line: bytes | str) -> VideoRecord | FrameRecord | SummaryRecord | ErrorRecord:
    """One line of NDJSON as a record. Fields that a newer server added are ignored.

    Raises:
        pydantic.ValidationError: the line is no record.
    """
    record: VideoRecord | FrameRecord | SummaryRecord | ErrorRecord = _RECORD.validate_json(line)
    return record


class DetectionDocument(_Wire):
    """The whole response as one JSON document (`Accept: application/json`)."""

    video: VideoRecord
    frames: tuple[FrameRecord, ...]
    summary: SummaryRecord
