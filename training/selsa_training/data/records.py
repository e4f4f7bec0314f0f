"""The common form of a data set: readers produce it, sampling and evaluation use it.

Frames are numbered through the whole data set, video after video in temporal order; so are objects, frame
after frame. Everything per frame or per object is an array: ImageNet VID with DET (1.2 million frames, 2
million objects) takes about 110 MB, and forked data loading workers share it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]

# Bits of `DataSet.flags`. Ignored: a crowd, or an object that may but need not be found.
OCCLUDED: Final = 1
GENERATED: Final = 2
IGNORED: Final = 4
DEGRADED: Final = 8

UNKNOWN_TRACK: Final = -1
# Smaller images are not key frames in training: mmdet's `min_size`.
LEAST_KEY_SIDE: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class NameTable:
    """Immutable texts, by index: many short ones in two arrays.

    Python strings would take 80 MB for 1.1 million frames.

    Attributes:
        blob: uint8, the texts one after another in UTF-8.
        starts: int64 [N + 1], where each begins.
    """

    blob: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, names: Iterable[str]) -> "NameTable":
        """The table of some texts, in order."""
        blob, starts = bytearray(), [0]
        for name in names:
            blob += name.encode()
            starts.append(len(blob))
        return cls(np.frombuffer(bytes(blob), np.uint8), np.asarray(starts, np.int64))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"name {index} of {len(self)}")
        return self.blob[self.starts[index] : self.starts[index + 1]].tobytes().decode()


@dataclass(frozen=True, slots=True, eq=False)
class FrameObjects:
    """Objects of one frame.

    Attributes:
        index: int64 [N], their numbers in the data set.
        boxes: float32 [N, 4], xyxy in pixels of the frame as stored, inside it, of positive area.
        labels: int64 [N], indices into the class list.
        tracks: int64 [N], the same object of a video has the same number in all its frames; -1: unknown.
        ignored: bool [N], neither to be learned nor to be counted as missed.
    """

    index: Int
    boxes: Float
    labels: Int
    tracks: Int
    ignored: npt.NDArray[np.bool_]


# No slots: the derived tables are cached.
@dataclass(frozen=True, kw_only=True, eq=False)
class DataSet:
    """Videos with annotated objects. V videos, F frames, N objects.

    Attributes:
        classes: names; a label is an index into them.
        video_names: names in the source. They are unique, except for a still that is listed twice.
        video_folders: folder of each video's frames.
        still: bool [V], a single image that is its own reference (ImageNet DET).
        first_frame: int64 [V + 1], number of a video's first frame; the last entry is F.
        frame_names: file names below the video's folder.
        frame_sizes: int32 [F, 2], (height, width) in pixels; 0: not known without opening the image.
        key: bool [F], frames that the source's list names for training (all, if it has no list).
        annotated: bool [F], frames for which the source lists an object of the classes, even one whose box
            cannot be used and is left out.
        first_object: int64 [F + 1], number of a frame's first object; the last entry is N.
        boxes: float32 [N, 4], xyxy in pixels.
        labels: int16 [N].
        tracks: int32 [N].
        flags: uint8 [N], bits `OCCLUDED`, `GENERATED`, `IGNORED`, `DEGRADED`.
        motion: float32 [N], motion IoU (see `motion.motion_iou`); NaN: not annotated.
    """

    classes: tuple[str, ...]
    video_names: tuple[str, ...]
    video_folders: tuple[Path, ...]
    still: npt.NDArray[np.bool_]
    first_frame: Int
    frame_names: NameTable
    frame_sizes: npt.NDArray[np.int32]
    key: npt.NDArray[np.bool_]
    annotated: npt.NDArray[np.bool_]
    first_object: Int
    boxes: Float
    labels: npt.NDArray[np.int16]
    tracks: npt.NDArray[np.int32]
    flags: npt.NDArray[np.uint8]
    motion: Float

    @property
    def video_count(self) -> int:
        """V."""
        return len(self.video_names)

    @property
    def frame_count(self) -> int:
        """F."""
        return len(self.frame_names)

    @property
    def object_count(self) -> int:
        """N."""
        return len(self.labels)

    @cached_property
    def frame_of_object(self) -> Int:
        """int64 [N], the frame of every object."""
        return np.repeat(np.arange(self.frame_count), np.diff(self.first_object))

    def video_of(self, frame: int) -> int:
        """The video that a frame belongs to."""
        return int(np.searchsorted(self.first_frame, frame, side="right")) - 1

    def frames_of(self, video: int) -> range:
        """The frames of a video, in temporal order."""
        return range(int(self.first_frame[video]), int(self.first_frame[video + 1]))

    def path(self, frame: int) -> Path:
        """Path of a frame's image."""
        return self.video_folders[self.video_of(frame)] / self.frame_names[frame]

    def objects(self, frame: int) -> FrameObjects:
        """The annotated objects of a frame."""
        where = slice(int(self.first_object[frame]), int(self.first_object[frame + 1]))
        return FrameObjects(
            np.arange(where.start, where.stop),
            self.boxes[where],
            self.labels[where].astype(np.int64),
            self.tracks[where].astype(np.int64),
            (self.flags[where] & IGNORED) > 0,
        )

    def training_keys(self) -> Int:
        """int64 [K], the key frames to train on, as published (mmtracking's `_filter_imgs`).

        Frames without annotation are left out, and frames with a side under `LEAST_KEY_SIDE` pixels. A frame
        whose boxes are all unusable or ignored is trained as background.
        """
        small = ((self.frame_sizes > 0) & (self.frame_sizes < LEAST_KEY_SIDE)).any(axis=1)
        return np.flatnonzero(self.key & self.annotated & ~small)

    def learnable_objects(self) -> Int:
        """int64 [F], objects per frame that are not ignored."""
        countable = np.concatenate([[0], np.cumsum((self.flags & IGNORED) == 0)])
        return np.diff(countable[self.first_object])

    def first(self, count: int) -> "DataSet":
        """The first `count` videos with all their frames and objects; all of them if there are fewer."""
        return self if count >= self.video_count else self.select(range(count))

    def select(self, videos: Sequence[int]) -> "DataSet":
        """The videos of these numbers, in their order, with all their frames and objects."""
        frames = _rows(self.first_frame, np.asarray(videos, np.int64))
        objects = _rows(self.first_object, frames)
        return replace(
            self,
            video_names=tuple(self.video_names[video] for video in videos),
            video_folders=tuple(self.video_folders[video] for video in videos),
            still=self.still[list(videos)],
            first_frame=_starts(self.first_frame, np.asarray(videos, np.int64)),
            frame_names=NameTable.of(self.frame_names[frame] for frame in frames.tolist()),
            frame_sizes=self.frame_sizes[frames],
            key=self.key[frames],
            annotated=self.annotated[frames],
            first_object=_starts(self.first_object, frames),
            boxes=self.boxes[objects],
            labels=self.labels[objects],
            tracks=self.tracks[objects],
            flags=self.flags[objects],
            motion=self.motion[objects],
        )


def _rows(starts: Int, groups: Int) -> Int:
    """The numbers of all rows of some groups, where group i has the rows starts[i] to starts[i + 1]."""
    counts = starts[groups + 1] - starts[groups]
    before = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(groups) else counts
    rows: Int = np.arange(counts.sum()) + np.repeat(starts[groups] - before, counts)
    return rows


def _starts(starts: Int, groups: Int) -> Int:
    """`starts` of these groups alone."""
    return np.concatenate([[0], np.cumsum(starts[groups + 1] - starts[groups])]).astype(np.int64)
