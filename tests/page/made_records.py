"""Answers of `POST /detect` that a test makes: any boxes of any classes."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from playwright.sync_api import Page

__all__ = ["answer_with", "detection"]

Detections = Sequence[dict[str, Any]]


def detection(
    box: tuple[float, float, float, float], class_id: int = 0, score: float = 0.9
) -> dict[str, Any]:
    names = ("x1", "y1", "x2", "y2")
    return {
        "box": dict(zip(names, box, strict=True)),
        "score": score,
        "class_id": class_id,
        "class_name": f"class {class_id}",
    }


def answer_with(
    page: Page,
    detections: Callable[[int], Detections],
    *,
    frames: int,
    size: tuple[int, int],
    filled: Sequence[int] = (),
    **video: object,
) -> None:
    """Answer every `POST /detect` with records of a video of 25 frames per second.

    Args:
        page: the page that asks.
        detections: those of each frame.
        frames: number of frames.
        size: width and height in pixels.
        filled: frames that were not detected on.
        video: more fields of the video record.
    """
    first = {
        "type": "video",
        "width": size[0],
        "height": size[1],
        "frame_count": frames,
        "duration": frames / 25,
        "average_rate": "25/1",
        "codec": "h264",
        **video,
    }
    records: list[dict[str, Any]] = [first]
    for index in range(frames):
        found = sorted(detections(index), key=lambda each: -each["score"])
        frame = {"type": "frame", "index": index, "pts": index, "time": index / 25, "detections": found}
        records.append({**frame, "filled": True} if index in filled else frame)
    records.append({"type": "summary", "complete": True, "corrupt": 0, "emitted": frames, "seconds": 1.0})
    body = "".join(f"{json.dumps(record)}\n" for record in records)
    page.route("**/detect?*", lambda route: route.fulfill(body=body, content_type="application/x-ndjson"))
