"""The sound of a video, copied as it is into an MP4 file."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from selsa_server.video.container import VideoLimits, open_video

# What MP4 holds and players know.
KNOWN: Final = frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "opus", "alac", "flac"})


class PassedSound:
    """Copies the sound between two times, a piece at a time, so that it lies beside the pictures.

    A context manager. Sound that MP4 cannot hold is left out, and so is the rest of sound that is damaged.

    Args:
        limits: it was checked against.
        out: the file that is written.
        first: seconds of the source at which the sound begins.
        end: seconds of the source at which it ends.
        shift: seconds that are added to its times.
        beat: called with every packet, as a sign of progress.
    """

    def __init__(
        self,
        source: Path,
        limits: VideoLimits,
        out: OutputContainer,
        *,
        first: Fraction,
        end: Fraction,
        shift: Fraction,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._out, self._beat = out, beat
        self._first, self._end, self._shift = first, end, shift
        self._stack = ExitStack()
        self._streams: dict[int, Stream] = {}
        self._packets: Iterator[Packet[Any]] = iter(())
        self._held: Packet[Any] | None = None
        with ExitStack() as stack:
            container = stack.enter_context(open_video(source, limits))
            sound = [each for each in container.streams.audio if self._is_known(each)]
            for each in sound:
                self._streams[each.index] = out.add_stream_from_template(each)
            if sound:
                self._packets = container.demux(sound)
                if first > 0 and container.start_time is not None:
                    self._seek(container, first)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def up_to(self, time: Fraction | None) -> None:
        """Copy what begins before `time` (seconds of the file that is written); None: all there is."""
        while (packet := self._next()) is not None:
            if time is not None and self._time(packet) + self._shift > time:
                return
            self._held = None
            self._copy(packet)

    def _next(self) -> "Packet[Any] | None":
        while self._held is None:
            self._beat()
            try:
                packet = next(self._packets, None)
            except av.FFmpegError:
                packet = None
            if packet is None:
                self._packets = iter(())
                return None
            if packet.dts is None or packet.pts is None or not packet.size:
                continue
            if self._first <= self._time(packet) < self._end:
                self._held = packet
        return self._held

    def _copy(self, packet: "Packet[Any]") -> None:
        assert packet.pts is not None
        assert packet.dts is not None
        assert packet.time_base is not None
        ticks = round(self._shift / packet.time_base)
        packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        packet.stream = self._streams[packet.stream.index]
        self._out.mux_one(packet)

    @staticmethod
    def _time(packet: "Packet[Any]") -> Fraction:
        assert packet.pts is not None
        assert packet.time_base is not None
        return packet.pts * packet.time_base

    @staticmethod
    def _is_known(stream: Any) -> bool:
        context = getattr(stream, "codec_context", None)
        return context is not None and context.codec.canonical_name in KNOWN

    @staticmethod
    def _seek(container: Any, first: Fraction) -> None:
        try:
            container.seek(int(first * av.time_base))
        except av.FFmpegError:
            container.seek(0)
