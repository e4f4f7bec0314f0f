"""Pass 1 over a video: how many frames there are, when each is shown, and where decoding can begin.

Of ordinary files packets are read, not decoded (except up to the first frame, which alone tells size and
orientation), so that a long video costs little more than reading it, and 9 bytes of memory per frame. Files
whose packets are not frames are decoded once, in the same memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from selsa_bundle.picture import UPRIGHT, Orientation
from selsa_bundle.video.damage import damage_of, declared_frames
from selsa_bundle.video.extent import claims_more, claims_of
from selsa_bundle.video.frames import Frames, frames_of_decoder, frames_of_packets
from selsa_bundle.video.mp4 import Mp4Claims
from selsa_server.errors import VideoError
from selsa_server.video.container import (
    CUT_IN_HEAD,
    NO_FRAMES,
    VideoLimits,
    open_video,
    structure_checked,
    video_stream,
)

SQUARE: Final = Fraction(1)
ADVICE: Final = "send the whole file, or use decode=tolerant to detect on the frames that are there"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoIndex:
    """Result of pass 1 over a video of n frames.

    Attributes:
        width: pixels of the first frame as displayed.
        height: pixels of the first frame as displayed.
        codec: FFmpeg's name of the codec.
        average_rate: frames per second, if the container knows.
        time_base: seconds per tick of `pts`.
        duration: seconds from the first frame's start to the last one's end.
        orientation: how stored frames are turned and mirrored for display.
        sample_aspect_ratio: width of a displayed pixel divided by its height.
        pts: int64 [n], ascending; see `Timeline` for where they are not the container's.
        keyframe: bool [n], whether decoding can begin at the frame.
        has_pts: whether `pts` are the container's, continued where its clock restarts.
        by_pts: whether frames are told apart by their time stamps; else they are counted.
        clock_jumps: how often the container's clock restarted or leapt.
        stream: index of the stream in the container.
        damage: a sentence that says what of the file is missing, None for a whole one.
        limits: the limits that were checked.
    """

    width: int
    height: int
    codec: str
    average_rate: Fraction | None
    time_base: Fraction
    duration: float
    pts: npt.NDArray[np.int64]
    keyframe: npt.NDArray[np.bool_]
    has_pts: bool
    by_pts: bool = True
    orientation: Orientation = UPRIGHT
    sample_aspect_ratio: Fraction = SQUARE
    clock_jumps: int = 0
    stream: int = 0
    damage: str | None = None
    limits: VideoLimits = field(default_factory=VideoLimits)

    def __len__(self) -> int:
        """n, the number of frames."""
        return len(self.pts)

    def times(self) -> npt.NDArray[np.float64]:
        """float64 [n], seconds: when each frame is shown."""
        return np.asarray(self.pts * float(self.time_base), np.float64)

    def time_of(self, i: int) -> float:
        """Seconds: when frame `i` is shown."""
        return float(int(self.pts[i]) * self.time_base)


def index_video(path: Path, limits: VideoLimits, *, beat: Callable[[], None] = lambda: None) -> VideoIndex:
    """Find a video's frames.

    A file that is cut off but has frames is indexed as far as it goes, with `damage` set.

    Args:
        limits: the largest one that is taken.
        beat: called with every packet, as a sign of progress.

    Raises:
        VideoError: the file is not a video, has no frames, or is over a limit.
    """
    with structure_checked():
        claims = claims_of(path)
    with open_video(path, limits, claims) as container:
        stream = _stream(path, container, limits)
        limits.check_size(stream.codec_context.width, stream.codec_context.height)
        limits.check_count(declared_frames(container, stream))
        frames = frames_of_packets(container, stream, beat=beat)
        if frames is not None:
            return _assemble(path, claims, stream, frames, limits)
    with open_video(path, limits, claims) as container:
        stream = _stream(path, container, limits)
        frames = frames_of_decoder(container, stream, beat=beat, check_count=limits.check_count)
        return _assemble(path, claims, stream, frames, limits)


def _stream(path: Path, container: InputContainer, limits: VideoLimits) -> VideoStream:
    try:
        return video_stream(container, limits)
    except VideoError as error:
        # An index that is cut off lists no stream, or one without its codec.
        if claims_more(path):
            raise VideoError("truncated", CUT_IN_HEAD) from error
        raise


def _assemble(
    path: Path, claims: Mp4Claims, stream: VideoStream, frames: Frames, limits: VideoLimits
) -> VideoIndex:
    limits.check_count(len(frames.pts))
    damage = damage_of(path, claims, stream, frames)
    if not len(frames.pts):
        if damage is not None:
            raise VideoError("truncated", f"{damage}; none of its frames is there. Send the whole file.")
        if frames.tally.count:
            raise VideoError("undecodable", "None of the video's frames can be decoded; repair the video.")
        raise VideoError("no_frames", NO_FRAMES)
    pts, first, context = frames.pts, frames.first, stream.codec_context
    time_base = stream.time_base or Fraction(1, 90_000)
    duration = float((int(pts[-1]) - int(pts[0]) + max(0, frames.last_duration)) * time_base)
    limits.check_duration(duration)
    orientation = UPRIGHT if first is None else Orientation.of(first)
    size: Any = context if first is None else first
    width, height = orientation.size(size.width, size.height)
    limits.check_size(width, height)
    return VideoIndex(
        width=width,
        height=height,
        codec=context.codec.canonical_name,
        average_rate=frames.average_rate,
        time_base=time_base,
        duration=duration,
        pts=pts,
        keyframe=frames.keyframe,
        has_pts=frames.has_pts,
        by_pts=frames.by_pts,
        orientation=orientation,
        sample_aspect_ratio=displayed_aspect(stream, orientation),
        clock_jumps=max(claims.restarts, frames.jumps),
        stream=stream.index,
        damage=f"{damage}; {ADVICE}." if damage else None,
        limits=limits,
    )


def displayed_aspect(stream: VideoStream, orientation: Orientation) -> Fraction:
    """Width of a displayed pixel divided by its height.

    The container's word counts more than the bitstream's, as for players.
    """
    for found in (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio):
        if found and found > 0:
            return 1 / found if orientation.swaps_sides else found
    return SQUARE
