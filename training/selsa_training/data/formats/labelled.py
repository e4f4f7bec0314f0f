"""What labelling tools write, in one form: videos with tracks of key frames; and that form as a `DataSet`.

A tool's own file has a reader beside this one. The reader says what a key frame means there; what happens
between key frames is the same for all: every number changes linearly with the frame, rotation as the tool
says, and an object that is visible after its last key frame stays until the last frame.
"""

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

from selsa_training.data.building import DataSetBuilder, FoundObject
from selsa_training.data.errors import ImageError
from selsa_training.data.images import image_size
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import UNKNOWN_TRACK, DataSet
from selsa_training.data.video_frames import index_video

Box = tuple[float, float, float, float]

# Of one video over all its frames: 100 in each of 100 000. A short hostile file could ask for more.
MAX_BOXES: Final = 10_000_000
MAX_PIXELS: Final = 1 << 24
MAX_FRAME: Final = 1 << 30
MAX_NAME: Final = 240
IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEO_SUFFIXES: Final = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyframe:
    """A box that the file states.

    Attributes:
        frame: index in the video, from 0.
        box: x, y, width, height before rotation, in pixels of the frame as displayed.
        rotation: degrees clockwise.
        visible: whether the object is seen in this frame.
        continues: whether it is seen in the frames up to the next key frame, or to the end.
        flags: bits of `records`; they hold until the next key frame.
        line: where the file states it.
        source: that file, if it is not the video's.
    """

    frame: int
    box: Box
    rotation: float = 0.0
    visible: bool = True
    continues: bool = False
    flags: int = 0
    line: int | None = None
    source: Path | None = None


@dataclass(slots=True)
class LabelledTrack:
    """One object: its class, its number in the video (-1: unknown), and its key frames."""

    label: str
    number: int = UNKNOWN_TRACK
    keyframes: list[Keyframe] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Media:
    """Where a video's frames are: `names[i]` below `folder` is frame i. A video file is such a folder."""

    folder: Path
    names: Sequence[str]
    size: tuple[int, int]


@dataclass(slots=True)
class LabelledVideo:
    """A video and everything that was labelled in it.

    Attributes:
        name: different from the names of other videos.
        source: the label file.
        frames: the frames that were labelled; others are no part of the data set.
        pivot: the point of a box about which it is rotated.
        shortest_turn: rotation goes the shorter way between key frames.
        still: a single image.
    """

    name: str
    source: Path
    media: Media
    frames: range
    tracks: list[LabelledTrack] = field(default_factory=list)
    pivot: Literal["centre", "corner"] = "centre"
    shortest_turn: bool = True
    still: bool = False


@dataclass(slots=True)
class Labels:
    """A label file, or a folder of them.

    Attributes:
        path: where they were read.
        classes: names that the files declare, in their order.
        assigned: videos that the files themselves put into `train` or `val`, by name.
    """

    path: Path
    classes: list[str] = field(default_factory=list)
    videos: list[LabelledVideo] = field(default_factory=list)
    assigned: dict[str, Literal["train", "val"]] = field(default_factory=dict)


def open_media(path: Path, log: IssueLog, source: Path, line: int | None = None) -> Media | None:
    """The frames of a video file or of a folder of images, or None with an issue in the log."""
    try:
        if path.is_file():
            index = index_video(path)
            return Media(path, _Numbers(index.count), index.size)
        names = sorted(found.name for found in path.iterdir() if found.suffix.lower() in IMAGE_SUFFIXES)
        if names:
            return Media(path, names, image_size(path / names[0]))
    except FileNotFoundError:
        log.add("missing_video", source, line, f"{path} is not there")
        return None
    except (ImageError, OSError, ValueError) as error:
        log.add("missing_video", source, line, str(error))
        return None
    log.add("missing_video", source, line, f"{path} holds no image")
    return None


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name that is too long for the file system is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def find_video(name: str, folders: Sequence[Path]) -> Path:
    """The file in one of the folders that a label file calls `name`, whether it is there or not.

    Only the last part of the name counts, so that a label file cannot lead out of its folder. Without a
    suffix, any video of that stem will do.
    """
    plain = Path(name.replace("\\", "/").replace("\0", "")).name
    # Longer names cannot be looked for.
    plain = plain if len(plain.encode(errors="replace")) <= MAX_NAME else ""
    for folder in folders:
        if plain and (folder / plain).is_file():
            return folder / plain
    for folder in folders:
        for suffix in VIDEO_SUFFIXES:
            if (folder / f"{plain}{suffix}").is_file():
                return folder / f"{plain}{suffix}"
    return folders[0] / (plain or "video")


def held_out(names: Sequence[str], share: float) -> set[str]:
    """The videos that form `val`: `share` (0 to 1) of them, at least one of two or more.

    They are the first in the order of the SHA-256 of their names, so the choice depends on the names alone.
    """
    count = min(len(names) - 1, max(1, round(share * len(names)))) if share > 0 and names else 0
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(ordered[:count])


