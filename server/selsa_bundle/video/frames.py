"""Pass 1 over a video: its frames and their times, from its packets if they are frames, else by decoding."""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from selsa_bundle.video.delivery import NO_TIMESTAMPS, Timeline, Undecodable, codec_rate, deliver
from selsa_bundle.video.packets import Tally, VideoPacket, read_packets


@dataclass(slots=True)
class Frames:
    """The n frames of a video.

    Attributes:
        pts: int64 [n], ticks, ascending; see `Timeline` for where they are not the container's.
        keyframe: bool [n], whether decoding can begin at the frame.
        tally: of all packets.
        first: the first frame, if it decodes.
        last_duration: ticks that the last frame is shown; 0 if unknown.
        average_rate: frames per second, if the container knows.
        has_pts: whether `pts` are the container's, continued where its clock restarts.
        by_pts: whether frames are told apart by their time stamps; else they are counted.
        jumps: how often the container's clock restarted or leapt.
        lost: frames that were decoded and are damaged, or did not decode.
    """

    pts: npt.NDArray[np.int64]
    keyframe: npt.NDArray[np.bool_]
    tally: Tally
    first: VideoFrame | None
    last_duration: int
    average_rate: Fraction | None
    has_pts: bool = True
    by_pts: bool = True
    jumps: int = 0
    lost: int = 0


def frames_of_packets(
    container: InputContainer, stream: VideoStream, *, beat: Callable[[], None] = lambda: None
) -> Frames | None:
    """Read the packets; None if they are not one to one with the frames that the decoder gives.

    Args:
        beat: called with every packet, as a sign of progress.
    """
    packets = read_packets(container, stream, beat)
    if packets is None:
        return None
    pts, keyframe = packets.ordered()
    rate = stream.average_rate or None
    last = packets.tally.last
    duration = 0 if last is None else last.duration or 0
    return Frames(pts, keyframe, packets.tally, packets.first, duration, rate)


def frames_of_decoder(
    container: InputContainer,
    stream: VideoStream,
    *,
    beat: Callable[[], None] = lambda: None,
    check_count: Callable[[int], None] = lambda _: None,
) -> Frames:
    """Decode the video.

    Args:
        beat: called with every packet, as a sign of progress.
        check_count: called with the number of frames so far; its exceptions are passed on.
    """
    timeline, tally = Timeline(stream), Tally()
    pts, keyframe = array("q"), bytearray()
    first: VideoFrame | None = None
    lost = last_duration = 0
    undecodable = False
    given = array("q")
    for frame in deliver(_tallied(container, stream, tally, given, beat), stream):
        pts.append(timeline.place(frame))
        check_count(len(pts))
        if isinstance(frame, Undecodable):
            undecodable = True
            lost += 1
            keyframe.append(0)
            continue
        if first is None:
            first = frame
        keyframe.append(frame.key_frame)
        lost += frame.is_corrupt
        # Of interlaced frames, the duration is that of one field.
        last_duration = 0 if frame.interlaced_frame else frame.duration or last_duration
    times = np.frombuffer(pts, np.int64)
    ascending = bool((np.diff(times) > 0).all())
    if (
        ascending
        and timeline.has_pts
        and not timeline.changed
        and _lacks_frames(times, np.frombuffer(given, np.int64))
    ):
        tally.broken = True
    rate = _measured_rate(stream, times)
    if not timeline.has_pts or not last_duration:
        last_duration = round(1 / (rate * (stream.time_base or Fraction(1, 90_000))))
    return Frames(
        times,
        np.frombuffer(keyframe, np.bool_),
        tally,
        first,
        last_duration,
        rate,
        has_pts=timeline.has_pts,
        by_pts=timeline.has_pts and ascending and not (undecodable or timeline.changed),
        jumps=timeline.jumps,
        lost=lost,
    )


def _lacks_frames(times: npt.NDArray[np.int64], given: npt.NDArray[np.int64]) -> bool:
    """Whether there is a gap in time, or an end, where a packet was that gave no frame and no error.

    Args:
        times: of the frames, ascending.
        given: time stamps of the packets.
    """
    if len(times) < 3:
        return False
    # np.setdiff1d would import a part of numpy, which a confined decoder may not read.
    after = np.searchsorted(times, given)
    wanted = (after > 0) & (times[np.minimum(after, len(times) - 1)] != given)
    missing, after = given[wanted], after[wanted]
    step = float(np.sort(np.diff(times))[(len(times) - 1) // 2])
    # The second field of a frame may have a packet and half a step of its own.
    return bool(
        (
            (missing - times[after - 1] > 0.75 * step)
            & (np.append(times, times[-1] + 2 * step)[after] - missing > 0.75 * step)
        ).any()
    )


def _tallied(
    container: InputContainer,
    stream: VideoStream,
    tally: Tally,
    given: "array[int]",
    beat: Callable[[], None],
) -> Iterator[VideoPacket]:
    """The packets. Time stamps, but those of leading pictures, are added to `given`."""
    access = -(1 << 63)
    try:
        for packet in container.demux(stream):
            beat()
            if packet.size or packet.dts is not None:
                tally.note(packet)
            if packet.size:
                access = packet.pts if packet.is_keyframe and packet.pts is not None else access
                if packet.pts is not None and packet.pts >= access:
                    given.append(packet.pts)
                yield packet
    except av.FFmpegError:
        tally.broken = True


def _measured_rate(stream: VideoStream, pts: npt.NDArray[np.int64]) -> Fraction:
    """Of the rates stated by container and bitstream, the one nearest to the measured rate."""
    rate = codec_rate(stream)
    if stream.container.format.flags & NO_TIMESTAMPS or len(pts) < 2 or pts[-1] == pts[0]:
        return rate
    measured = (len(pts) - 1) / (int(pts[-1] - pts[0]) * (stream.time_base or Fraction(1, 90_000)))
    said = (stream.average_rate or rate, stream.guessed_rate or rate, rate)
    rate = min(said, key=lambda each: abs(each - measured))
    # All of them may state fields per second instead of frames.
    return rate / 2 if abs(2 * measured - rate) < rate / 20 else rate
