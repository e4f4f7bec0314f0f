"""Label Studio's JSON of video tasks (`<VideoRectangle>`), as its editor shows them.

    [{"data": {"video": "/data/upload/1/0a1b2c3d-clip.mp4"},
      "annotations": [{"result": [{"id": "r1", "type": "videorectangle", "value": {
          "framesCount": 100, "duration": 4.0, "labels": ["car"], "sequence": [
            {"frame": 1, "x": 10, "y": 20, "width": 5, "height": 5, "rotation": 0, "enabled": true}]}}]}]}]

x, y, width and height are percent of the frame as displayed; frames count from 1. Between two entries of a
sequence every number changes linearly. `enabled` says that the object is seen up to the next entry, or to
the end; an entry itself is seen either way. Rotation is about the upper left corner.

Label Studio counts frames at the rate of its `<Video frameRate>` (25 by default), not at the video's rate.
Where `framesCount` shows that this was another rate, frames are scaled to the video's own.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from selsa_training.data.formats.json_lines import element_lines
from selsa_training.data.formats.labelled import (
    MAX_FRAME,
    MAX_PIXELS,
    VIDEO_SUFFIXES,
    Keyframe,
    LabelledTrack,
    LabelledVideo,
    Labels,
    Media,
    find_video,
    open_media,
)
from selsa_training.data.issues import IssueLog

MAX_BYTES: Final = 256 << 20
# Label Studio puts eight hexadecimal digits before the name of an uploaded file.
UPLOADED: Final = re.compile(r"^[0-9a-f]{8}-(?=.)")
# Its count of frames comes from a duration in a browser; more than this is another rate.
RATE_TOLERANCE: Final = 0.02


class _WrongError(Exception):
    """A record holds a value that is not allowed."""


def is_label_studio(path: Path) -> bool:
    """Whether a JSON file is a list, as Label Studio's exports are; CocoVID's is an object."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    except OSError:
        return False


def read_label_studio(path: Path, folders: Sequence[Path], labels: Labels, log: IssueLog) -> None:
    """Add the videos of one file to `labels`; what is wrong goes to the log with its line.

    Args:
        folders: where the videos may be.
        labels: takes the videos.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
        text = path.read_text(encoding="utf-8-sig")
        tasks = json.loads(text)
    except json.JSONDecodeError as error:
        log.add("broken_file", path, error.lineno, f"not JSON: {error.msg}")
        return
    except (OSError, ValueError, RecursionError) as error:
        log.add("broken_file", path, None, f"cannot be read: {error}")
        return
    if not isinstance(tasks, list):
        log.add("broken_file", path, 1, "is no list of tasks; export it from Label Studio as JSON")
        return
    lines = element_lines(text)
    for place, task in enumerate(tasks):
        line = lines[place] if place < len(lines) else None
        try:
            _add_task(task, path, folders, labels, log, line)
        except _WrongError as error:
            log.add("bad_record", path, line, f"task {place}: {error}"[:300])


def _add_task(
    task: Any, path: Path, folders: Sequence[Path], labels: Labels, log: IssueLog, line: int | None
) -> None:
    if not isinstance(task, dict):
        raise _WrongError(f"is a {type(task).__name__}, not an object")
    name = _video_name(task)
    found = find_video(name, folders)
    if not found.is_file():
        found = find_video(UPLOADED.sub("", name), folders)
    media = open_media(found, log, path, line)
    if media is None:
        return
    if any(video.name == found.stem for video in labels.videos):
        log.add("duplicate_id", path, line, f"video {found.name!r} is labelled twice")
        return
    tracks = [
        _track(region, number, media, path, log, line)
        for number, region in enumerate(_regions(task, path, log, line))
    ]
    frames = range(len(media.names))
    labels.videos.append(
        LabelledVideo(found.stem, path, media, frames, tracks, pivot="corner", shortest_turn=False)
    )


def _video_name(task: dict[str, Any]) -> str:
    """The last part of the video's address: a path, a URL, or `/data/local-files/?d=PATH`."""
    data = task.get("data", task)
    texts = [data.get("video"), *data.values()] if isinstance(data, dict) else []
    for text in texts:
        if not isinstance(text, str) or len(text) > 4096:
            continue
        try:
            parts = urlsplit(text)
        except ValueError:
            continue
        place = parse_qs(parts.query).get("d", [parts.path])[0]
        name = PurePosixPath(unquote(place)).name
        if PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES or text == data.get("video"):
            return name
    raise _WrongError("data names no video")


