"""YOLO folders, as Ultralytics describes them: `data.yaml`, and a text per image with a line per box.

    ROOT/data.yaml                names: [car, ...]; train: images/train; val: images/val
    ROOT/images/train/x.jpg       or ROOT/train/images/x.jpg
    ROOT/labels/train/x.txt       or ROOT/train/labels/x.txt

A line is `class x y width height`: centre and size as shares of the image. A line of a polygon,
`class x1 y1 x2 y2 ...`, counts as the box around it. An image without a text has no object.

Images of one folder whose names are NAME_NUMBER, NAME-NUMBER or Roboflow's NAME_mp4-NUMBER_jpg.rf.HASH are
the frames of a video NAME; others are stills. There are no tracks.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from selsa_training.data.errors import ImageError
from selsa_training.data.formats.labelled import (
    IMAGE_SUFFIXES,
    Box,
    Keyframe,
    LabelledTrack,
    LabelledVideo,
    Labels,
    Media,
    is_folder,
)
from selsa_training.data.images import image_size
from selsa_training.data.issues import IssueLog

MAX_YAML: Final = 1 << 20
MAX_TEXT: Final = 16 << 20
MAX_CLASSES: Final = 1 << 14
FRAME: Final = re.compile(r"^(?P<video>.*?[^\d_-])[_-]+(?P<number>\d+)$")
ROBOFLOW: Final = re.compile(r"^(?P<video>.+)_(?:mp4|mov|avi|mkv|webm)-(?P<number>\d+)_jpe?g\.rf\.\w+$", re.I)


def yolo_file(root: Path) -> Path | None:
    """The YAML file of a YOLO folder."""
    return next(
        (path for name in ("data.yaml", "dataset.yaml", "data.yml") if (path := root / name).is_file()), None
    )


def read_yolo(path: Path, labels: Labels, log: IssueLog) -> None:
    """Add the images of a data set to `labels`; what is wrong goes to the log with its line.

    Args:
        labels: takes videos, stills, class names, and which of them are `train` and `val`.
    """
    try:
        if path.stat().st_size > MAX_YAML:
            raise ValueError(f"more than {MAX_YAML} bytes")
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or error
        log.add("broken_file", path, mark.line + 1 if mark else None, f"no YAML: {reason}"[:200])
        return
    names = _class_names(content)
    if names is None:
        log.add("broken_file", path, None, "names is neither a list of classes nor a table of them")
        return
    labels.classes += names
    parts: list[Literal["train", "val"]] = ["train", "val"]
    for split in parts:
        for folder in _folders(path, content, split, log):
            _add_folder(folder, path, names, split, labels, log)


def _class_names(content: Any) -> list[str] | None:
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and all(isinstance(key, int) for key in names):
        names = [names.get(place) for place in range(len(names))]
    if not isinstance(names, list) or not 0 < len(names) <= MAX_CLASSES:
        return None
    return [str(name) for name in names] if all(isinstance(name, str | int) for name in names) else None


def _folders(path: Path, content: dict[str, Any], split: str, log: IssueLog) -> Iterator[Path]:
    """The image folders of a split. `path` of the file is not followed out of the file's own folder."""
    stated = content.get(split) or content.get({"val": "valid"}.get(split, split)) or []
    root = path.parent
    inner = content.get("path")
    for text in stated if isinstance(stated, list) else [stated]:
        if not isinstance(text, str):
            log.add("bad_record", path, None, f"{split}: {text!r} is no folder")
            continue
        # Roboflow writes ../train/images for what is in train/images.
        plain = Path(*(part for part in Path(text).parts if part not in ("..", ".", "/")))
        bases = [root / inner] if isinstance(inner, str) and ".." not in Path(inner).parts else []
        places = [base / plain for base in (*bases, root)]
        found = next((place for place in places if is_folder(place)), None)
        if found is None:
            log.add("missing_file", path, None, f"{split}: there is no folder {places[-1]}"[:300])
        else:
            yield found


def _add_folder(
    folder: Path,
    path: Path,
    names: list[str],
    split: Literal["train", "val"],
    labels: Labels,
    log: IssueLog,
) -> None:
    taken = {video.name for video in labels.videos}
    for name, images in sorted(_videos(folder).items()):
        unique = name if name not in taken else f"{split}/{name}"
        try:
            size = image_size(images[0])
        except ImageError as error:
            log.add("unreadable_image", images[0], None, str(error))
            continue
        media = Media(images[0].parent, [image.name for image in images], size)
        tracks = [
            LabelledTrack(names[label], keyframes=[keyframe])
            for frame, image in enumerate(images)
            for label, keyframe in _objects(_text_of(image), frame, size, len(names), log)
        ]
        still = len(images) == 1
        labels.videos.append(LabelledVideo(unique, path, media, range(len(images)), tracks, still=still))
        labels.assigned[unique] = split


def _videos(folder: Path) -> dict[str, list[Path]]:
    """Images by video; an image that is no frame of one stands alone."""
    groups: dict[str, list[tuple[int, Path]]] = {}
    for image in sorted(folder.rglob("*")):
        if image.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        place = image.parent.relative_to(folder)
        match = ROBOFLOW.match(image.stem) or FRAME.match(image.stem)
        name = match["video"] if match else image.name
        number = int(match["number"][:18]) if match else 0
        groups.setdefault(str(place / name), []).append((number, image))
    return {name: [image for _, image in sorted(images)] for name, images in groups.items()}


def _text_of(image: Path) -> Path:
    """The text of an image: the last folder `images` of its path becomes `labels`."""
    parts = list(image.with_suffix(".txt").parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts)


def _objects(
    path: Path, frame: int, size: tuple[int, int], classes: int, log: IssueLog
) -> Iterator[tuple[int, Keyframe]]:
    if not path.is_file():
        return
    try:
        if path.stat().st_size > MAX_TEXT:
            raise ValueError(f"more than {MAX_TEXT >> 20} MiB")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        log.add("broken_file", path, None, f"cannot be read: {error}")
        return
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            label, box = _object(text.split(), size, classes)
        except (ValueError, OverflowError) as error:
            log.add("bad_record", path, line, f"{text.strip()[:80]!r}: {error}")
            continue
        yield label, Keyframe(frame=frame, box=box, line=line, source=path)


def _object(texts: list[str], size: tuple[int, int], classes: int) -> tuple[int, Box]:
    label, *values = (float(each) for each in texts)
    if label != int(label) or not 0 <= label < classes:
        raise ValueError(f"class {label:g} is none of 0 to {classes - 1}")
    # Also refuses what is not finite. A little over 1 is the rounding of other tools.
    if not all(-0.01 <= value <= 1.01 for value in values):
        raise ValueError("positions must be shares from 0 to 1")
    if len(values) == 4:
        x, y, width, height = values
        left, top = x - width / 2, y - height / 2
    elif len(values) >= 6 and len(values) % 2 == 0:
        left, top = min(values[::2]), min(values[1::2])
        width, height = max(values[::2]) - left, max(values[1::2]) - top
    else:
        raise ValueError("is neither `class x y width height` nor a polygon")
    down, right = size
    return int(label), (left * right, top * down, width * right, height * down)
