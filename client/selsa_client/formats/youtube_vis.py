"""`youtube-vis`: a document in the form of YouTube-VIS annotations, with boxes and scores, without masks.

An annotation is an object through the whole video: one box or null per frame. A detection without a track
has no annotation.

The file is written at the end: memory holds all detections, and the file grows with objects times frames.
"""

from collections.abc import Iterable, Iterator, Mapping
from statistics import fmean

from selsa_client.formats.encoder import VIDEO_ID, Encode, check_tracked, corner_and_size, to_json
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import Detection, FrameRecord, SummaryRecord, VideoRecord

# The detections of each object, by position among the frames.
_Objects = dict[int, dict[int, Detection]]


def as_youtube_vis() -> Encode:
    """`{"info", "videos", "categories", "annotations"}`; `length` counts the frames with a record."""
    objects: _Objects = {}
    frames: list[int] = []
    video: VideoRecord | None = None

    def encode(record: StreamRecord) -> Iterable[bytes]:
        nonlocal video
        match record:
            case VideoRecord():
                check_tracked(record, "youtube-vis")
                video = record
            case FrameRecord():
                for each in record.detections:
                    if each.track_id is not None:
                        objects.setdefault(each.track_id, {})[len(frames)] = each
                frames.append(record.index)
            case SummaryRecord():
                if video is not None:
                    classes = {each.track_id: each.class_id for each in record.objects or ()}
                    yield from _document(video, frames, objects, classes)

    return encode


def _document(
    video: VideoRecord, frames: list[int], objects: _Objects, classes: Mapping[int, int]
) -> Iterator[bytes]:
    info = {"description": f"boxes by {video.model.name}", "bundle": video.model.bundle}
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
    for place, (number, found) in enumerate(sorted(objects.items())):
        yield b",\n" if place else b"\n"
        class_id = classes.get(number, next(iter(found.values())).class_id)
        yield to_json(_annotation(number, class_id, found, video, len(frames)))
    yield b"\n]}\n"


def _annotation(
    number: int, class_id: int, by_position: Mapping[int, Detection], video: VideoRecord, length: int
) -> dict[str, object]:
    found = [by_position.get(position) for position in range(length)]
    boxes = [None if one is None else corner_and_size(one.box) for one in found]
    return {
        "id": number,
        "video_id": VIDEO_ID,
        "category_id": class_id + 1,
        "score": round(fmean(one.score for one in by_position.values()), 6),
        "bboxes": boxes,
        "scores": [None if one is None else one.score for one in found],
        "areas": [None if box is None else round(box[2] * box[3], 3) for box in boxes],
        "iscrowd": 0,
        "width": video.width,
        "height": video.height,
    }
