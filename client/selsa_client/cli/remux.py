"""Copies packets into another container, without decoding.

For inputs that cannot be streamed unchanged: an MP4 with its index at the end, an AVI, a network camera; and
for pictures, which become a video.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from selsa_client.live.protocol import LiveFeed
from selsa_client.wire.errors import InputError, MissingPackageError

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

# Seconds: to open the input, and between two packets.
_TIMEOUT: Final = (15.0, 30.0)

# Codecs for MP4, which keeps time stamps exactly; others go into Matroska, which rounds them to 1/1000 s.
_IN_MP4: Final = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg"})
# One fragment per frame, so that no frame waits for others. The index in front is written after the first
# packet, which tells by how much B frames shift the time.
_FRAGMENTED: Final = {"movflags": "frag_every_frame+delay_moov+default_base_moof", "flush_packets": "1"}
# Frames a second of a video of pictures.
PICTURE_RATE: Final = 25
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_MATROSKA: Final = {"live": "1", "flush_packets": "1"}


def rtsp_options() -> dict[str, str]:
    """FFmpeg's options for rtsp: TCP, which loses no packet, and no wait for 20 frames to guess the rate."""
    protocols = "rtsp,rtsps,rtp,tcp,tls,udp,srtp,crypto"
    return {"rtsp_transport": "tcp", "protocol_whitelist": protocols, "fpsprobesize": "0"}


def remuxed(file: Any, name: str, options: Mapping[str, str]) -> LiveFeed:
    """A video as a feed that can be streamed.

    Closing the feed's pieces closes the video: another thread may read them while the caller leaves.

    Args:
        file: an address for FFmpeg, or an object with `read`.
        name: the video's name in messages.
        options: FFmpeg's options for reading.

    Raises:
        InputError: it cannot be read.
        MissingPackageError: PyAV is not installed.
    """
    container, stream = opened_video(file, name, options)
    in_mp4 = stream.codec_context.codec.canonical_name in _IN_MP4
    return LiveFeed("mp4" if in_mp4 else "matroska", _written(container, stream, name, in_mp4=in_mp4))


def opened_video(
    file: Any, name: str, options: Mapping[str, str], *, kind: str | None = None
) -> tuple["InputContainer", "VideoStream"]:
    """A video opened with PyAV, and its first video stream.

    Raises:
        InputError: it cannot be read, or holds no video.
        MissingPackageError: PyAV is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"selsa detect --live {name}", "av", "live") from error
    try:
        container = av.open(
            file, "r", format=kind, options=dict(options), timeout=_TIMEOUT, metadata_errors="replace"
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise InputError(f"Cannot read {name}: {_reason(error)}") from error
    if not container.streams.video:
        container.close()
        raise InputError(f"Cannot read {name}: there is no video in it")
    return container, container.streams.video[0]


def write_pictures(pictures: Sequence[Path], target: Path) -> None:
    """Write JPEG or PNG files as the frames of a MOV file, 25 a second, unchanged.

    Raises:
        InputError: a file is no picture, or has another size or format than the first.
        MissingPackageError: PyAV is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"selsa detect {pictures[0].name}", "av", "live") from error
    with ExitStack() as stack:
        container = av.open(str(target), "w", format="mov")
        # Closing a file without a single frame is an error of its own.
        stack.callback(_close, container)
        written: VideoStream | None = None
        for number, path in enumerate(pictures):
            # A packet and a stream are used only while their container is open.
            with _picture(path) as (packet, stream):
                if written is None:
                    written = container.add_stream_from_template(stream)
                    written.time_base = Fraction(1, PICTURE_RATE)
                if _looks(stream) != _looks(written):
                    raise InputError(
                        f"{path} is {_described(stream)}; the pictures before it are {_described(written)}"
                    )
                packet.pts = packet.dts = number
                packet.duration = 1
                packet.time_base = Fraction(1, PICTURE_RATE)
                packet.stream = written
                container.mux(packet)


def _close(container: "OutputContainer") -> None:
    import av

    with suppress(av.FFmpegError):
        container.close()


@contextmanager
def _picture(path: Path) -> Iterator[tuple["Packet[Any]", "VideoStream"]]:
    import av

    try:
        with path.open("rb") as file:
            source, stream = opened_video(file, str(path), {}, kind=_picture_format(file))
            with closing(source):
                packet = next(source.demux(stream))
                if not packet.size or not stream.codec_context.width:
                    raise InputError(f"Cannot read {path}: it is no JPEG or PNG picture")
                yield packet, stream
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"Cannot read {path}: {_reason(error)}") from error


def _picture_format(file: IO[bytes]) -> str:
    # By content, not by name: a `.png` that holds a JPEG is common.
    head = file.read(8)
    file.seek(0)
    return "png_pipe" if head == _PNG else "jpeg_pipe"


def _looks(stream: "VideoStream") -> tuple[str, int, int]:
    context = stream.codec_context
    return context.codec.canonical_name, context.width, context.height


def _described(stream: "VideoStream") -> str:
    codec, width, height = _looks(stream)
    return f"{codec} of {width} x {height} pixels"


def _written(source: "InputContainer", stream: "VideoStream", name: str, *, in_mp4: bool) -> Iterator[bytes]:
    import av

    sink = _Sink()
    kind, options = ("mp4", _FRAGMENTED) if in_mp4 else ("matroska", _MATROSKA)
    try:
        with closing(source), av.open(sink, "w", format=kind, options=options) as target:
            for packet in _in_order(source, stream, target):
                target.mux(packet)
                yield from sink.taken()
    except av.FFmpegError as error:
        raise InputError(f"Reading {name} failed: {_reason(error)}") from error
    yield from sink.taken()


def _in_order(
    source: "InputContainer", stream: "VideoStream", target: "OutputContainer"
) -> Iterator["Packet[Any]"]:
    """The packets from the first key frame on, with increasing decoding times.

    Network cameras omit the decoding time of the first packet and repeat some times.
    """
    written = target.add_stream_from_template(stream)
    last: int | None = None
    first: Packet[Any] | None = None
    for packet in source.demux(stream):
        if not packet.size:
            continue  # the end
        if last is None and first is None:
            if not packet.is_keyframe:
                continue  # cannot be decoded
            if packet.dts is None and packet.pts is None:
                first = packet
                continue
        if first is not None and (time := _time(packet)) is not None:
            first.dts = first.pts = last = time - (packet.duration or 1)
            first.stream = written
            yield first
            first = None
        packet.dts = _after(last, _time(packet))
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        last = packet.dts
        packet.stream = written
        yield packet


def _time(packet: "Packet[Any]") -> int | None:
    return packet.pts if packet.dts is None else packet.dts


def _after(last: int | None, time: int | None) -> int:
    """A decoding time after the last one, if possible the packet's own."""
    if last is None:
        return time or 0
    return last + 1 if time is None else max(time, last + 1)


class _Sink:
    """Holds the muxer's output until it is taken. It cannot seek, so nothing is overwritten."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> Iterator[bytes]:
        parts, self._parts = self._parts, []
        if parts:
            yield b"".join(parts)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