def data_set(
    labels: Labels,
    split: Literal["train", "val"],
    log: IssueLog,
    *,
    classes: tuple[str, ...] | None,
    share: float,
    val: Sequence[str] = (),
    most_boxes: int = MAX_BOXES,
) -> DataSet:
    """A split of what was read.

    Args:
        split: which part.
        classes: the class list; None: what the files declare, then what they use beyond that, by name.
        share: of the videos, for `val`, where the files themselves do not say.
        val: names of the videos that form `val`, instead of a share.
        most_boxes: of one video, over all its frames.
    """
    used = {track.label for video in labels.videos for track in video.tracks}
    wanted = classes or (*labels.classes, *sorted(used - set(labels.classes)))
    chosen = _split_of(labels, share, val, log)
    builder = DataSetBuilder(wanted, log)
    places = {name: place for place, name in enumerate(wanted)}
    for video in labels.videos:
        if chosen[video.name] == split:
            _add_video(builder, video, places, most_boxes)
    return builder.build(labels.path, split)


def _split_of(
    labels: Labels, share: float, val: Sequence[str], log: IssueLog
) -> dict[str, Literal["train", "val"]]:
    names = [video.name for video in labels.videos]
    for name in val:
        if name not in names:
            known = ", ".join(names[:20])
            log.add("missing_video", labels.path, None, f"no video is named {name!r}; there are {known}")
    if set(labels.assigned.values()) == {"train", "val"} and not val:
        return {name: labels.assigned.get(name, "train") for name in names}
    chosen = set(val) or held_out(names, share)
    return {name: "val" if name in chosen else "train" for name in names}


def _add_video(
    builder: DataSetBuilder, video: LabelledVideo, places: dict[str, int], most_boxes: int
) -> None:
    objects: dict[int, list[tuple[FoundObject, Keyframe]]] = {}
    count = 0
    for track in video.tracks:
        if (label := places.get(track.label)) is None:
            line = track.keyframes[0].line if track.keyframes else None
            builder.log.add("unknown_class", video.source, line, f"{track.label!r} is not in the class list")
            continue
        keys = sorted(track.keyframes, key=lambda key: key.frame)
        if twice := next((b for a, b in pairwise(keys) if a.frame == b.frame), None):
            detail = f"a track of {track.label!r} states frame {twice.frame} twice"
            builder.log.add("duplicate_id", video.source, twice.line, detail)
            continue
        for key, box in _boxes(keys, video):
            count += 1
            if count > most_boxes:
                detail = f"video {video.name!r} has more than {most_boxes} boxes"
                builder.log.add("bad_record", video.source, key.line, detail)
                return
            found = FoundObject(label=label, box=box, track=track.number, flags=key.flags)
            objects.setdefault(key.frame, []).append((found, key))
    builder.start_video(video.name, video.media.folder, still=video.still)
    for frame in video.frames:
        builder.add_frame(video.media.names[frame], video.media.size)
        for found, key in objects.pop(frame, ()):
            builder.add_object(found, key.source or video.source, key.line)
    # What is left is in no frame of the video.
    for frame, rest in sorted(objects.items()):
        detail = f"frame {frame} is none of the {len(video.frames)} labelled frames of {video.name!r}"
        builder.log.add("bad_record", video.source, rest[0][1].line, detail)


def _boxes(keys: Sequence[Keyframe], video: LabelledVideo) -> Iterator[tuple[Keyframe, Box]]:
    """A key frame per frame in which the object is seen, with its corners."""
    for place, key in enumerate(keys):
        if key.visible:
            yield key, _corners(key.box, key.rotation, video.pivot)
        if not key.continues:
            continue
        after = keys[place + 1] if place + 1 < len(keys) else None
        for frame in _between(video.frames, key.frame, after.frame if after else video.frames.stop):
            box, rotation = key.box, key.rotation
            if after is not None:
                share = (frame - key.frame) / (after.frame - key.frame)
                box = _mixed(key.box, after.box, share)
                rotation += _turn(key.rotation, after.rotation, shortest=video.shortest_turn) * share
            here = Keyframe(frame=frame, box=box, flags=key.flags, line=key.line)
            yield here, _corners(box, rotation, video.pivot)


def _between(frames: range, low: int, high: int) -> range:
    """The labelled frames that are greater than `low` and less than `high`."""
    return frames[bisect_right(frames, low) : bisect_left(frames, high)]


def _mixed(a: Box, b: Box, share: float) -> Box:
    x, y, width, height = (p + (q - p) * share for p, q in zip(a, b, strict=True))
    return x, y, width, height


def _turn(a: float, b: float, *, shortest: bool) -> float:
    return (b - a + 180) % 360 - 180 if shortest else b - a


def _corners(box: Box, rotation: float, pivot: Literal["centre", "corner"]) -> Box:
    """xyxy of the smallest upright box around a rotated one."""
    x, y, width, height = box
    if not rotation:
        return x, y, x + width, y + height
    sine, cosine = math.sin(math.radians(rotation)), math.cos(math.radians(rotation))
    px, py = (x, y) if pivot == "corner" else (x + width / 2, y + height / 2)
    away = [(dx - px, dy - py) for dx in (x, x + width) for dy in (y, y + height)]
    xs = [px + dx * cosine - dy * sine for dx, dy in away]
    ys = [py + dx * sine + dy * cosine for dx, dy in away]
    return min(xs), min(ys), max(xs), max(ys)


class _Numbers(Sequence[str]):
    """Names of a video's frames, without a string per frame."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if not 0 <= index < self._count:
            raise IndexError(index)
        return f"{index:06d}"
