"""Right class of the everyday model on made clips: camera motion over photographs with a labelled object.

    selsa fetch-everyday work/everyday
    python -m benchmarks.quality.everyday_classes MODEL [MODEL ...] --sources work/everyday

The clips are made, not filmed. Training saw the same photographs, unlabelled, under other motion and other
kernels of damage. `found`: share of frames with a detection of the right class that overlaps the object by
half, at the score that gives as many detections of wrong classes there as the frozen detector has at 0.35.
`class`: share of frames in which the best detection on the object has the right class.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.quality.everyday_quality import SETTINGS, THRESHOLD, damaged, every_detection, know
from selsa_bundle.classes import COCO
from selsa_bundle.default_bundle import bundle_folder
from selsa_bundle.gate.agreement import box_iou
from selsa_training.evaluation.opened_model import ModelOptions, OpenedModel, open_model
from selsa_training.everyday_training.photographs import read_photographs

Image = npt.NDArray[np.uint8]
Box = npt.NDArray[np.float32]
FRAMES: Final = 24
WIDTH: Final = 640
MODES: Final = ("frozen", "own frame", "online", "sequence")
# Class and box of the object: left, top, right and bottom as shares of the photograph.
OBJECTS: Final = {
    "astronaut": ("person", (0.04, 0.02, 0.97, 1.0)),
    "camera": ("person", (0.0, 0.12, 0.62, 1.0)),
    "chelsea": ("cat", (0.0, 0.0, 0.82, 1.0)),
    "coffee": ("cup", (0.28, 0.04, 0.70, 0.66)),
}


def made_clip(image: Image, box: Sequence[float], seed: int) -> tuple[list[Image], list[Box]]:
    """A camera that swings over a photograph; frames uint8 [h, w, 3] RGB, and the object's box in each."""
    random = np.random.default_rng(seed)
    scale = WIDTH / image.shape[1]
    image = cv2.resize(image[..., ::-1], None, fx=scale, fy=scale).astype(np.uint8, copy=False)
    height, width = image.shape[:2]
    left, top, right, bottom = np.array(box) * (width, height, width, height)
    corners = np.array([[left, top, 1], [right, top, 1], [left, bottom, 1], [right, bottom, 1]])
    speed, phase = random.uniform(0.1, 0.3, 4), random.uniform(0, 2 * np.pi, 4)
    frames, boxes = [], []
    for index in range(FRAMES):
        x, y, angle, zoom = np.sin(speed * index + phase)
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 3 * angle, 0.85 + 0.15 * zoom)
        matrix[:, 2] += 0.06 * width * x, 0.05 * height * y
        frame = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        frames.append(frame.astype(np.uint8, copy=False))
        moved = corners @ matrix.T
        shown = np.clip([*moved.min(0), *moved.max(0)], 0, (width, height, width, height))
        boxes.append(shown.astype(np.float32))
    return frames, boxes


def clips(sources: Path) -> Iterator[tuple[int, list[Image], list[Box]]]:
    """Label, frames and boxes of every clip."""
    photographs = read_photographs(sources)
    for seed, (name, (kind, box)) in enumerate(OBJECTS.items()):
        frames, boxes = made_clip(photographs[name], box, seed)
        yield COCO.index(kind), frames, boxes


def measure(model: OpenedModel, sources: Path) -> npt.NDArray[np.float64]:
    """[settings, modes, 2]: found and class, in percent, means over clips and draws of damage."""
    values: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for label, frames, boxes in clips(sources):
        for row, (setting, seeds) in enumerate(SETTINGS.items()):
            for seed in seeds:
                known = know(model, damaged(frames, setting, seed))
                false = 0.0
                for column, mode in enumerate(MODES):
                    found = list(every_detection(model.engines, known, mode, model.reference_frames))
                    right, best, wrong = _judge(found, label, boxes)
                    if mode == "frozen":
                        false = float((wrong >= THRESHOLD).sum())
                    threshold = _score_of(wrong, int(false))
                    value = 100 * float((right > threshold).mean()), 100 * float(best.mean())
                    values.setdefault((row, column), []).append(value)
    shape = (len(SETTINGS), len(MODES), 2)
    return np.array([np.mean(values[place], 0) for place in sorted(values)]).reshape(shape)


def _judge(
    found: Sequence[tuple[Box, Box, npt.NDArray[np.int64]]], label: int, boxes: Sequence[Box]
) -> tuple[Box, npt.NDArray[np.bool_], Box]:
    """Best score of the right class on the object, whether the best one there is right, other scores."""
    right, best, wrong = [], [], [np.zeros(0, np.float32)]
    for (places, scores, labels), box in zip(found, boxes, strict=True):
        on = box_iou(places, box[None])[:, 0] >= 0.5 if len(places) else np.zeros(0, np.bool_)
        mine = on & (labels == label)
        right.append(scores[mine].max(initial=0))
        best.append(bool(on.any()) and right[-1] >= scores[on].max())
        # What lies elsewhere may be there: it is not labelled.
        wrong.append(scores[on & (labels != label)])
    return np.array(right, np.float32), np.array(best), np.concatenate(wrong)


def _score_of(wrong: Box, count: int) -> float:
    """The score that `count` of the wrong detections exceed."""
    ranked = np.sort(wrong)[::-1]
    return float(ranked[count]) if count < len(ranked) else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", type=bundle_folder, nargs="+")
    parser.add_argument("--sources", type=Path, required=True)
    given = parser.parse_args()
    found = np.array([measure(open_model(path, ModelOptions()), given.sources) for path in given.models])
    print("| setting | mode | found | class |")
    print("|---|---|---|---|")
    for row, setting in enumerate(SETTINGS):
        for column, mode in enumerate(MODES):
            mean, spread = found[:, row, column].mean(0), found[:, row, column].std(0)
            print(
                f"| {setting} | {mode} | {mean[0]:.1f} ± {spread[0]:.1f} | {mean[1]:.1f} ± {spread[1]:.1f} |"
            )


if __name__ == "__main__":
    main()
