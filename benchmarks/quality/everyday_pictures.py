"""A contact sheet of detections to look at: day, night, crowd, an animal, and where the model fails.

    selsa fetch-everyday work/everyday
    python -m benchmarks.quality.everyday_pictures OUT.jpg --sources work/everyday [--bundle FOLDER]

Each clip runs through the pipeline in sequence mode; one frame of it is drawn, with scores above 0.35. No
night video with a clear licence was available: the night pictures are day pictures, every frame darkened
as in `everyday_quality.py`. The cat is camera motion over a photograph.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.quality.everyday_classes import OBJECTS, made_clip
from benchmarks.quality.everyday_film import write_film
from benchmarks.quality.everyday_quality import THRESHOLD, dark
from selsa_bundle.default_bundle import bundle_folder
from selsa_server.pipeline.local import local_pipeline
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.render.drawing import draw_caption, draw_detections
from selsa_server.schema.detect import DetectParams, FrameRecord
from selsa_training.everyday_training.clips import read_clip
from selsa_training.everyday_training.photographs import read_photographs

Image = npt.NDArray[np.uint8]
KEPT: Final = Path("benchmarks/quality/clips")
TRAINED: Final = Path("training/everyday-clips")
SIZE: Final = (416, 234)
COLUMNS: Final = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """A clip, the frame of it that is drawn, and whether it is darkened."""

    caption: str
    file: Path
    frame: int
    darkened: bool = False


SHOWN: Final = (
    Shown("day", TRAINED / "person-bicycle-car-detection.mp4", 26),
    Shown("day", TRAINED / "worker-zone-detection.mp4", 15),
    Shown("day", KEPT / "visitor.mp4", 20),
    Shown("darkened", TRAINED / "worker-zone-detection.mp4", 15, darkened=True),
    Shown("darkened", KEPT / "aisle.mp4", 30, darkened=True),
    Shown("darkened", KEPT / "signs.mp4", 20, darkened=True),
    Shown("crowd", TRAINED / "classroom.mp4", 20),
    Shown("crowd", KEPT / "aisle.mp4", 56),
    Shown("from above", KEPT / "car.mp4", 24),
    Shown("food", TRAINED / "fruit-and-vegetable-detection.mp4", 11),
    Shown("bottles", TRAINED / "bottle-detection.mp4", 20),
)


def drawn(pipeline: DetectionPipeline, frames: Sequence[Image], index: int, caption: str) -> Image:
    """One frame with its detections, all frames being detected."""
    params = DetectParams(score_threshold=THRESHOLD)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mkv"
        write_film(path, frames)
        records = [each for each in pipeline.run(path, params) if isinstance(each, FrameRecord)]
    picture = frames[index].copy()
    draw_detections(picture, records[index].detections)
    names = [f"{each.class_name} {each.score:.2f}" for each in records[index].detections]
    print(f"{caption}: {', '.join(names) or 'nothing'}", flush=True)
    scale = min(SIZE[0] / picture.shape[1], SIZE[1] / picture.shape[0])
    shown = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    tile[: shown.shape[0], : shown.shape[1]] = shown
    draw_caption(tile, caption)
    return tile


def cat_clip(sources: Path) -> list[Image]:
    """Camera motion over the photograph of a cat."""
    _, box = OBJECTS["chelsea"]
    frames, _ = made_clip(read_photographs(sources)["chelsea"], box, 0)
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--bundle", type=bundle_folder)
    given = parser.parse_args()
    pipeline, tiles = local_pipeline(given.bundle, print, {}), []
    for each in SHOWN:
        random, frames = np.random.default_rng(0), read_clip(each.file)
        frames = [dark(frame, random) for frame in frames] if each.darkened else frames
        tiles.append(drawn(pipeline, frames, each.frame, each.caption))
    tiles.append(drawn(pipeline, cat_clip(given.sources), 12, "animal"))
    rows = [np.hstack(tiles[first : first + COLUMNS]) for first in range(0, len(tiles), COLUMNS)]
    sheet = np.ascontiguousarray(np.vstack(rows)[..., ::-1])
    cv2.imwrite(str(given.out), sheet, [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main()
