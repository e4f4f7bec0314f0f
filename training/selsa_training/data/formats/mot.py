"""MOTChallenge's text: a line per box, frames and pixels counted from 1.

    SEQ/gt/gt.txt       frame, id, left, top, width, height, counts, class, visibility
    SEQ/gt/labels.txt   optional: a class name per line, as CVAT writes it
    SEQ/seqinfo.ini     optional: imDir, seqLength
    SEQ/img1/000001.jpg frames, or a video SEQ.mp4 in SEQ or beside it

A root folder may hold many such SEQ, also below `train` and `val`. A single file FILE.txt with the video
FILE.mp4 beside it is read as well: that is what `selsa detect --format mot` writes. Its lines, and those of
the first MOT benchmark, have ten columns and no class; then all boxes are of one class. A box whose seventh
column is 0 is there but does not count: it is neither learned nor missed.
"""

import configparser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from selsa_training.data.formats.labelled import (
    MAX_FRAME,
    MAX_PIXELS,
    VIDEO_SUFFIXES,
    Keyframe,
    LabelledTrack,
    LabelledVideo,
    Labels,
    is_folder,
    open_media,
)
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import IGNORED, UNKNOWN_TRACK

MAX_LINE: Final = 4096
MAX_SMALL_FILE: Final = 1 << 20
MAX_TRACK: Final = (1 << 31) - 1
# Numbers 1 to 13 of the benchmarks MOT16, MOT17 and MOT20.
BENCHMARK_CLASSES: Final = (
    "pedestrian",
    "person on vehicle",
    "car",
    "bicycle",
    "motorbike",
    "non motorized vehicle",
    "static person",
    "distractor",
    "occluder",
    "occluder on the ground",
    "occluder full",
    "reflection",
    "crowd",
)
ONE_CLASS: Final = "object"
SPLITS: Final[dict[str, Literal["train", "val"]]] = {"train": "train", "val": "val", "test": "val"}


def mot_files(root: Path) -> list[Path]:
    """The ground truth files of a folder: its own, or those of the sequences in it."""
    patterns = ("gt/gt.txt", "*/gt/gt.txt", "*/*/gt/gt.txt")
    return next((found for pattern in patterns if (found := sorted(root.glob(pattern)))), [])


def read_mot(
    path: Path, folders: Sequence[Path], labels: Labels, log: IssueLog, *, only_class: str | None
) -> None:
    """Add the video of one file to `labels`; what is wrong goes to the log with its line.

    Args:
        path: `gt.txt`, or a file with its video beside it.
        folders: where the video may be, if not where the layout says.
        labels: takes the video and class names.
        only_class: the class of boxes without one.
    """
    inside = path.parent.name == "gt"
    sequence = path.parent.parent if inside else path.with_suffix("")
    found = _media_path(sequence, path, folders, log)
    media = None if found is None else open_media(found, log, path)
    if media is None:
        return
    name = sequence.name
    if any(video.name == name for video in labels.videos):
        log.add("duplicate_id", path, None, f"video {name!r} is labelled twice")
        return
    named = _class_names(path.parent / "labels.txt", log) if inside else ()
    names = named or BENCHMARK_CLASSES
    tracks: dict[tuple[str, int], LabelledTrack] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for label, number, keyframe in _rows(file, path, log, names, only_class or ONE_CLASS):
                # Without an id each box is an object of its own.
                place = number if number != UNKNOWN_TRACK else -2 - len(tracks)
                track = tracks.setdefault((label, place), LabelledTrack(label, number))
                track.keyframes.append(keyframe)
    except (OSError, UnicodeDecodeError) as error:
        log.add("broken_file", path, None, f"cannot be read: {error}")
        return
    labels.classes += [each for each in named if each not in labels.classes]
    if inside and (split := SPLITS.get(sequence.parent.name)):
        labels.assigned[name] = split
    frames = range(len(media.names))
    labels.videos.append(LabelledVideo(name, path, media, frames, list(tracks.values())))


def _rows(
    file: Iterator[str], path: Path, log: IssueLog, names: Sequence[str], only_class: str
) -> Iterator[tuple[str, int, Keyframe]]:
    """(class, track, box) of every line."""
    for line, text in enumerate(file, 1):
        if len(text) > MAX_LINE:
            log.add("bad_record", path, line, f"longer than {MAX_LINE} characters")
            return
        if not text.strip():
            continue
        try:
            values = [float(each) for each in text.split(",")]
            yield _row(values, names, only_class, line)
        except (ValueError, OverflowError) as error:
            log.add("bad_record", path, line, f"{text.strip()[:80]!r}: {error}")


def _row(values: list[float], names: Sequence[str], only_class: str, line: int) -> tuple[str, int, Keyframe]:
    if not 6 <= len(values) <= 10:
        raise ValueError(f"has {len(values)} columns, not 6 to 10")
    # Also refuses what is not finite.
    if not all(abs(value) < MAX_PIXELS for value in values[2:6]):
        raise ValueError("left, top, width and height must be pixels")
    frame, number = values[0], values[1]
    if frame != int(frame) or not 1 <= frame < MAX_FRAME:
        raise ValueError("the frame must be a whole number from 1")
    if number != int(number) or not -1 <= number <= MAX_TRACK:
        raise ValueError("the id must be a whole number from -1")
    label = only_class
    if len(values) in (8, 9) and values[7] != -1:
        kind = values[7]
        if kind != int(kind) or not 1 <= kind <= len(names):
            raise ValueError(f"class {kind:g} is none of 1 to {len(names)}")
        label = names[int(kind) - 1]
    left, top, width, height = values[2:6]
    counts = len(values) < 7 or values[6] != 0
    keyframe = Keyframe(
        frame=int(frame) - 1,
        box=(left - 1, top - 1, width, height),
        flags=0 if counts else IGNORED,
        line=line,
    )
    return label, int(number), keyframe


def _media_path(sequence: Path, path: Path, folders: Sequence[Path], log: IssueLog) -> Path | None:
    """The folder of frames, or the video file."""
    images = sequence / (_image_folder(sequence / "seqinfo.ini", log) or "img1")
    if is_folder(images):
        return images
    for folder in (sequence, sequence.parent, *folders):
        for suffix in VIDEO_SUFFIXES:
            if (folder / f"{sequence.name}{suffix}").is_file():
                return folder / f"{sequence.name}{suffix}"
    log.add("missing_video", path, None, f"there is neither {images} nor a video {sequence.name}.mp4")
    return None


def _image_folder(path: Path, log: IssueLog) -> str | None:
    if not path.is_file():
        return None
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if path.stat().st_size > MAX_SMALL_FILE:
            raise ValueError("too large")
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, configparser.Error) as error:
        log.add(
            "broken_file", path, getattr(error, "lineno", None), f"no sequence information: {error}"[:200]
        )
        return None
    name = parser.get("Sequence", "imDir", fallback="img1")
    if Path(name).name != name:
        log.add("bad_record", path, None, f"imDir {name[:80]!r} leads out of the sequence's folder")
        return None
    return name


def _class_names(path: Path, log: IssueLog) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    try:
        if path.stat().st_size > MAX_SMALL_FILE:
            raise ValueError("too large")
        return tuple(
            line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()
        )
    except (OSError, ValueError) as error:
        log.add("broken_file", path, None, f"no list of classes: {error}")
        return ()
