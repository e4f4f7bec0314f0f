"""Whether frames of a video file are missing, as one sentence."""

from pathlib import Path
from typing import Final, cast

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from selsa_bundle.video.delivery import codec_rate
from selsa_bundle.video.extent import claims_more, matroska_extent
from selsa_bundle.video.frames import Frames
from selsa_bundle.video.mp4 import Mp4Claims
from selsa_bundle.video.packets import Tally
from selsa_bundle.video.transport import STRIDES, transport_fault

NEVER: Final = 1 << 62
AVI_INDEX_BYTES: Final = 48  # for a frame and the sound beside it


def declared_frames(container: InputContainer, stream: VideoStream) -> int:
    """How many frames the container says that the stream has; 0 if it does not say."""
    # An edit list drops samples from the index, never from the count in the header.
    if "mp4" in container.format.name:
        return len(stream.index_entries)
    return stream.frames


def damage_of(path: Path, claims: Mp4Claims, stream: VideoStream, frames: Frames) -> str | None:
    """A sentence that says what is missing, or None. The header's claim counts only if nothing refutes it."""
    container = cast("InputContainer", stream.container)
    name, declared, tally = container.format.name, declared_frames(container, stream), frames.tally
    if name == "mpegts":
        fault = transport_fault(path, stream.id) if _is_suspect(path, tally) else None
        return None if fault is None else f"The transport stream is cut off or damaged: {fault}"
    if tally.broken:
        return "The file is cut off or damaged: a packet is incomplete"
    if "mp4" in name:
        if claims.cut:
            return "The file is cut off: the head of its last fragment is incomplete"
        missing = declared - tally.count
        if missing > 0 and missing > sum(not entry.size for entry in stream.index_entries):
            return f"The file is cut off: its index lists {declared} frames, it holds {tally.count}"
    elif "matroska" in name:
        with path.open("rb", buffering=0) as file:  # a few bytes here and there
            extent = matroska_extent(file, path.stat().st_size)
        if extent.cut or (extent.claims_more and not _reaches_its_end(stream, frames)):
            return "The file is cut off: its container says that it goes on"
    elif name == "avi" and _lacks_chunks(path, declared, tally):
        return f"The file is cut off or damaged: its container lists {declared} frames, it holds fewer"
    return None


def _lacks_chunks(path: Path, declared: int, tally: Tally) -> bool:
    """Whether an AVI file lacks frames, and it claims to be longer or much of it was not read."""
    size, last = path.stat().st_size, tally.last
    # In AVI a packet's dts is the number of its slot; some slots may be empty.
    slots, position = (0, 0) if last is None else ((last.dts or 0) + 1, last.pos or 0)
    unread = size - position - AVI_INDEX_BYTES * (declared + 64)
    return slots < (declared or NEVER) and (claims_more(path) or unread > size // 8)


def _is_suspect(path: Path, tally: Tally) -> bool:
    """Whether a transport stream may lack packets: a cheap test, before `transport_fault` reads all of it."""
    first, last = tally.first_position or 0, 0 if tally.last is None else tally.last.pos or 0
    steps = [last - first, path.stat().st_size - first]
    return tally.broken or not any(all(step % stride == 0 for step in steps) for stride in STRIDES)


def _reaches_its_end(stream: VideoStream, frames: Frames) -> bool:
    """Whether the last frame ends at the duration that the file claims."""
    claimed = cast("InputContainer", stream.container).duration
    if claimed is None or stream.time_base is None or not len(frames.pts):
        return False
    end = (int(frames.pts[-1]) + frames.last_duration) * stream.time_base
    return bool(float(end) >= claimed / av.time_base - 0.5 / float(codec_rate(stream)))
