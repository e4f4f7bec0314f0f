"""Whether frames of a video file are missing, as one sentence."""

from pathlib import Path
from typing import Final, cast

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from selsa_bundle.video.delivery import codec_rate
from selsa_bundle.video.elements import GapError
from selsa_bundle.video.extent import claims_more, matroska_extent
from selsa_bundle.video.frames import Frames
from selsa_bundle.video.mp4 import Mp4Claims
from selsa_bundle.video.packets import Tally
from selsa_bundle.video.structure import avi_pictures, has_gap
from selsa_bundle.video.transport import STRIDES, transport_fault

NEVER: Final = 1 << 62
ENDS: Final = 1 << 16  # bytes
AVI_INDEX_BYTES: Final = 48  # for a frame and the sound beside it
UNKNOWN_COUNT: Final = 1 << 30  # what ffmpeg writes into an AVI file that it cannot go back in


def declared_frames(container: InputContainer, stream: VideoStream) -> int:
    """How many frames the container says that the stream has; 0 if it does not say."""
    # An edit list drops samples from the index, never from the count in the header.
    if "mp4" in container.format.name:
        return len(stream.index_entries)
    return stream.frames if stream.frames < UNKNOWN_COUNT else 0


def damage_of(  # noqa: C901 - one rule after the other
    path: Path, claims: Mp4Claims, stream: VideoStream, frames: Frames
) -> str | None:
    """A sentence that says what is missing, or None. The header's claim counts only if nothing refutes it."""
    container = cast("InputContainer", stream.container)
    name, declared, tally = container.format.name, declared_frames(container, stream), frames.tally
    size = path.stat().st_size
    first, last = tally.first_position or 0, 0 if tally.last is None else tally.last.pos or 0
    regular = _is_regular(frames)
    if name == "mpegts":
        if not regular or _is_suspect(size, tally):
            fault = transport_fault(path, stream.id)
        else:
            # Before the first frame and after the last one, no gap in time shows that packets are missing.
            fault = transport_fault(path, stream.id, end=first + ENDS) or transport_fault(
                path, stream.id, begin=max(first, last - ENDS)
            )
        return None if fault is None else f"The transport stream is cut off or damaged: {fault}"
    if tally.broken:
        return "The file is cut off or damaged: a packet is incomplete or has no picture"
    if "mp4" in name:
        if claims.cut:
            return "The file is cut off: the head of its last fragment is incomplete"
        if claims.gap:
            return "The file is damaged: its index, or the head of a fragment, makes no sense"
        missing = declared - tally.count
        if missing > 0 and missing > sum(not entry.size for entry in stream.index_entries):
            return f"The file is cut off: its index lists {declared} frames, it holds {tally.count}"
    elif "matroska" in name:
        with path.open("rb", buffering=0) as file:  # a few bytes here and there
            extent = matroska_extent(file, size)
        if extent.cut or (extent.claims_more and not _reaches_its_end(stream, frames)):
            return "The file is cut off: its container says that it goes on"
    elif name == "avi" and _lacks_chunks(path, declared, tally):
        return f"The file is cut off or damaged: its container lists {declared} frames, it holds fewer"
    if name == "avi":
        # A lost chunk leaves no gap in time, since chunks are counted.
        regular = regular and tally.last is not None and (tally.last.dts or 0) + 1 == declared
    with path.open("rb", buffering=0) as file:  # a few bytes here and there
        if has_gap(name, file, size, first, last, packets=tally.count, every=not regular):
            return "The file is damaged: its container has a gap, in which frames may be missing"
    return None


def _is_regular(frames: Frames) -> bool:
    """Whether frames follow one another at about the same distance, so that none is missing between them."""
    steps = np.diff(frames.pts)
    longest = max(frames.tally.longest_step, int(steps.max())) if len(steps) else 0
    return not len(steps) or (not frames.jumps and 2 * longest < 3 * int(steps.min()))


def _lacks_chunks(path: Path, declared: int, tally: Tally) -> bool:
    """Whether an AVI file lacks frames, and it claims to be longer or has some that were not read."""
    size, last = path.stat().st_size, tally.last
    # In AVI a packet's dts is the number of its slot; some slots may be empty.
    slots, position = (0, 0) if last is None else ((last.dts or 0) + 1, last.pos or 0)
    if slots >= (declared or NEVER):
        return False
    # Sound may be longer than the video, and a wrong rate makes a wrong count.
    unread = size - position - AVI_INDEX_BYTES * (declared + 64) > size // 8
    if claims_more(path) or tally.first_position is None:
        return unread or claims_more(path)
    with path.open("rb", buffering=0) as file:  # a few bytes here and there
        try:
            return unread and avi_pictures(file, size, tally.first_position) > tally.count
        except GapError:
            return False  # `has_gap` looks at it


def _is_suspect(size: int, tally: Tally) -> bool:
    """Whether a transport stream may lack packets: a cheap test, before `transport_fault` reads all of it."""
    first, last = tally.first_position or 0, 0 if tally.last is None else tally.last.pos or 0
    steps = [last - first, size - first]
    return tally.broken or not any(all(step % stride == 0 for step in steps) for stride in STRIDES)


def _reaches_its_end(stream: VideoStream, frames: Frames) -> bool:
    """Whether the last frame ends at the duration that the file claims."""
    claimed = cast("InputContainer", stream.container).duration
    if claimed is None or stream.time_base is None or not len(frames.pts):
        return False
    end = (int(frames.pts[-1]) + frames.last_duration) * stream.time_base
    return bool(float(end) >= claimed / av.time_base - 0.5 / float(codec_rate(stream)))
