"""Writing a synthetic data set: CocoVID files and images, as `coco_vid` reads them.

OUT/synthesis.json            settings, sprites and their checksum
OUT/train.json, OUT/val.json  annotations, a record per line
OUT/train/00000/000000.jpg    frames
"""

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from selsa_bundle.files.new_folder import new_folder
from selsa_training.data.errors import DataError
from selsa_training.data.formats.json_lines import table_lines
from selsa_training.data.motion import self_iou
from selsa_training.data.records import DEGRADED, IGNORED, OCCLUDED
from selsa_training.data.synthetic.clip import ClipObject, render_clip
from selsa_training.data.synthetic.settings import SyntheticSettings
from selsa_training.data.synthetic.sprites import SpriteSet

MARKER: Final = "synthesis.json"
# Clips per task of a worker.
CHUNK: Final = 4

# Per clip: a row per frame (degraded, objects with their motion IoU).
ClipRows = list[tuple[bool, list[tuple[ClipObject, float]]]]


@dataclass(frozen=True, slots=True)
class _Job:
    """Some clips of a split, for one worker; sent with the sprites, which are 10 MB."""

    folder: Path
    settings: SyntheticSettings
    sprites: SpriteSet
    split: str
    numbers: range


@dataclass(frozen=True, slots=True)
class WrittenSet:
    """Counts of the written data set."""

    clips: int
    frames: int
    objects: int


def write_synthetic(
    folder: Path,
    settings: SyntheticSettings,
    sprites: SpriteSet,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> WrittenSet:
    """Write a data set; the folder appears complete or not at all.

    The same settings and sprites give the same bytes with any number of workers, on the same kind of machine
    and with the same versions of NumPy and OpenCV.

    Args:
        workers: number of processes.
        progress: called with (finished clips, all clips).

    Raises:
        TargetTakenError: something is at `folder` that may not be replaced.
        DataError: the folder cannot be written, or a worker died.
    """
    counts = {"train": settings.train_clips, "val": settings.val_clips}
    try:
        with new_folder(folder, marker=MARKER, overwrite=overwrite, sync=False) as part:
            jobs = [
                _Job(part, settings, sprites, split, range(first, min(first + CHUNK, count)))
                for split, count in counts.items()
                for first in range(0, count, CHUNK)
            ]
            rows: dict[str, list[ClipRows]] = {split: [] for split in counts}
            with _mapped(_write_clips, jobs, workers) as results:
                for job, written in zip(jobs, results, strict=True):
                    rows[job.split] += written
                    if progress:
                        progress(sum(map(len, rows.values())), sum(counts.values()))
            for split in counts:
                _write_annotations(part / f"{split}.json", settings, sprites, split, rows[split])
            _write_marker(part / MARKER, settings, sprites)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error}") from error
    except BrokenExecutor as error:
        raise DataError(f"a worker process died, perhaps out of memory: {error}") from error
    clips = [clip for split in rows.values() for clip in split]
    objects = sum(len(found) for clip in clips for _, found in clip)
    return WrittenSet(len(clips), sum(map(len, clips)), objects)


def _write_clips(job: _Job) -> list[ClipRows]:
    return [_write_clip(job, number) for number in job.numbers]


def _write_clip(job: _Job, number: int) -> ClipRows:
    folder, settings, sprites, split = job.folder, job.settings, job.sprites, job.split
    place = folder / split / f"{number:05d}"
    place.mkdir(parents=True)
    found: list[tuple[bool, tuple[ClipObject, ...]]] = []
    quality = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality] if settings.image_format == "jpg" else []
    for time, frame in enumerate(render_clip(settings, sprites, split, number)):
        done, data = cv2.imencode(f".{settings.image_format}", frame.pixels[..., ::-1], quality)
        if not done:
            raise DataError(f"OpenCV cannot write {settings.image_format} images")
        (place / f"{time:06d}.{settings.image_format}").write_bytes(data.tobytes())
        found.append((frame.degraded, frame.objects))
    items = [(time, item) for time, (_, objects) in enumerate(found) for item in objects]
    speeds = iter(
        self_iou(
            np.array([item.track for _, item in items], np.int64),
            np.array([time for time, _ in items], np.int64),
            np.array([item.box for _, item in items], np.float32).reshape(-1, 4),
        ).tolist()
    )
    return [(degraded, [(item, next(speeds)) for item in objects]) for degraded, objects in found]


def _write_annotations(
    path: Path, settings: SyntheticSettings, sprites: SpriteSet, split: str, clips: list[ClipRows]
) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, clip in enumerate(clips):
        for time, (degraded, objects) in enumerate(clip):
            images.append(
                {
                    "id": len(images) + 1,
                    "video_id": number + 1,
                    "frame_id": time,
                    "file_name": f"{split}/{number:05d}/{time:06d}.{settings.image_format}",
                    "height": settings.height,
                    "width": settings.width,
                    "is_vid_train_frame": split == "train",
                    "degraded": degraded,
                }
            )
            for item, speed in objects:
                annotations.append(_annotation(len(annotations) + 1, images[-1], item, speed))
    videos = [{"id": number + 1, "name": f"{split}/{number:05d}"} for number in range(len(clips))]
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(sprites.by_class)]
    tables = {"categories": categories, "videos": videos, "images": images, "annotations": annotations}
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(table_lines(tables))


def _annotation(number: int, image: dict[str, Any], item: ClipObject, speed: float) -> dict[str, Any]:
    x1, y1, x2, y2 = item.box
    return {
        "id": number,
        "image_id": image["id"],
        "video_id": image["video_id"],
        "category_id": item.label + 1,
        # Instances are numbered through the file, as mmtracking's converters do.
        "instance_id": image["video_id"] * 100 + item.track,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
        "ignore": bool(item.flags & IGNORED),
        "occluded": bool(item.flags & OCCLUDED),
        "degraded": bool(item.flags & DEGRADED),
        # A clip of one frame has no motion.
        "motion_iou": None if np.isnan(speed) else round(speed, 4),
    }


def _write_marker(path: Path, settings: SyntheticSettings, sprites: SpriteSet) -> None:
    origin = {"origin": sprites.origin, "sha256": sprites.sha256, "classes": list(sprites.by_class)}
    made = {"made_by": "selsa synthesize", "settings": asdict(settings), "sprites": origin}
    path.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _mapped(
    function: Callable[[_Job], list[ClipRows]], jobs: list[_Job], workers: int
) -> Iterator[Iterable[list[ClipRows]]]:
    """Results in order; computed in other processes if there is more than one worker."""
    if workers <= 1:
        threads = cv2.getNumThreads()
        _one_thread()
        try:
            yield map(function, jobs)
        finally:
            cv2.setNumThreads(threads)
        return
    # Spawn, because a fork of a process with threads of OpenCV or torch may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        try:
            yield pool.map(function, jobs)
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches every process of a terminal. Ignore it here; the first process ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _one_thread()


def _one_thread() -> None:
    cv2.setNumThreads(1)
