"""The first videos of a data set."""

from dataclasses import replace

from selsa_training.data.name_table import NameTable
from selsa_training.data.records import DataSet


def first_videos(data: DataSet, count: int) -> DataSet:
    """The first `count` videos with all their frames and objects; all of them if there are fewer."""
    if count >= data.video_count:
        return data
    frames = int(data.first_frame[count])
    objects = int(data.first_object[frames])
    return replace(
        data,
        video_names=data.video_names[:count],
        video_folders=data.video_folders[:count],
        still=data.still[:count],
        first_frame=data.first_frame[: count + 1],
        frame_names=NameTable(data.frame_names.blob, data.frame_names.starts[: frames + 1]),
        frame_sizes=data.frame_sizes[:frames],
        key=data.key[:frames],
        annotated=data.annotated[:frames],
        first_object=data.first_object[: frames + 1],
        boxes=data.boxes[:objects],
        labels=data.labels[:objects],
        tracks=data.tracks[:objects],
        flags=data.flags[:objects],
        motion=data.motion[:objects],
    )
