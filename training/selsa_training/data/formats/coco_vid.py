"""CocoVID JSON, mmtracking's format, for custom data sets and for files of its converters.

A COCO file with `videos` and, per image, `video_id` and `frame_id`; per annotation `instance_id`. Images
without a `video_id` are stills, which are their own references. `is_vid_train_frame` marks key frames; if no
image has it, all frames are key frames. Annotations may also have `motion_iou` and `degraded`, which
mmtracking does not use.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from selsa_training.data.building import DataSetBuilder, FoundObject
from selsa_training.data.formats.coco_records import Located, Records
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import DEGRADED, GENERATED, IGNORED, OCCLUDED, UNKNOWN_TRACK, DataSet

MAX_SIDE: Final = 1 << 16
MAX_PIXELS: Final = 1 << 24
FLAGS: Final = {
    "occluded": OCCLUDED,
    "generated": GENERATED,
    "iscrowd": IGNORED,
    "ignore": IGNORED,
    "degraded": DEGRADED,
}


def read_coco_vid(
    path: Path, images: Path, log: IssueLog, *, classes: Sequence[str] | None = None
) -> DataSet:
    """Read one file.

    Args:
        images: the folder below which `file_name` is.
        classes: the class list to read with, for instance a checkpoint's; categories are matched by name.
            Default: the file's categories in order of their ids.
    """
    records = Records.load(path, log)
    categories = read_categories(records)
    wanted = tuple((row["name"] for row in categories.values()) if classes is None else classes)
    labels = {key: wanted.index(row["name"]) for key, row in categories.items() if row["name"] in wanted}
    reader = _Reader(DataSetBuilder(wanted, log), records, labels)
    reader.read(images)
    return reader.builder.build(path)


def read_categories(records: Records) -> dict[int, Located]:
    """The categories of a file by id, in order of their ids."""
    return dict(sorted(records.table("categories", {"id": int, "name": str}).items()))


class _Reader:
    """Orders a file's records into videos, frames and objects."""

    def __init__(self, builder: DataSetBuilder, records: Records, labels: dict[int, int]) -> None:
        self.builder = builder
        self.records = records
        self.labels = labels
        self.objects: dict[int, list[Located]] = defaultdict(list)

    def read(self, folder: Path) -> None:
        needed = {"id": int, "file_name": str, "height": int, "width": int}
        images = self.records.table("images", needed)
        videos = self.records.table("videos", {"id": int, "name": str}, required=False)
        for row in self.records.table("annotations", {"id": int, "image_id": int}).values():
            if row["image_id"] in images:
                self.objects[row["image_id"]].append(row)
            else:
                self.records.complain(row, f"image_id {row['image_id']} is no image of this file")
        self._read_videos(folder, videos, self._by_video(images, videos))
        for row in images.values():
            if row.get("video_id") is None and self._usable(row):
                name = Path(row["file_name"])
                self.builder.start_video(row["file_name"], folder / name.parent, still=True)
                self._frame(row, name.name, key=row.get("is_vid_train_frame", True))

    def _by_video(
        self, images: dict[int, Located], videos: dict[int, Located]
    ) -> dict[int, dict[int, Located]]:
        """video id -> frame id -> image."""
        found: dict[int, dict[int, Located]] = defaultdict(dict)
        for row in images.values():
            video, frame = row.get("video_id"), row.get("frame_id")
            if video is None or not self._usable(row):
                continue
            if not isinstance(video, int) or video not in videos:
                self.records.complain(row, f"video_id {video!r} is no video of this file", "missing_video")
            elif not isinstance(frame, int):
                self.records.complain(row, f"frame_id {frame!r} is no whole number")
            elif frame in found[video]:
                self.records.complain(row, f"frame_id {frame} occurs twice in its video", "duplicate_id")
            else:
                found[video][frame] = row
        return found

    def _read_videos(
        self, folder: Path, videos: dict[int, Located], frames: dict[int, dict[int, Located]]
    ) -> None:
        # mmtracking's validation files mark no key frames; then every frame is one.
        marked = any(row.get("is_vid_train_frame") for rows in frames.values() for row in rows.values())
        taken: set[str] = set()
        for number, video in videos.items():
            if not frames[number]:
                self.records.complain(video, f"video {video['name']!r} has no image", "missing_video")
                continue
            if video["name"] in taken:
                self.records.complain(video, f"name {video['name']!r} occurs twice", "duplicate_id")
                continue
            taken.add(video["name"])
            self.builder.start_video(video["name"], folder)
            for _, row in sorted(frames[number].items()):
                key = bool(row.get("is_vid_train_frame")) if marked else True
                self._frame(row, row["file_name"], key=key)

    def _usable(self, row: Located) -> bool:
        name = Path(row["file_name"])
        if name.is_absolute() or ".." in name.parts:
            self.records.complain(row, f"file_name {row['file_name']!r} leads out of the images' folder")
            return False
        if not (0 < row["height"] <= MAX_SIDE and 0 < row["width"] <= MAX_SIDE):
            self.records.complain(row, f"height {row['height']} and width {row['width']}")
            return False
        return True

    def _frame(self, row: Located, name: str, *, key: object) -> None:
        self.builder.add_frame(name, (row["height"], row["width"]), key=bool(key))
        for annotation in self.objects.get(row["id"], []):
            found = self._object(annotation)
            if found is not None:
                self.builder.add_object(found, self.records.path, partial(self.records.line, annotation))

    def _object(self, row: Located) -> FoundObject | None:
        category = row.get("category_id")
        if not isinstance(category, int) or category not in self.labels:
            detail = f"category_id {category!r} is none of the {len(self.builder.classes)}"
            self.records.complain(row, detail, "unknown_class")
            return None
        box, track, motion = row.get("bbox"), row.get("instance_id", UNKNOWN_TRACK), row.get("motion_iou")
        if not _is_box(box):
            self.records.complain(row, f"bbox {box!r} is not four numbers")
            return None
        if not isinstance(track, int) or not -1 <= track < 1 << 31:
            self.records.complain(row, f"instance_id {track!r} is no whole number")
            return None
        x, y, width, height = map(float, box)
        flags = sum({bit for name, bit in FLAGS.items() if row.get(name)})
        speed = float(motion) if _is_number(motion) else math.nan
        corners = (x, y, x + width, y + height)
        label = self.labels[category]
        return FoundObject(label=label, box=corners, track=track, flags=flags, motion=speed)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(_is_number(x) for x in value)


def _is_number(value: Any) -> bool:
    """Whether it is a number of pixels; not NaN, and not an integer that no float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_PIXELS
