"""Pass 2 over a video: chosen frames as RGB pixels.

Decoding goes through the file in order and jumps ahead only where a random access point lies between what
was decoded and what is wanted next. A frame after a jump is bit for bit the one of decoding in order:
frames shown before the random access point (the leading pictures of an open GOP) are never taken from there.
Pictures of H.264 and H.265 that are not wanted and that no other picture refers to are not decoded; damage in
them is no error.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selsa_bundle.picture import Picture
from selsa_bundle.preprocess import Preprocess
from selsa_server.errors import VideoError
from selsa_server.video.container import open_video, video_stream
from selsa_server.video.cursor import Cursor, SeekFailedError, undecodable
from selsa_server.video.index import VideoIndex


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame of the source.

    Attributes:
        index: 0-based, in the order of display.
        pts: ticks of the index's time base; None when the container has no time stamps of display.
        time: seconds.
        pixels: uint8 [h, w, 3], RGB as displayed, turned and mirrored; its own size, not the first frame's.
        source_size: (height, width) as displayed of a frame that shrank to `Preprocess.decoded_size`.
    """

    index: int
    pts: int | None
    time: float | None
    pixels: npt.NDArray[np.uint8]
    source_size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class CorruptFrame:
    """A frame of the source that could not be decoded (tolerant decoding only)."""

    index: int


def decode_frames(
    path: Path,
    index: VideoIndex,
    wanted: Sequence[int] | range,
    *,
    tolerant: bool,
    threads: int = 1,
    preprocess: Preprocess | None = None,
    beat: Callable[[], None] = lambda: None,
) -> Generator[DecodedFrame | CorruptFrame, None, None]:
    """Decode the frames `wanted`, one item for each, in order.

    At most one pass over the file is decoded; a second one only when a jump proves wrong after the fact.

    Args:
        index: the result of `index_video`.
        wanted: source indices, strictly ascending.
        tolerant: give a `CorruptFrame` for what does not decode instead of an error.
        threads: of the decoder. One: measured on 2 cores, a frame costs 2 % of what the engines take.
        preprocess: frames shrink to its `decoded_size`, where it names one; None: they keep their size.
        beat: called with every packet, as a sign of progress.

    Raises:
        VideoError: strict only. The file is cut off, or a frame is damaged or missing on the way.
    """
    if index.damage is not None and not tolerant:
        raise VideoError("truncated", index.damage)
    if not wanted:
        return
    picture = Picture(index.limits.max_pixels, preprocess)
    done = 0
    may_seek = index.by_pts
    while done < len(wanted):
        try:
            for item in _walk(
                path,
                index,
                wanted[done:],
                picture,
                tolerant=tolerant,
                threads=threads,
                may_seek=may_seek,
                beat=beat,
            ):
                done += 1
                yield item
        except SeekFailedError:
            may_seek = False


def _walk(
    path: Path,
    index: VideoIndex,
    wanted: Sequence[int],
    picture: Picture,
    *,
    tolerant: bool,
    threads: int,
    may_seek: bool,
    beat: Callable[[], None],
) -> Generator[DecodedFrame | CorruptFrame, None, None]:
    """One opening of the file; see `decode_frames`."""
    with open_video(path, index.limits) as container:
        stream = video_stream(container, index.limits, index=index.stream, threads=threads)
        cursor = Cursor(container, stream, index, wanted, tolerant=tolerant, beat=beat)
        for target in wanted:
            if may_seek:
                cursor.jump_towards(target)
            frame = cursor.frame_at(target)
            pixels = None if frame is None else picture.pixels(frame)
            if frame is not None and pixels is not None:
                pts = int(index.pts[target]) if index.has_pts else None
                yield DecodedFrame(target, pts, index.time_of(target), pixels, picture.source_size(frame))
            elif cursor.jumped:
                raise SeekFailedError
            elif tolerant:
                yield CorruptFrame(target)
            else:
                raise undecodable(target, index)
