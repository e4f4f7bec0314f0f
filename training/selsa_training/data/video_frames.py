"""Frames of a video file as if each were an image: `clip.mp4/000012` is frame 12 of `clip.mp4`.

Frame i is the i-th frame that the decoder delivers, from 0: the `index` of the server's records. A video is
decoded once to count its frames; after that a frame is found from the nearest key frame before it. Labels are
by frame number, so a video that lacks frames is an error: all labels after them would be shifted.
"""

import os
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Final

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from selsa_bundle.picture import Orientation, Picture
from selsa_bundle.video.damage import damage_of
from selsa_bundle.video.delivery import Undecodable, deliver, error_detection
from selsa_bundle.video.elements import StructureError
from selsa_bundle.video.extent import claims_of
from selsa_bundle.video.frames import frames_of_decoder, frames_of_packets
from selsa_bundle.video.opening import opened
from selsa_training.data.errors import ImageError

Pixels = npt.NDArray[np.uint8]

MAX_FRAMES: Final = 1_000_000
MAX_PIXELS: Final = 8192 * 4352
# Frames that a reader keeps: the reference frames of a sample are near its key frame.
KEPT_BYTES: Final = 64 << 20
# A jump to a key frame empties the decoder; up to this many frames are decoded instead.
JUMP_SAVES: Final = 8


@dataclass(frozen=True, slots=True)
class VideoIndex:
    """What one pass over a video found.

    Attributes:
        count: frames.
        size: (height, width) in pixels as displayed.
        pts: presentation time stamps by frame; empty if frames cannot be told apart by them.
        keys: frames at which decoding can begin, ascending.
    """

    count: int
    size: tuple[int, int]
    pts: "array[int]" = field(repr=False)
    keys: "array[int]" = field(repr=False)


def index_video(path: Path) -> VideoIndex:
    """Decode a video to its end. The result is kept for as long as the file does not change.

    Raises:
        ImageError: it is no video, or a frame of it is missing or does not decode.
    """
    return _index(*_identity(path))


def read_video_frame(path: Path) -> Pixels:
    """Frame `int(path.name)` of the video `path.parent`: uint8 [h, w, 3], RGB, as displayed.

    Raises:
        ImageError: there is no such frame.
    """
    number = frame_number(path)
    reader = _reader(*_identity(path.parent), os.getpid())
    with reader.lock:
        return reader.read(number)


def frame_number(path: Path) -> int:
    """The frame that the last part of a path names.

    Raises:
        ImageError: it is no number.
    """
    if not path.name.isdecimal() or len(path.name) > 9:
        raise ImageError(f"{path}: {path.parent.name} is a video and {path.name!r} no number of a frame")
    return int(path.name)


def frames_in_order(path: Path) -> Iterator[Pixels]:
    """All frames of a video: uint8 [h, w, 3], RGB, as displayed.

    Raises:
        ImageError: it is no video, or a frame of it does not decode.
    """
    index_video(path)
    picture = Picture(MAX_PIXELS)
    with _opened(path) as container:
        for number, frame in enumerate(_decoded(container, path)):
            yield _pixels(picture, frame, path, number)


def _identity(path: Path) -> tuple[Path, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from error
    return path, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=1024)
def _index(path: Path, _changed: int, _bytes: int) -> VideoIndex:
    try:
        claims = claims_of(path)
        with _opened(path) as container:
            listed = frames_of_packets(container, _stream(container, path))
        # Several threads report an error after later packets, so that damage and what a decoder skips at the
        # beginning cannot be told apart.
        for threads in (0, 1):
            with _opened(path, threads=threads) as container:
                stream = _stream(container, path)
                frames = frames_of_decoder(container, stream, check_count=partial(_check_count, path))
                damage = damage_of(path, claims, stream, frames)
            if not frames.lost and len(frames.pts) == frames.tally.count:
                break
    except StructureError as error:
        raise ImageError(f"{path}: {error}") from error
    if damage is not None:
        raise ImageError(f"{path}: {damage}; repair the video or convert it")
    if not len(frames.pts) or frames.first is None:
        raise ImageError(f"{path}: the video has no frame")
    if frames.lost or (listed is not None and len(listed.pts) != len(frames.pts)):
        raise ImageError(f"{path}: some frames are damaged or do not decode; repair the video or convert it")
    width, height = Orientation.of(frames.first).size(frames.first.width, frames.first.height)
    pts = array("q", frames.pts.tolist() if frames.by_pts else [])
    return VideoIndex(len(frames.pts), (height, width), pts, array("q", np.flatnonzero(frames.keyframe)))


