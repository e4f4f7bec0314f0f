"""`youtube-vis`: a document in the form of YouTube-VIS annotations, with boxes and scores, without masks.

An annotation is an object through the whole video: one box or null per frame. So detections are linked: a
detection continues the object of its class whose box in the previous frame overlaps it most, with an IoU of
at least 0.5; detections with the best scores choose first.

The file is written at the end: memory holds all detections, and the file grows with objects times frames.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final

from selsa_client.formats.encoder import VIDEO_ID, Encode, corner_and_size, to_json
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import Box, Detection, FrameRecord, SummaryRecord, VideoRecord

LEAST_OVERLAP: Final = 0.5


@dataclass(slots=True)
class _Object:
    """One object: its detections by position among the frames."""

    class_id: int
    found: dict[int, Detection] = field(default_factory=dict)


class _Links:
    """Links detections of consecutive frames to objects."""

    def __init__(self) -> None:
        self.objects: list[_Object] = []
        self._last: list[_Object] = []  # objects of the previous frame

    def add(self, position: int, detections: Iterable[Detection]) -> None:
        left, now = self._last, []
        for each in sorted(detections, key=lambda found: -found.score):
            linked = _best(left, position - 1, each)
            if linked is None:
                linked = _Object(each.class_id)
                self.objects.append(linked)
            else:
                left = [other for other in left if other is not linked]
            linked.found[position] = each
            now.append(linked)
        self._last = now


def as_youtube_vis() -> Encode:
    """`{"info", "videos", "categories", "annotations"}`; `length` counts the frames with a record."""
    links = _Links()
    frames: list[int] = []
    video: VideoRecord | None = None

    def encode(record: StreamRecord) -> Iterable[bytes]:
        nonlocal video
        match record:
            case VideoRecord():
                video = record
            case FrameRecord():
                links.add(len(frames), record.detections)
                frames.append(record.index)
            case SummaryRecord():
                if video is not None:
                    yield from _document(video, frames, links.objects)

    return encode


def _document(video: VideoRecord, frames: list[int], objects: list[_Object]) -> Iterator[bytes]:
    info = {"description": f"boxes by {video.model.name}, linked by overlap", "bundle": video.model.bundle}
    described = {
        "id": VIDEO_ID,
        "width": video.width,
        "height": video.height,
        "length": len(frames),
        "frame_ids": frames,
    }
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(video.model.classes)]
    yield b'{"info":' + to_json(info)
    yield b',\n"videos":' + to_json([described])
    yield b',\n"categories":' + to_json(categories)
    yield b',\n"annotations":['
    for number, each in enumerate(objects):
        yield b",\n" if number else b"\n"
        yield to_json(_annotation(number + 1, each, video, len(frames)))
    yield b"\n]}\n"


def _annotation(number: int, each: _Object, video: VideoRecord, length: int) -> dict[str, object]:
    found = [each.found.get(position) for position in range(length)]
    boxes = [None if one is None else corner_and_size(one.box) for one in found]
    return {
        "id": number,
        "video_id": VIDEO_ID,
        "category_id": each.class_id + 1,
        "score": round(fmean(one.score for one in each.found.values()), 6),
        "bboxes": boxes,
        "scores": [None if one is None else one.score for one in found],
        "areas": [None if box is None else round(box[2] * box[3], 3) for box in boxes],
        "iscrowd": 0,
        "width": video.width,
        "height": video.height,
    }


def _best(objects: Iterable[_Object], position: int, found: Detection) -> _Object | None:
    overlaps = [
        (_overlap(each.found[position].box, found.box), each)
        for each in objects
        if each.class_id == found.class_id
    ]
    overlap, best = max(overlaps, key=lambda pair: pair[0], default=(0.0, None))
    return best if overlap >= LEAST_OVERLAP else None


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    areas = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1)
    return both / (areas - both)
