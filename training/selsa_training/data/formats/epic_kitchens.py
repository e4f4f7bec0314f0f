"""EPIC-KITCHENS-55 object labels.

    ROOT/EPIC_train_object_labels.csv     columns noun_class, noun, participant_id, video_id, frame,
                                          bounding_boxes: a list of (top, left, height, width) in pixels
    ROOT/EPIC_noun_classes.csv            optional: noun_id, class_key, ... gives the classes their names
    ROOT/object_detection_images/train/P01/P01_01/0000000001.jpg

The labels may also be in ROOT/annotations. Each row is one noun in one frame. About two frames per second are
labelled, and these frames are the video. The labels do not connect the boxes of different frames, so tracks
are unknown and motion cannot be scored. The official test labels are not public. So `val` is a share of the
training videos, chosen by a hash of the video's name; the choice does not depend on the other files.
"""

import ast
import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from selsa_training.data.building import DataSetBuilder, FoundObject
from selsa_training.data.errors import ImageError
from selsa_training.data.images import image_size
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import DataSet

LABELS_FILE: Final = "EPIC_train_object_labels.csv"
NOUNS_FILE: Final = "EPIC_noun_classes.csv"
COLUMNS: Final = ("noun_class", "noun", "participant_id", "video_id", "frame", "bounding_boxes")
IMAGE_FOLDERS: Final = ("object_detection_images/train", "object_detection_images/rgb/train", "")
# Folder names of the data set's archives, of its frame extraction, and of common repacks.
IMAGE_NAMES: Final = ("{:010d}.jpg", "frame_{:010d}.jpg", "frame{:010d}.jpg")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    noun_class: int
    noun: str
    participant: str
    video: str
    frame: int
    boxes: tuple[Box, ...]


def is_held_out(video: str, share: float) -> bool:
    """Whether a video belongs to `val`, where that is to have `share` (0 to 1) of all videos."""
    return int.from_bytes(hashlib.sha256(video.encode()).digest()[:8]) < share * 2**64


def read_epic_kitchens(
    root: Path, split: Literal["train", "val"], log: IssueLog, *, held_out: float = 0.1
) -> DataSet:
    """Read a split. Classes are the nouns of the whole file, so both splits have the same.

    Args:
        root: the folder that holds the labels and the images.
        split: `val` has the held-out videos, `train` the others.
        held_out: share of the videos that are held out.
    """
    path = _beside(root, LABELS_FILE)
    rows = list(_rows(path, log))
    named = dict(sorted({row.noun_class: row.noun for row in reversed(rows)}.items()))
    named |= {noun: name for noun, name in _noun_names(root).items() if noun in named}
    builder = DataSetBuilder(_unique(named), log)
    labels = {noun: label for label, noun in enumerate(named)}
    videos: dict[tuple[str, str], dict[int, list[_Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if is_held_out(row.video, held_out) == (split == "val"):
            videos[row.participant, row.video][row.frame].append(row)
    for (participant, video), frames in sorted(videos.items()):
        _read_video(builder, root, path, (participant, video), frames, labels)
    return builder.build(path, split)


def _read_video(
    builder: DataSetBuilder,
    root: Path,
    source: Path,
    name: tuple[str, str],
    frames: dict[int, list[_Row]],
    labels: dict[int, int],
) -> None:
    first = min(frames)
    line = frames[first][0].line
    folders = [root / place / name[0] / name[1] for place in IMAGE_FOLDERS]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        builder.log.add("missing_video", source, line, f"{folders[0]} is not there")
        return
    patterns = [text for text in IMAGE_NAMES if (folder / text.format(first)).is_file()]
    pattern = patterns[0] if patterns else IMAGE_NAMES[0]
    size: tuple[int, int] | None = None
    builder.start_video(name[1], folder)
    for frame, rows in sorted(frames.items()):
        image = folder / pattern.format(frame)
        if not image.is_file():
            builder.log.add("missing_image", source, rows[0].line, f"{image} is not there")
            continue
        try:
            # All frames of a video have the same size, so the first header suffices.
            size = size or image_size(image)
        except ImageError as error:
            builder.log.add("unreadable_image", source, rows[0].line, str(error))
            continue
        builder.add_frame(image.name, size)
        for row in rows:
            for box in row.boxes:
                builder.add_object(FoundObject(label=labels[row.noun_class], box=box), source, row.line)


def _rows(path: Path, log: IssueLog) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                log.add("broken_file", path, 1, f"has no column {', '.join(missing)}")
                return
            for values in reader:
                row = _row(values, reader.line_num)
                if row is None:
                    found = ", ".join(str(values[name])[:60] for name in COLUMNS)
                    log.add("bad_record", path, reader.line_num, f"cannot be understood: {found}")
                else:
                    yield row
    except FileNotFoundError:
        log.add("missing_file", path, None, "the object labels")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        log.add("broken_file", path, None, f"cannot be read: {error}")


def _row(values: dict[str, str], line: int) -> _Row | None:
    participant, video = values["participant_id"], values["video_id"]
    if not all(name and name.replace("_", "").isalnum() for name in (participant, video)):
        return None
    try:
        noun, frame = int(values["noun_class"]), int(values["frame"])
        listed = ast.literal_eval(values["bounding_boxes"])
        boxes = tuple(_corners(*map(float, box)) for box in listed)
    except (ValueError, TypeError, SyntaxError, OverflowError, MemoryError, RecursionError):
        return None
    if frame < 0:
        return None
    return _Row(line, noun, values["noun"], participant, video, frame, boxes)


def _corners(top: float, left: float, height: float, width: float) -> Box:
    return left, top, left + width, top + height


def _noun_names(root: Path) -> dict[int, str]:
    path = _beside(root, NOUNS_FILE)
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ((row.get("noun_id") or "", row.get("class_key") or "") for row in rows)
    return {int(number): name for number, name in numbers if number.isdecimal() and name}


def _unique(named: dict[int, str]) -> tuple[str, ...]:
    names = list(named.values())
    return tuple(name if names.count(name) == 1 else f"{name}_{noun}" for noun, name in named.items())


def _beside(root: Path, name: str) -> Path:
    inner = root / "annotations" / name
    return inner if inner.is_file() else root / name