def _check_count(path: Path, count: int) -> None:
    if count > MAX_FRAMES:
        raise ImageError(f"{path}: has more than {MAX_FRAMES} frames; cut it into parts")


@lru_cache(maxsize=8)
def _reader(path: Path, changed: int, length: int, _process: int) -> "_Reader":
    # By process: a forked one would move the file position of its parent.
    return _Reader(path, _index(path, changed, length))


class _Reader:
    """An open video and the frames that it gave last."""

    def __init__(self, path: Path, index: VideoIndex) -> None:
        self.lock = Lock()
        self._path = path
        self._index = index
        self._picture = Picture(MAX_PIXELS)
        self._kept: OrderedDict[int, Pixels] = OrderedDict()
        self._room = max(2, KEPT_BYTES // max(1, 3 * index.size[0] * index.size[1]))
        self._open = ExitStack()
        self._restart()

    def read(self, number: int) -> Pixels:
        if not 0 <= number < self._index.count:
            raise ImageError(f"{self._path}: there is no frame {number}; it has {self._index.count}")
        if number in self._kept:
            return self._kept[number].copy()
        key = self._index.keys[max(0, bisect_right(self._index.keys, number) - 1)] if self._index.keys else 0
        if self._index.pts and (number < self._next or key > self._next + JUMP_SAVES):
            self._jump(key, number)
        elif number < self._next:
            self._restart()
        while self._next <= number:
            frame = next(self._frames, None)
            if frame is None:
                raise ImageError(f"{self._path}: frame {self._next} does not decode")
            self._keep(self._next, frame)
        return self._kept[number].copy()

    def _jump(self, key: int, wanted: int) -> None:
        """Continue at a frame between the key frame and the wanted one, or else at the first frame."""
        pts = self._index.pts
        try:
            self._container.seek(pts[key], stream=_stream(self._container, self._path), backward=True)
        except (av.FFmpegError, OverflowError):
            return self._restart()
        self._frames = _decoded(self._container, self._path)
        for frame in self._frames:
            if frame.pts is None or frame.pts > pts[wanted]:
                break
            # Frames before the key frame may lack their references.
            if frame.pts >= pts[key]:
                place = bisect_right(pts, frame.pts) - 1
                if pts[place] != frame.pts:
                    break
                self._next = place
                return self._keep(place, frame)
        return self._restart()

    def _restart(self) -> None:
        self._open.close()
        self._container = self._open.enter_context(_opened(self._path))
        self._frames = _decoded(self._container, self._path)
        self._next = 0

    def _keep(self, number: int, frame: VideoFrame) -> None:
        self._kept[number] = _pixels(self._picture, frame, self._path, number)
        self._kept.move_to_end(number)
        while len(self._kept) > self._room:
            self._kept.popitem(last=False)
        self._next = number + 1


@contextmanager
def _opened(path: Path, *, threads: int = 1) -> Iterator[InputContainer]:
    """The file with its decoder set up; `threads=0` leaves their number to FFmpeg."""
    with ExitStack() as stack:
        try:
            container = stack.enter_context(opened(path, claims_of(path), max_pixels=2 * MAX_PIXELS))
        except (av.FFmpegError, StructureError, ValueError, OverflowError) as error:
            raise ImageError(f"{path}: is no video that can be read") from error
        stream = _stream(container, path)
        stream.codec_context.options = error_detection(stream.codec_context.name)
        stream.codec_context.thread_count = threads
        if threads != 1:
            stream.thread_type = "AUTO"
        yield container


def _stream(container: InputContainer, path: Path) -> VideoStream:
    best = container.streams.best("video")
    if not isinstance(best, VideoStream) or getattr(best, "codec_context", None) is None:
        raise ImageError(f"{path}: has no video stream that can be decoded")
    return best


def _decoded(container: InputContainer, path: Path) -> Iterator[VideoFrame]:
    """The frames that the decoder delivers."""
    stream = _stream(container, path)
    try:
        for frame in deliver((packet for packet in container.demux(stream) if packet.size), stream):
            if isinstance(frame, Undecodable) or frame.is_corrupt:
                raise ImageError(f"{path}: a frame is damaged; repair the video or convert it")
            yield frame
    except av.FFmpegError as error:
        raise ImageError(f"{path}: cannot be read to its end; repair the video or convert it") from error


def _pixels(picture: Picture, frame: VideoFrame, path: Path, number: int) -> Pixels:
    pixels = picture.pixels(frame)
    if pixels is None:
        raise ImageError(f"{path}: frame {number} is larger than {MAX_PIXELS} pixels or cannot be converted")
    return pixels
