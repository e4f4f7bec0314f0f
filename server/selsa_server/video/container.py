"""Open an uploaded file with FFmpeg, and choose its video stream.

Files are hostile. Messages of FFmpeg do not leave this module, since they contain paths.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from selsa_bundle.video.delivery import error_detection
from selsa_bundle.video.elements import StructureError
from selsa_bundle.video.extent import claims_more, claims_of, is_matroska, is_mp4
from selsa_bundle.video.mp4 import Mp4Claims
from selsa_bundle.video.opening import opened
from selsa_server.errors import VideoError

STILL_BRANDS: Final = frozenset({"avif", "heic", "heix", "heif", "mif1", "miaf"})
NOT_A_VIDEO: Final = "This is not a video; send a file such as MP4, MOV, MKV, WebM, AVI or MPEG-TS."

# Allowed in addition to the frames: four hours of sound have fewer packets than this.
SOUND_SAMPLES: Final = 1_000_000
CUT_IN_HEAD: Final = "The file is cut off in its head, before the first frame; send the whole file."
NO_FRAMES: Final = "The video has not a single frame; record it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoLimits:
    """The largest video that is accepted.

    Attributes:
        max_duration: seconds.
        max_frames: frames in the source.
        max_pixels: pixels of one frame.
    """

    max_duration: float = 4 * 3600
    max_frames: int = 1_000_000
    max_pixels: int = 8192 * 4352

    @property
    def decoder_pixels(self) -> int:
        """The limit that FFmpeg is given: above `max_pixels`, since its frames have margins."""
        return 2 * self.max_pixels + (1 << 16)

    def check_size(self, width: int, height: int) -> None:
        """Refuse frames over `max_pixels`.

        Raises:
            VideoError: a frame has more.
        """
        if width * height > self.max_pixels:
            raise VideoError(
                "frame_too_large",
                f"A frame has {width} x {height} pixels, {self.max_pixels} are allowed; "
                "scale the video down.",
            )

    def check_count(self, frames: int) -> None:
        """Refuse a video over `max_frames`.

        Raises:
            VideoError: it has more.
        """
        if frames > self.max_frames:
            raise VideoError(
                "too_many_frames",
                f"The video has more than the {self.max_frames} frames allowed; send it in parts.",
            )

    def check_duration(self, seconds: float) -> None:
        """Refuse a video over `max_duration`.

        Raises:
            VideoError: it is longer.
        """
        if seconds > self.max_duration:
            raise VideoError(
                "video_too_long",
                f"The video is {seconds:.0f} s long, {self.max_duration:.0f} s are allowed; "
                "send it in parts.",
            )


@contextmanager
def open_video(path: Path, limits: VideoLimits, claims: Mp4Claims | None = None) -> Iterator[InputContainer]:
    """The file at `path`, opened for reading.

    Args:
        limits: `max_frames` and `max_pixels` hold from the beginning.
        claims: the result of `claims_of`, if it was called.

    Raises:
        VideoError: its format is not one of `opening.FORMATS`, or it is an MP4 file without its index.
    """
    with structure_checked(), ExitStack() as stack:
        claims = claims_of(path) if claims is None else claims
        limits.check_count(claims.unlisted - SOUND_SAMPLES)
        try:
            container = stack.enter_context(opened(path, claims, max_pixels=limits.decoder_pixels))
        except (av.FFmpegError, ValueError, OverflowError) as error:
            raise _unreadable(path, error) from error
        brand = container.metadata.get("major_brand", "").strip()
        if brand in STILL_BRANDS:
            raise VideoError("not_a_video", "The file is a still image; send a video.")
        yield container


@contextmanager
def structure_checked() -> Iterator[None]:
    """Turn a `StructureError` into a `VideoError`."""
    try:
        yield
    except StructureError as error:
        raise VideoError("undecodable", str(error)) from error


def _unreadable(path: Path, error: Exception) -> VideoError:
    if is_mp4(path):
        return VideoError(
            "truncated",
            "The MP4 file has no readable index (moov): it was cut off before its end or is damaged. "
            "Send the whole file; without the index no frame can be found, not even with decode=tolerant.",
        )
    if claims_more(path):
        return VideoError("truncated", CUT_IN_HEAD)
    if isinstance(error, av.EOFError) and is_matroska(path):
        return VideoError("no_frames", NO_FRAMES)
    return VideoError("not_a_video", NOT_A_VIDEO)


def video_stream(
    container: InputContainer, limits: VideoLimits, *, index: int | None = None, threads: int = 1
) -> VideoStream:
    """The stream that a player would show, its decoder set up but not opened.

    Args:
        limits: `max_pixels` also holds for sizes that change on the way.
        index: the stream to take; None for the best one that moves.
        threads: of the decoder.

    Raises:
        VideoError: there is no such stream, or no decoder for it.
    """
    still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    moving = [stream for stream in container.streams.video if not stream.disposition & still]
    if not moving:
        raise VideoError(
            "no_video_stream",
            "The file has no video stream (only sound, subtitles or cover art); send a video.",
        )
    if index is None:
        best = container.streams.best("video")
        index = moving[0].index if best is None else best.index
    chosen = next((stream for stream in moving if stream.index == index), moving[0])
    # A stream whose codec has no decoder has no codec context; PyAV's stubs do not say so.
    if getattr(chosen, "codec_context", None) is None:
        raise VideoError(
            "undecodable", "The video is in a codec this server cannot decode; convert it to H.264."
        )
    # Without these two, decoders conceal damage and report nothing.
    detect = error_detection(chosen.codec_context.name)
    chosen.codec_context.options = {"max_pixels": str(limits.decoder_pixels), **detect}
    chosen.thread_type = "NONE" if threads == 1 else "AUTO"
    chosen.thread_count = threads
    return chosen
