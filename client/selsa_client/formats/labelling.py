"""`cvat` and `label-studio`: files that labelling tools import, so that people correct detections.

Both are written at the end: memory holds all detections. See `thinned_tracks` for which frames are written.
"""

import math
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Final

from selsa_client.formats.encoder import Encode, to_json
from selsa_client.formats.thinned_tracks import Place, Track, Tracks
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import SummaryRecord

# Characters that XML 1.0 cannot hold.
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_cvat(source: str) -> Encode:
    """`cvat`: "CVAT for video 1.1" of a video that is called `source` there.

    Frames are the source's, from 0; coordinates have two decimals. An object ends with a box of outside="1".
    CVAT has no scores.
    """
    tracks = Tracks()

    def encode(record: StreamRecord) -> Iterable[bytes]:
        tracks.add(record)
        if isinstance(record, SummaryRecord):
            yield from _cvat(tracks, source)

    return encode


def as_label_studio(source: str) -> Encode:
    """`label-studio`: a video task with its detections as predictions, for `<VideoRectangle name="box">`.

    Frames count from 1; coordinates are percent of the frame with four decimals.
    """
    tracks = Tracks()

    def encode(record: StreamRecord) -> Iterable[bytes]:
        tracks.add(record)
        if isinstance(record, SummaryRecord):
            yield b"[" + to_json(_studio_task(tracks, source)) + b"]\n"

    return encode


def _cvat(tracks: Tracks, source: str) -> Iterator[bytes]:
    video = tracks.video
    names = video.model.classes if video else ()
    labels = "".join(
        f"<label><name>{_text(name)}</name><type>rectangle</type><attributes></attributes></label>"
        for name in names
    )
    first, last = (tracks.frames[0], tracks.frames[-1]) if tracks.frames else (0, 0)
    size = (video.width, video.height) if video else (0, 0)
    step = f"step={tracks.step}" if tracks.step > 1 else ""
    yield (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta>\n<task>\n'
        f"<id>1</id><name>{_text(source)}</name><size>{len(tracks.frames)}</size><mode>interpolation</mode>\n"
        f"<start_frame>{first}</start_frame><stop_frame>{last}</stop_frame>"
        f"<frame_filter>{step}</frame_filter>\n"
        f"<labels>{labels}</labels>\n"
        f"<original_size><width>{size[0]}</width><height>{size[1]}</height></original_size>\n"
        f"<source>{_text(source)}</source>\n</task>\n</meta>\n"
    ).encode()
    for number, track in enumerate(tracks.found.values()):
        yield f'<track id="{number}" label={_attribute(track.class_name)} source="auto">\n'.encode()
        for run in track.runs(tracks.step):
            for place in run:
                yield _cvat_box(place)
            end = run[-1][0] + tracks.step
            if end < tracks.frame_count:
                yield _cvat_box((end, run[-1][1]), outside=1)
        yield b"</track>\n"
    yield b"</annotations>\n"


def _cvat_box(place: Place, *, outside: int = 0) -> bytes:
    frame, box = place
    corners = {"xtl": box.x1, "ytl": box.y1, "xbr": box.x2, "ybr": box.y2}
    if not all(map(math.isfinite, corners.values())):
        raise ValueError(f"frame {frame} has a box that is not finite")
    written = " ".join(f'{name}="{value:.2f}"' for name, value in corners.items())
    return (
        f'<box frame="{frame}" keyframe="1" outside="{outside}" occluded="0" {written} z_order="0"></box>\n'
    ).encode()


def _studio_task(tracks: Tracks, source: str) -> dict[str, Any]:
    video = tracks.video
    assert video is not None, "the video record is the first"
    rate = float(Fraction(video.average_rate)) if video.average_rate else None
    results = [
        {
            "id": f"selsa{number}",
            "type": "videorectangle",
            "from_name": "box",
            "to_name": "video",
            "score": round(track.score, 6),
            "value": {
                "framesCount": tracks.frame_count,
                "duration": video.duration,
                "sequence": list(_studio_sequence(track, tracks, (video.width, video.height))),
                "labels": [track.class_name],
            },
        }
        for number, track in enumerate(tracks.found.values())
    ]
    return {
        "data": {"video": source, "fps": rate},
        "predictions": [{"model_version": video.model.name, "result": results}],
    }


def _studio_sequence(track: Track, tracks: Tracks, size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    for run in track.runs(tracks.step):
        for frame, box in run:
            x, y = box.x1 / size[0] * 100, box.y1 / size[1] * 100
            width, height = (box.x2 - box.x1) / size[0] * 100, (box.y2 - box.y1) / size[1] * 100
            percent = {"x": x, "y": y, "width": width, "height": height}
            yield {
                "frame": frame + 1,
                "enabled": frame != run[-1][0],
                "rotation": 0,
                **{name: round(value, 4) for name, value in percent.items()},
                "time": round(tracks.times.get(frame, 0.0), 6),
            }


def _text(text: str) -> str:
    # Imported here: it imports modules for HTTP, which every start of `selsa detect` would wait for.
    from xml.sax.saxutils import escape

    return escape(_NOT_XML.sub("\ufffd", text))


def _attribute(text: str) -> str:
    from xml.sax.saxutils import quoteattr

    return quoteattr(_NOT_XML.sub("\ufffd", text))
