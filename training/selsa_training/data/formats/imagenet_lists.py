"""The lists of the videos, frames and images of a split.

`VID_train_15frames.txt` and `VID_val_videos.txt` come from FGFA's authors and are what every published
ImageNet VID result uses; `DET_train_30classes.txt` too. The official `ImageSets/VID/val.txt`, a line per
frame, is read where they are missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from selsa_training.data.issues import IssueLog

# Folders of the lists: the official one, MEGA's, and mmtracking's.
PLACES: Final = ("ImageSets/VID", "ImageSets", "Lists", "ImageSets/DET")
MAX_FRAMES: Final = 1_000_000


@dataclass(slots=True)
class ListedVideo:
    """A video that a list names.

    Attributes:
        folder: below `Data/VID` and `Annotations/VID`, such as `val/ILSVRC2015_val_00000000`.
        frame_count: frames in all; they are `000000` to `frame_count - 1`.
        line: first line that names it.
        keys: frames named for training; None: all.
    """

    folder: str
    frame_count: int
    line: int
    keys: set[int] | None = None


def find_list(root: Path, *names: str) -> Path | None:
    """The first of these lists that exists."""
    paths = (root / place / name for name in names for place in PLACES)
    return next((path for path in paths if path.is_file()), None)


def read_video_list(path: Path, log: IssueLog, *, training: bool) -> dict[str, ListedVideo]:
    """Read lines of `folder 1 INDEX LENGTH`.

    Args:
        log: receives malformed lines, and keys outside their video.
        training: a folder occurs on several lines, and each INDEX names a key frame, counted from 1:
            mmtracking's converter takes one off (`parse_train_list` in imagenet2coco_vid.py of its
            tools/convert_datasets), so that INDEX 10 is `000009.JPEG`. Loaders in FGFA's line, such as
            MEGA's, read `000010.JPEG`; the published SELSA was trained with mmtracking's. On validation
            lists INDEX is always 0 and names nothing.
    """
    videos: dict[str, ListedVideo] = {}
    for number, parts in _lines(path, log):
        values = _whole_numbers(parts[1:])
        if len(parts) != 4 or values is None or not 0 < values[2] <= MAX_FRAMES:
            log.add("bad_record", path, number, f"{' '.join(parts)[:120]!r} is not 'folder 1 index length'")
            continue
        key, length = values[1] - 1, values[2]
        new = ListedVideo(parts[0], length, number, set() if training else None)
        video = videos.setdefault(parts[0], new)
        if video.frame_count != length:
            log.add(
                "bad_record", path, number, f"{length} frames, but {video.frame_count} on line {video.line}"
            )
        elif video.keys is None:
            if video is not new:
                log.add("repeated_entry", path, number, f"{parts[0]} was on line {video.line} already")
        elif not 0 <= key < length:
            log.add("bad_record", path, number, f"index {values[1]} of a video with {length} frames")
        else:
            video.keys.add(key)
    return videos


def read_frame_list(path: Path, log: IssueLog, prefix: str) -> dict[str, ListedVideo]:
    """Read an official list, lines of `folder/FRAME NUMBER`; the last frame says how many there are."""
    videos: dict[str, ListedVideo] = {}
    for number, parts in _lines(path, log):
        folder, _, frame = parts[0].rpartition("/")
        if not folder or not frame.isdecimal() or int(frame) >= MAX_FRAMES:
            log.add("bad_record", path, number, f"{parts[0][:120]!r} is not 'folder/frame'")
            continue
        video = videos.setdefault(folder, ListedVideo(f"{prefix}/{folder}", 0, number))
        video.frame_count = max(video.frame_count, int(frame) + 1)
    return videos


def read_image_list(path: Path, log: IssueLog) -> list[tuple[int, str]]:
    """Read a list of images, the first word of each line: (line, name without extension).

    An image that is listed twice is trained on twice per epoch, as published.
    """
    return [(number, parts[0]) for number, parts in _lines(path, log)]


def _lines(path: Path, log: IssueLog) -> Iterator[tuple[int, list[str]]]:
    """Numbers and words of the lines that have any."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        log.add("broken_file", path, None, f"cannot be read as text: {error}")
        return
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        # A list is untrusted input: no name may lead out of the data set.
        if parts and (".." in parts[0].split("/") or parts[0].startswith("/")):
            log.add("bad_record", path, number, f"{parts[0][:120]!r} leads out of the data set")
        elif parts:
            yield number, parts


def _whole_numbers(parts: list[str]) -> list[int] | None:
    if all(part.isdecimal() and len(part) < 10 for part in parts):
        return [int(part) for part in parts]
    return None
