"""The common form of a data set: readers produce it, sampling and evaluation use it.

Frames are numbered through the whole data set, video after video in temporal order; so are objects, frame
after frame. Everything per frame or per object is an array: ImageNet VID with DET (1.2 million frames, 2
million objects) takes about 110 MB, and forked data loading workers share it.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_training.data.name_table import NameTable

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

    def with_motion(self, motion: Float) -> "DataSet":
        """The same data set with motion IoU [N] filled in."""
        return replace(self, motion=motion)

    def nbytes(self) -> int:
        """Bytes that the arrays hold."""
        values = [getattr(self, field.name) for field in fields(self)]
        tables = [self.frame_names.blob, self.frame_names.starts]
        return sum(value.nbytes for value in (*values, *tables) if isinstance(value, np.ndarray))
