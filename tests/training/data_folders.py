"""Small data sets on disk in each of the layouts that are read, for tests to damage."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

DOG, CAR = "n02084071", "n02958343"


def write_image(path: Path, height: int = 48, width: int = 64, value: int = 128) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((height, width, 3), value, np.uint8)
    cv2.imwrite(str(path.with_suffix(".jpg")), image)
    path.with_suffix(".jpg").rename(path)


def xml(*objects: str, height: int = 48, width: int = 64) -> str:
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    return f"<annotation>\n<folder>f</folder>\n{size}\n" + "\n".join(objects) + "\n</annotation>\n"


def xml_object(
    name: str = DOG, box: tuple[object, ...] = (4, 6, 30, 40), track: int | None = 0, occluded: int = 0
) -> str:
    corners = "".join(
        f"<{corner}>{value}</{corner}>"
        for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    trackid = "" if track is None else f"<trackid>{track}</trackid>"
    return (
        f"<object>{trackid}<name>{name}</name><bndbox>{corners}</bndbox>"
        f"<occluded>{occluded}</occluded><generated>0</generated></object>"
    )


def write_imagenet(root: Path, *, frames: int = 6) -> Path:
    """Two training videos, one validation video, one DET image; each frame has a dog that moves."""
    lists = root / "ImageSets/VID"
    lists.mkdir(parents=True)
    videos = ["train/A/v0", "train/A/v1", "val/w0"]
    for video in videos:
        for frame in range(frames):
            write_image(root / f"Data/VID/{video}/{frame:06d}.JPEG", value=20 * frame)
            place = root / f"Annotations/VID/{video}/{frame:06d}.xml"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(xml(xml_object(box=(4 + frame, 6, 30 + frame, 40), occluded=frame % 2)))
    write_image(root / "Data/DET/train/x.JPEG")
    (root / "Annotations/DET/train").mkdir(parents=True)
    (root / "Annotations/DET/train/x.xml").write_text(
        xml(xml_object(CAR, track=None), xml_object("n00007846", track=None))
    )
    keys = [f"{video} 1 {index} {frames}\n" for video in videos[:2] for index in (1, 4)]
    (lists / "VID_train_15frames.txt").write_text("".join(keys))
    (lists / "VID_val_videos.txt").write_text(f"val/w0 1 0 {frames}\n")
    (lists / "DET_train_30classes.txt").write_text("train/x 1\n")
    return root


def coco_content() -> dict[str, list[dict[str, Any]]]:
    """Two videos of three frames and a still; ids are arbitrary and records unordered."""
    images: list[dict[str, Any]] = [
        {
            "id": 10 * video + frame,
            "video_id": video,
            "frame_id": frame,
            "file_name": f"v{video}/{frame}.jpg",
            "height": 48,
            "width": 64,
            "is_vid_train_frame": frame == 1,
        }
        for video in (7, 5)
        for frame in (2, 0, 1)
    ]
    images.append({"id": 99, "file_name": "stills/s.jpg", "height": 48, "width": 64})
    annotations: list[dict[str, Any]] = [
        {
            "id": 1000 + place,
            "image_id": image["id"],
            "category_id": 2,
            "instance_id": 3,
            "bbox": [4, 6, 20, 30],
            "area": 600,
            "iscrowd": 0,
        }
        for place, image in enumerate(images)
    ]
    annotations[0] |= {"iscrowd": 1, "occluded": True}
    return {
        "categories": [{"id": 4, "name": "cat"}, {"id": 2, "name": "dog"}],
        "videos": [{"id": 7, "name": "seven"}, {"id": 5, "name": "five"}],
        "images": images,
        "annotations": annotations,
    }


def write_coco(folder: Path, content: dict[str, list[dict[str, Any]]]) -> Path:
    """A record per line, with its images."""
    for image in content["images"]:
        write_image(folder / image["file_name"])
    return write_json(folder / "data.json", content)


def write_json(path: Path, content: dict[str, list[dict[str, Any]]]) -> Path:
    tables = [
        f'"{name}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]"
        for name, rows in content.items()
    ]
    path.write_text("{" + ",\n".join(tables) + "}\n")
    return path


EPIC_HEADER = "noun_class,noun,participant_id,video_id,frame,bounding_boxes\n"


def write_epic(root: Path, rows: list[str], *, pattern: str = "{:010d}.jpg") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "EPIC_train_object_labels.csv").write_text(EPIC_HEADER + "".join(rows))
    for row in rows:
        _, _, participant, video, frame, *_ = row.split(",")
        folder = root / "object_detection_images/train" / participant / video
        if frame.isdecimal():
            write_image(folder / pattern.format(int(frame)))
    return root
