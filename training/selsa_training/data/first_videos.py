"""Some videos of a data set."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from selsa_training.data.name_table import NameTable
from selsa_training.data.records import DataSet, Int


def first_videos(data: DataSet, count: int) -> DataSet:
    """The first `count` videos with all their frames and objects; all of them if there are fewer."""
    return data if count >= data.video_count else select_videos(data, range(count))


def select_videos(data: DataSet, videos: Sequence[int]) -> DataSet:
    """The videos of these numbers, in their order, with all their frames and objects."""
    frames = _rows(data.first_frame, np.asarray(videos, np.int64))
    objects = _rows(data.first_object, frames)
    return replace(
        data,
        video_names=tuple(data.video_names[video] for video in videos),
        video_folders=tuple(data.video_folders[video] for video in videos),
        still=data.still[list(videos)],
        first_frame=_starts(data.first_frame, np.asarray(videos, np.int64)),
        frame_names=NameTable.of(data.frame_names[frame] for frame in frames.tolist()),
        frame_sizes=data.frame_sizes[frames],
        key=data.key[frames],
        annotated=data.annotated[frames],
        first_object=_starts(data.first_object, frames),
        boxes=data.boxes[objects],
        labels=data.labels[objects],
        tracks=data.tracks[objects],
        flags=data.flags[objects],
        motion=data.motion[objects],
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