def _regions(task: dict[str, Any], path: Path, log: IssueLog, line: int | None) -> Iterator[dict[str, Any]]:
    """The `value` of each rectangle of the annotation that counts, with its labels."""
    if "data" not in task:
        # The short form, JSON-MIN: the values themselves, in a field of the labelling configuration's name.
        for values in task.values():
            if isinstance(values, list):
                yield from (each for each in values if isinstance(each, dict) and "sequence" in each)
        return
    done = _list(task, "annotations" if "annotations" in task else "predictions")
    done = [each for each in done if isinstance(each, dict) and not each.get("was_cancelled")]
    if len(done) > 1:
        log.add("repeated_entry", path, line, f"{len(done)} annotations of one video; the last one counts")
    chosen = next((each for each in done if each.get("ground_truth")), done[-1] if done else {})
    results = [each for each in _list(chosen, "result") if isinstance(each, dict)]
    # A class may stand in a result of its own, with the id of the rectangle.
    classes = {
        each.get("id"): value["labels"]
        for each in results
        if isinstance(value := each.get("value"), dict) and "labels" in value
    }
    for each in results:
        value = each.get("value")
        if str(each.get("type", "")).lower() in ("videorectangle", "videobox") and isinstance(value, dict):
            yield {"labels": classes.get(each.get("id"))} | value


def _track(
    value: dict[str, Any], number: int, media: Media, path: Path, log: IssueLog, line: int | None
) -> LabelledTrack:
    names = value.get("labels") or value.get("videorectangle") or value.get("rectanglelabels")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise _WrongError(f"region {number} has no label")
    count = value.get("framesCount")
    rate = 1.0
    if (
        isinstance(count, int)
        and 0 < count < MAX_FRAME
        and abs(count / len(media.names) - 1) > RATE_TOLERANCE
    ):
        rate = len(media.names) / count
        detail = f"counts {count} frames, the video has {len(media.names)}; frames are scaled"
        log.add("other_frame_rate", path, line, f"region {number} {detail}")
    track = LabelledTrack(names[0], number)
    stated: dict[int, int] = {}
    for place, entry in enumerate(_list(value, "sequence")):
        try:
            keyframe = _keyframe(entry, media, rate, line)
        except _WrongError as error:
            raise _WrongError(f"region {number}, entry {place}: {error}") from error
        # Frames that scaling puts together are no contradiction; the first one counts.
        if stated.setdefault(keyframe.frame, entry["frame"]) == entry["frame"]:
            track.keyframes.append(keyframe)
    return track


def _keyframe(entry: Any, media: Media, rate: float, line: int | None) -> Keyframe:
    if not isinstance(entry, dict):
        raise _WrongError(f"is a {type(entry).__name__}, not an object")
    frame = entry.get("frame")
    if not isinstance(frame, int) or isinstance(frame, bool) or not 1 <= frame < MAX_FRAME:
        raise _WrongError(f"frame {frame!r} is no whole number from 1")
    height, width = media.size
    x, y, wide, high = (_number(entry, name) / 100 for name in ("x", "y", "width", "height"))
    place = round((frame - 1) * rate)
    if place <= len(media.names) + 1:
        # The browser's count may end a frame or two after the video.
        place = min(place, len(media.names) - 1)
    return Keyframe(
        frame=place,
        box=(x * width, y * height, wide * width, high * height),
        rotation=_number(entry, "rotation", 0.0),
        continues=entry.get("enabled", True) is not False,
        line=line,
    )


def _number(entry: dict[str, Any], name: str, default: float | None = None) -> float:
    value = entry.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < MAX_PIXELS:
        raise _WrongError(f"{name} {value!r} is no number")
    return float(value)


def _list(values: dict[str, Any], name: str) -> list[Any]:
    found = values.get(name) or []
    if not isinstance(found, list):
        raise _WrongError(f"{name} is a {type(found).__name__}, not a list")
    return found
