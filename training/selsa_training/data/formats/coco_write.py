"""Writing a data set as CocoVID: two annotation files and an image per frame, as `coco_vid` reads them.

OUT/import.json                     where it is from
OUT/train.json, OUT/val.json        annotations, a record per line
OUT/train/00000-NAME/000012.jpg     frame 12 of a video; images are copied as they are
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np

from selsa_bundle.files.new_folder import new_folder
from selsa_training.data.errors import DataError, ImageError
from selsa_training.data.formats.json_lines import table_lines
from selsa_training.data.records import DEGRADED, GENERATED, IGNORED, OCCLUDED, UNKNOWN_TRACK, DataSet
from selsa_training.data.video_frames import frames_in_order

MARKER: Final = "import.json"
JPEG_QUALITY: Final = 95
FLAGS: Final = {"occluded": OCCLUDED, "generated": GENERATED, "ignore": IGNORED, "degraded": DEGRADED}


def write_coco_vid(
    folder: Path,
    splits: Mapping[str, DataSet],
    about: Mapping[str, Any],
    *,
    image_format: Literal["jpg", "png"] = "jpg",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a data set; the folder appears complete or not at all.

    Args:
        splits: `train` and `val`.
        about: goes into `import.json`.
        image_format: of the frames of video files; `png` is lossless.
        overwrite: replace an older import.
        progress: called with (frames done, frames in all).

    Raises:
        TargetTakenError: something is at `folder` that may not be replaced.
        DataError: the folder cannot be written, or a frame cannot be read.
    """
    total, done = sum(data.frame_count for data in splits.values()), 0
    try:
        with new_folder(folder, marker=MARKER, overwrite=overwrite, sync=False) as part:
            for split, data in splits.items():
                names: list[str] = []
                for video in range(data.video_count):
                    for name in _write_video(part, split, data, video, image_format):
                        names.append(name)
                        done += 1
                        if progress:
                            progress(done, total)
                with (part / f"{split}.json").open("w", encoding="utf-8", newline="\n") as file:
                    file.writelines(table_lines(_tables(data, names)))
            (part / MARKER).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error}") from error


def _write_video(
    part: Path, split: str, data: DataSet, video: int, image_format: Literal["jpg", "png"]
) -> Iterator[str]:
    """Write a video's frames; their file names below `part`, in order."""
    source = data.video_folders[video]
    safe = re.sub(r"[^\w.-]+", "_", data.video_names[video])[-80:]
    place = Path(split) / f"{video:05d}-{safe}"
    (part / place).mkdir(parents=True)
    frames = data.frames_of(video)
    if not source.is_file():
        for frame in frames:
            name = place / Path(data.frame_names[frame]).name
            shutil.copyfile(data.path(frame), part / name)
            yield str(name)
        return
    wanted = {int(data.frame_names[frame]) for frame in frames}
    last = max(wanted)
    for number, pixels in enumerate(frames_in_order(source)):
        if number in wanted:
            name = place / f"{number:06d}.{image_format}"
            (part / name).write_bytes(_encoded(pixels, image_format))
            yield str(name)
        if number == last:
            return
    raise ImageError(f"{source}: ends before frame {last}")


def _encoded(pixels: "np.ndarray[Any, np.dtype[np.uint8]]", image_format: Literal["jpg", "png"]) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if image_format == "jpg" else []
    written, data = cv2.imencode(f".{image_format}", pixels[..., ::-1], quality)
    if not written:
        raise DataError(f"OpenCV cannot write {image_format} images")
    return bytes(data)


def _tables(data: DataSet, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    videos: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for video in range(data.video_count):
        still = bool(data.still[video])
        if not still:
            videos.append({"id": video + 1, "name": data.video_names[video]})
        for place, frame in enumerate(data.frames_of(video)):
            height, width = (int(side) for side in data.frame_sizes[frame])
            image = {"id": frame + 1, "file_name": names[frame], "height": height, "width": width}
            if not still:
                image |= {"video_id": video + 1, "frame_id": place}
            images.append(image | {"is_vid_train_frame": bool(data.key[frame])})
            annotations += _annotations(data, frame, None if still else video + 1)
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(data.classes)]
    return {"categories": categories, "videos": videos, "images": images, "annotations": annotations}


def _annotations(data: DataSet, frame: int, video_id: int | None) -> Iterator[dict[str, Any]]:
    for item in data.objects(frame).index.tolist():
        x1, y1, x2, y2 = data.boxes[item].tolist()
        row = {
            "id": item + 1,
            "image_id": frame + 1,
            "category_id": int(data.labels[item]) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
        }
        if video_id is not None:
            row["video_id"] = video_id
        if (track := int(data.tracks[item])) != UNKNOWN_TRACK:
            row["instance_id"] = track
        yield row | {name: True for name, bit in FLAGS.items() if data.flags[item] & bit}
