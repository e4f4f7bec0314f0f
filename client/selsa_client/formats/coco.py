"""`coco`: a list of results that `pycocotools` loads with `loadRes`, on a CocoVID data set of the video.

Ids count from 1, as in CocoVID files: `image_id` is the frame's index + 1, `category_id` the class's + 1.
`frame_id` is CocoVID's own count of frames, from 0.
"""

from collections.abc import Iterable

from selsa_client.formats.encoder import Encode, corner_and_size, to_json
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import Detection, FrameRecord, SummaryRecord, VideoRecord

# A file is of one video.
VIDEO_ID = 1


def as_coco() -> Encode:
    """One JSON array; made as the frames come."""
    separator = b"\n"

    def encode(record: StreamRecord) -> Iterable[bytes]:
        nonlocal separator
        match record:
            case VideoRecord():
                yield b"["
            case FrameRecord():
                for each in record.detections:
                    yield separator + to_json(_result(record.index, each))
                    separator = b",\n"
            case SummaryRecord():
                yield b"\n]\n"

    return encode


def _result(index: int, found: Detection) -> dict[str, object]:
    return {
        "image_id": index + 1,
        "video_id": VIDEO_ID,
        "frame_id": index,
        "category_id": found.class_id + 1,
        "bbox": corner_and_size(found.box),
        "score": found.score,
    }
