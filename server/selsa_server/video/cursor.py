"""Moving through a video: decoding in order, without the frames that nobody needs.

A jump to a random access point leaves out all frames before it. On the way to the next wanted frame, pictures
that no other picture refers to are not decoded.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from selsa_bundle.video.delivery import Undecodable, deliver
from selsa_bundle.video.nal import is_disposable, tells_disposable
from selsa_bundle.video.packets import one_frame_each
from selsa_server.errors import VideoError
from selsa_server.video.index import VideoIndex

# A jump empties the decoder and searches the file; it pays from about this many frames on.
JUMP_SAVES: Final = 8


class SeekFailedError(Exception):
    """A jump did not lead to the wanted frame; decode in order instead."""


class Cursor:
    """A position in a video that only moves forward.

    Args:
        wanted: positions that `frame_at` may be asked for.
        beat: called with every packet.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        index: VideoIndex,
        wanted: Sequence[int],
        *,
        tolerant: bool,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._container = container
        self._stream = stream
        self._index = index
        self._tolerant = tolerant
        self._beat = beat
        # Frames that need not be decoded if no other frame refers to them. None are known where frames are
        # counted, or have a packet for each field.
        self._unwanted = np.zeros(len(index), np.bool_)
        codec = stream.codec_context
        if (
            index.by_pts
            and tells_disposable(codec.extradata or b"", codec.name)
            and one_frame_each(container, stream)
        ):
            self._unwanted[:] = True
            self._unwanted[list(wanted)] = False
        self._left_out = np.zeros_like(self._unwanted)
        self._fed = -1  # highest position whose packet the decoder was given
        self._next = 0  # position of the frame that must come next
        self._held: tuple[int, VideoFrame] | None = None
        self._frames = self._decode(None)
        self.jumped = False

    def jump_towards(self, target: int) -> None:
        """Go to the last random access point up to `target`, if it lies beyond what was decoded."""
        first = self._fed + JUMP_SAVES
        ahead = np.flatnonzero(self._index.keyframe[first : target + 1])
        if not len(ahead):
            return
        position = first + int(ahead[-1])
        self.jumped = True
        try:
            self._container.seek(int(self._index.pts[position]), stream=self._stream, backward=True)
        except (av.FFmpegError, OverflowError) as error:
            raise SeekFailedError from error
        self._held = None
        self._fed = self._next = position
        self._frames = self._decode(position)

    def frame_at(self, target: int) -> VideoFrame | None:
        """The frame at `target`, None when it does not decode.

        Raises:
            VideoError: strict only; this frame or one on the way is damaged or missing.
            SeekFailedError: the same after a jump, which may be the cause.
        """
        while self._held is None or self._held[0] < target:
            self._held = next(self._frames, None)
            if self._held is None:
                return None
            position, frame = self._held
            if not self._tolerant and (frame.is_corrupt or not self._left_out[self._next : position].all()):
                self._fail(min(self._next, position))
            self._next = position + 1
        position, frame = self._held
        return frame if position == target and not frame.is_corrupt else None

    def _fail(self, position: int) -> None:
        if self.jumped:
            raise SeekFailedError
        raise undecodable(position, self._index)

    def _decode(self, start: int | None) -> Iterator[tuple[int, VideoFrame]]:
        """Positions and frames in order; after a jump from the random access point at `start` on."""
        last = -1 if start is None else start - 1
        for frame in deliver(self._packets(start), self._stream):
            if isinstance(frame, Undecodable):
                # Leading pictures of the random access point need frames before it; they are not wanted.
                leading = start is not None and frame.pts is not None and frame.pts < self._index.pts[start]
                if not self._tolerant and not leading:
                    self._fail(last + 1)
                last += not self._index.by_pts  # counted positions: a lost frame has one
                continue
            position = self._position(frame, last)
            if position > last:
                last = position
                yield position, frame

    def _packets(self, start: int | None) -> Iterator["Packet[VideoStream]"]:
        waiting = start is not None
        try:
            for packet in self._container.demux(self._stream):
                self._beat()
                if packet.size == 0:
                    continue
                if waiting and start is not None:
                    waiting = not self._is_access_point(packet, start)
                    if waiting:
                        continue
                if self._index.by_pts and packet.pts is not None:
                    position = int(np.searchsorted(self._index.pts, packet.pts))
                    self._fed = max(self._fed, position)
                    if self._is_left_out(packet, position):
                        continue
                yield packet
        except av.FFmpegError:
            if not self._tolerant:
                self._fail(self._next)

    def _is_left_out(self, packet: "Packet[VideoStream]", position: int) -> bool:
        """Whether the packet of the frame at `position` need not be decoded."""
        left_out = (
            position < len(self._unwanted)
            and bool(self._unwanted[position])
            and int(self._index.pts[position]) == packet.pts
            and not packet.is_corrupt
            and is_disposable(packet, self._stream.codec_context.name)
        )
        if left_out:
            self._left_out[position] = True
        return left_out

    def _is_access_point(self, packet: "Packet[VideoStream]", start: int) -> bool:
        if not packet.is_keyframe:
            return False
        if packet.pts is None or packet.pts > int(self._index.pts[start]):
            raise SeekFailedError  # it landed too late
        # An access point before `start` will do: decoding begins there, positions are counted from `start`.
        return True

    def _position(self, frame: VideoFrame, last: int) -> int:
        """Index of a frame; -1 for one that pass 1 did not find."""
        if not self._index.by_pts:
            return last + 1 if last + 1 < len(self._index) else -1
        if frame.pts is None:
            return -1
        pts = self._index.pts
        position = int(np.searchsorted(pts, frame.pts, "left"))
        return position if position < len(pts) and int(pts[position]) == frame.pts else -1


def undecodable(position: int, index: VideoIndex) -> VideoError:
    """The error that says which frame does not decode."""
    return VideoError(
        "undecodable",
        f"Frame {position} of {len(index)} (at {index.time_of(position):.3f} s) does not decode; repair the "
        "video, or use decode=tolerant to detect on the other frames.",
    )
