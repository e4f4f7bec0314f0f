"""Build a `DataSet` record by record; every box is checked when it is added."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from selsa_training.data.issues import IssueLog
from selsa_training.data.records import UNKNOWN_TRACK, DataSet, NameTable

# ImageNet VID's coordinates may exceed the image by one pixel. This is not reported as an issue.
EDGE_TOLERANCE: Final = 1.0
# Smaller boxes are left out, as in mmdet, because a target of width 0 has no logarithm.
LEAST_SIDE: Final = 1.0

# A line number, or a function that finds it. The search is slower than reading the record.
Line = int | Callable[[], int | None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundObject:
    """An unchecked object from a source file.

    Attributes:
        label: index into the class list.
        box: xyxy in pixels.
        track: number of the object in its video.
        flags: flag bits defined in `records`.
        motion: motion IoU, NaN if the source does not have it.
    """

    label: int
    box: tuple[float, float, float, float]
    track: int = UNKNOWN_TRACK
    flags: int = 0
    motion: float = float("nan")


@dataclass(slots=True)
class DataSetBuilder:
    """Receives videos, frames and objects in order, and stores them without a Python object per value."""

    # Quoted: `array` takes no parameters at run time before Python 3.12.
    classes: tuple[str, ...]
    log: IssueLog
    names: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    still: list[bool] = field(default_factory=list)
    first_frame: "array[int]" = field(default_factory=lambda: array("q"))
    frame_blob: bytearray = field(default_factory=bytearray)
    frame_starts: "array[int]" = field(default_factory=lambda: array("q", [0]))
    sizes: "array[int]" = field(default_factory=lambda: array("i"))
    key: bytearray = field(default_factory=bytearray)
    annotated: bytearray = field(default_factory=bytearray)
    first_object: "array[int]" = field(default_factory=lambda: array("q"))
    boxes: "array[float]" = field(default_factory=lambda: array("f"))
    labels: "array[int]" = field(default_factory=lambda: array("h"))
    tracks: "array[int]" = field(default_factory=lambda: array("i"))
    flags: bytearray = field(default_factory=bytearray)
    motion: "array[float]" = field(default_factory=lambda: array("f"))

    def start_video(self, name: str, folder: Path, *, still: bool = False) -> None:
        """Begin a video; the frames that follow belong to it."""
        self.names.append(name)
        self.folders.append(folder)
        self.still.append(still)
        self.first_frame.append(len(self.key))

    def add_frame(self, name: str, size: tuple[int, int], *, key: bool = True) -> None:
        """Begin a frame of the current video; the objects that follow belong to it.

        Args:
            name: file name below the video's folder.
            size: (height, width) in pixels, (0, 0) if not known.
            key: whether it is a key frame in training.
        """
        self.frame_blob += name.encode()
        self.frame_starts.append(len(self.frame_blob))
        self.sizes.extend(size)
        self.key.append(key)
        self.annotated.append(False)
        self.first_object.append(len(self.labels))

    def add_object(self, found: FoundObject, source: Path, line: Line = None) -> None:
        """Add an object to the current frame, clipped to the frame, or log an issue.

        Args:
            source: the file that describes it.
            line: its line there, or a function that finds it.
        """
        self.annotated[-1] = True
        height, width = self.sizes[-2:]
        x1, y1, x2, y2 = found.box
        if not (x2 - x1 >= LEAST_SIDE and y2 - y1 >= LEAST_SIDE):
            self.log.add("box_without_area", source, _line(line), f"box {_box(found.box)}")
            return
        if height and width:
            clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
            detail = f"box {_box(found.box)} in an image of {width}x{height}"
            if min(clipped[2] - clipped[0], clipped[3] - clipped[1]) < LEAST_SIDE:
                self.log.add("box_outside_image", source, _line(line), detail)
                return
            if max(abs(a - b) for a, b in zip(clipped, found.box, strict=True)) > EDGE_TOLERANCE:
                self.log.add("box_clipped", source, _line(line), detail)
            x1, y1, x2, y2 = clipped
        self.boxes.extend((x1, y1, x2, y2))
        self.labels.append(found.label)
        self.tracks.append(found.track)
        self.flags.append(found.flags)
        self.motion.append(found.motion)

    def build(self, source: Path, split: str = "") -> DataSet:
        """The finished data set. The builder must not be used again.

        Without a video or an object, an issue with the split's name is logged for `source`.
        """
        if not self.names or not self.labels:
            detail = f"{len(self.names)} videos, {len(self.labels)} objects"
            self.log.add("empty_split", source, None, f"{split}: {detail}" if split else detail)
        return DataSet(
            classes=self.classes,
            video_names=tuple(self.names),
            video_folders=tuple(self.folders),
            still=np.asarray(self.still, np.bool_),
            first_frame=np.asarray([*self.first_frame, len(self.key)], np.int64),
            frame_names=NameTable(
                np.frombuffer(bytes(self.frame_blob), np.uint8), np.asarray(self.frame_starts, np.int64)
            ),
            frame_sizes=np.asarray(self.sizes, np.int32).reshape(-1, 2),
            key=np.asarray(self.key, np.bool_),
            annotated=np.asarray(self.annotated, np.bool_),
            first_object=np.asarray([*self.first_object, len(self.labels)], np.int64),
            boxes=np.asarray(self.boxes, np.float32).reshape(-1, 4),
            labels=np.asarray(self.labels, np.int16),
            tracks=np.asarray(self.tracks, np.int32),
            flags=np.frombuffer(bytes(self.flags), np.uint8),
            motion=np.asarray(self.motion, np.float32),
        )


def _line(line: Line) -> int | None:
    return line() if callable(line) else line


def _box(box: tuple[float, float, float, float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"
