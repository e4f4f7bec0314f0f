"""A video with its detections drawn on it: H.264 in MP4, one frame for each frame record, at its time.

Without `stride`, `start` and `end` these are all frames of the source; with `fill`, `stride` leaves none out.
Pictures are upright; times and rate are the source's, a varying rate too; sound is copied where MP4 can hold
it. A part of a video (`start`) begins at zero, and so does one whose container has a running clock for times
(MPEG-TS and MPEG-PS).
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from selsa_bundle.video.delivery import DEFAULT_RATE
from selsa_server.errors import VideoError
from selsa_server.render.drawing import draw_caption, draw_detections, drawn_score, model_caption
from selsa_server.render.frames import FramesAgain
from selsa_server.render.sound import PassedSound
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.schema.resolved import resolving
from selsa_server.video.container import VideoLimits, open_video, video_stream
from selsa_server.video.index import VideoIndex, index_video
from selsa_server.video.selection import select_frames

Pixels = npt.NDArray[np.uint8]
Draw = Callable[[VideoRecord | FrameRecord | SummaryRecord], None]

# Fast, with little memory, most of which is pictures of the lookahead. Without B-frames packets are in
# display order: MP4 computes a track's length in decoding order, and with a variable rate the two differ by
# more than a frame.
ENCODERS: Final[dict[str, dict[str, str]]] = {
    "libx264": {
        "preset": "veryfast",
        "crf": "20",
        "x264-params": "bframes=0:rc-lookahead=8:sync-lookahead=0",
    },
    "libopenh264": {"allow_skip_frames": "0"},
}
THREADS: Final = 2
# Matrices that FFmpeg knows: Rec. 709, FCC, 601 (twice), SMPTE 240M, Rec. 2020. Others count as 601.
MATRICES: Final = (1, 4, 5, 6, 7, 9)
RUNNING_CLOCK: Final = frozenset({"mpegts", "mpeg"})
MAX_TIMESCALE: Final = 1_000_000
MAX_RATE: Final = 1000


@contextmanager
def open_drawn_video(
    source: Path, out: Path, params: DetectParams, *, limits: VideoLimits | None = None
) -> Iterator[Draw]:
    """A function that takes the records of `source` in order; `out` is complete after the block.

    With tracks, drawing begins with the summary, whose aliases are applied.

    Raises:
        ParameterError: `params` select no frame.
        VideoError: `source` is no video, or not the one that the records are of.
        OSError: `out` cannot be written.
    """
    index = index_video(source, limits or VideoLimits())
    with DrawnVideo(source, out, index, params) as drawn, resolving(drawn.write) as write:
        yield write


class DrawnVideo:
    """Writes the file. A context manager; after an error the file is incomplete.

    Args:
        out: a new path, or one that may be overwritten.
        index: result of pass 1.
        max_bytes: how large the file may become; None: no bound.
        beat: called with every packet that is read, as a sign of progress.
    """

    def __init__(
        self,
        source: Path,
        out: Path,
        index: VideoIndex,
        params: DetectParams,
        *,
        max_bytes: int | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._source, self._out, self._index, self._beat = source, out, index, beat
        self._keys = select_frames(index, params, 0).frames
        self._max_bytes = max_bytes
        self._written = 0
        self._least = drawn_score(params)
        self._caption = ""
        self._last = -1
        self._durations: deque[int] = deque()  # of the frames that the encoder has
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._frames = stack.enter_context(
                FramesAgain(self._source, self._index, self._keys, beat=self._beat)
            )
            scale = Fraction(1, _timescale(self._index.time_base))
            self._scale = scale
            options = {"movflags": "+faststart", "video_track_timescale": str(scale.denominator)}
            self._container = stack.enter_context(_created(self._out, options))
            whole = len(self._keys) == len(self._index)
            with open_video(self._source, self._index.limits) as source:
                stream = video_stream(source, self._index.limits, index=self._index.stream)
                self._video = _add_video(self._container, self._index, stream, scale)
                running = source.format.name in RUNNING_CLOCK
            first = self._time(self._keys[0])
            self._shift = -first if running or self._keys[0] != 0 else max(Fraction(0), -first)
            self._sound = stack.enter_context(self._open_sound(whole=whole))
            try:
                self._container.start_encoding()
            except av.FFmpegError as error:
                if isinstance(error, OSError):
                    raise
                size = f"{self._index.width} x {self._index.height}"
                raise VideoError(
                    "frame_too_large",
                    f"Pictures of {size} pixels cannot be encoded as H.264; scale the video.",
                ) from error
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self._mux(self._video.encode(None))
                self._sound.up_to(None)
        if kind is None and self._last < 0:
            raise VideoError("undecodable", "There is no frame to draw on.")

    def write(self, record: VideoRecord | FrameRecord | SummaryRecord) -> None:
        """Draw a frame record. A video record of a model with a warning gives all pictures a caption.

        Raises:
            VideoError: the source has no such frame, or the file becomes too large.
            OSError: the file cannot be written.
        """
        if isinstance(record, VideoRecord) and record.model.warning:
            self._caption = model_caption(record.model)
        if not isinstance(record, FrameRecord) or not self._frames.wants(record):
            return
        found = self._frames.of(record)
        pixels = np.ascontiguousarray(found.pixels)
        draw_detections(pixels, record.detections, least=self._least)
        if self._caption:
            draw_caption(pixels, self._caption)
        size = (self._index.width, self._index.height)
        if pixels.shape[1::-1] != size:
            # Some streams change their size midway; an MP4 track has one size.
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        frame = self._as_yuv(pixels)
        frame.pts = max(self._last + 1, round((self._time(found.index) + self._shift) / self._scale))
        frame.time_base = self._scale
        self._last = frame.pts
        self._durations.append(self._ticks_shown(found.index))
        self._mux(self._video.encode(frame))

    def _as_yuv(self, pixels: Pixels) -> av.VideoFrame:
        # With the same colour matrix that converted the decoded picture to RGB.
        matrix = self._video.codec_context.colorspace
        frame = av.VideoFrame.from_ndarray(_even(pixels), format="rgb24")
        return frame.reformat(format="yuv420p", dst_colorspace=matrix if matrix in MATRICES else None)

    def _open_sound(self, *, whole: bool) -> PassedSound:
        """The sound of the selected frames: from the first one's start to the last one's end."""
        last = self._keys[-1]
        first = self._time(self._keys[0])
        ends = last + 1 < len(self._index)
        end = self._time(last + 1) if ends else self._time(len(self._index) - 1) + 3600
        begin = Fraction(-3600) if whole or self._keys[0] == 0 else first
        limits, beat = self._index.limits, self._beat
        return PassedSound(
            self._source, limits, self._container, first=begin, end=end, shift=self._shift, beat=beat
        )

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        for packet in packets:
            self._written += packet.size
            if self._max_bytes is not None and self._written > self._max_bytes:
                raise VideoError(
                    "video_too_long",
                    f"The drawn video would be larger than {self._max_bytes} bytes; ask for a part of it "
                    "(start, end), or send the video in parts.",
                )
            packet.duration = self._durations.popleft()
            if packet.dts is not None and packet.time_base is not None:
                self._sound.up_to(packet.dts * packet.time_base)
            self._container.mux_one(packet)

    def _ticks_shown(self, index: int) -> int:
        """How long a frame is shown; that of the last frame sets the length of the file."""
        if index + 1 < len(self._index):
            shown = self._time(index + 1) - self._time(index)
        else:
            whole = Fraction(self._index.duration).limit_denominator(MAX_TIMESCALE)
            shown = whole - (self._time(index) - self._time(0))
        if shown <= 0:
            shown = 1 / (self._index.average_rate or DEFAULT_RATE)
        return max(1, round(shown / self._scale))

    def _time(self, index: int) -> Fraction:
        return int(self._index.pts[index]) * self._index.time_base


@contextmanager
def _created(out: Path, options: dict[str, str]) -> Iterator[OutputContainer]:
    # The prefix keeps a name with a colon from being read as an address.
    with av.open(f"file:{out.absolute()}", "w", format="mp4", options=options) as container:
        yield container


def _add_video(
    container: OutputContainer, index: VideoIndex, source: VideoStream, scale: Fraction
) -> VideoStream:
    name = next((each for each in ENCODERS if each in av.codecs_available), None)
    if name is None:
        raise VideoError(
            "undecodable",
            f"FFmpeg has no H.264 encoder here ({' or '.join(ENCODERS)}); install PyAV from its wheels.",
        )
    rate = index.average_rate or DEFAULT_RATE
    added = container.add_stream(name, rate=min(rate, Fraction(MAX_RATE)), options=dict(ENCODERS[name]))
    stream = cast("VideoStream", added)
    context = stream.codec_context
    context.width, context.height = index.width + index.width % 2, index.height + index.height % 2
    context.sample_aspect_ratio = index.sample_aspect_ratio
    context.pix_fmt = "yuv420p"
    context.time_base = stream.time_base = scale
    context.thread_count = THREADS
    # The colour description of the source is copied; only the range is always that of yuv420p, "tv".
    origin = source.codec_context
    context.colorspace, context.color_primaries = origin.colorspace, origin.color_primaries
    context.color_trc, context.color_range = origin.color_trc, 1
    return stream


def _timescale(time_base: Fraction) -> int:
    """Ticks per second that hold every time of the source exactly, where that many are possible."""
    scale = time_base.denominator
    while scale < 1000:
        scale *= 10
    return scale if scale <= MAX_TIMESCALE else 90_000


def _even(pixels: Pixels) -> Pixels:
    """Padded by a line right and below where a side is odd, since yuv420p has colours in pairs."""
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return pixels
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
