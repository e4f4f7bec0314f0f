"""COCO-style AP through pycocotools, which is what mmtracking reports."""

import contextlib
import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from selsa_training.data.records import DataSet
from selsa_training.evaluation.metrics.detections import Detections

# The first IoU threshold of COCOeval is .5.
AT_50: Final = 0
EVERY_SIZE: Final = ("all", [0, 1e10])
DETECTIONS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoScores:
    """Scores in percent; NaN where there was nothing to find.

    Attributes:
        ap: mean over IoU .5, .55, ... .95 and classes.
        ap50: at IoU .5.
        ap50_by_class: class -> AP at IoU .5.
    """

    ap: float
    ap50: float
    ap50_by_class: dict[str, float]


def evaluate_coco(data: DataSet, detections: Detections) -> CocoScores:
    """Score detections with COCOeval: 101 recall points, at most 100 detections per frame and class.

    Args:
        data: with the objects; ignored ones are crowds.
        detections: what was found, in the frames that were looked at.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_truth(data, detections), _results(detections), "bbox")
        evaluation.params.imgIds = [int(frame) + 1 for frame in detections.frames]
        # Only what is reported: the tables for small, medium and large objects take three times as long.
        evaluation.params.areaRngLbl, evaluation.params.areaRng = [EVERY_SIZE[0]], [EVERY_SIZE[1]]
        evaluation.params.maxDets = [DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    # [IoU, recall, class, area, detections]; -1 where a class has no objects.
    precision = evaluation.eval["precision"][:, :, :, 0, 0]
    return CocoScores(
        ap=_percent(precision),
        ap50=_percent(precision[AT_50]),
        ap50_by_class={name: _percent(precision[AT_50, :, i]) for i, name in enumerate(data.classes)},
    )


def _percent(precision: Any) -> float:
    known = precision[precision > -1]
    return 100 * float(known.mean()) if known.size else float("nan")


def _truth(data: DataSet, detections: Detections) -> COCO:
    annotations = []
    for frame in detections.frames:
        objects = data.objects(int(frame))
        for index, box, label, ignored in zip(
            objects.index, objects.boxes.astype(np.float64), objects.labels, objects.ignored, strict=True
        ):
            width, height = box[2:] - box[:2]
            annotations.append(
                # pycocotools takes id 0 for "not matched" and loses the object.
                {
                    "id": int(index) + 1,
                    "image_id": int(frame) + 1,
                    "category_id": int(label) + 1,
                    "bbox": [box[0], box[1], width, height],
                    "area": width * height,
                    "iscrowd": int(ignored),
                }
            )
    truth = COCO()
    truth.dataset = {
        "images": [{"id": int(frame) + 1} for frame in detections.frames],
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(data.classes)],
        "annotations": annotations,
    }
    truth.createIndex()
    return truth


def _results(detections: Detections) -> COCO:
    # `COCO.loadRes` refuses an empty list; built by hand, no detections are simply a score of 0.
    boxes = detections.boxes.astype(np.float64)
    sizes = boxes[:, 2:] - boxes[:, :2]
    results = COCO()
    results.dataset = {
        "images": [{"id": int(frame) + 1} for frame in detections.frames],
        "categories": [],
        "annotations": [
            {
                "id": row + 1,
                "image_id": int(detections.frame[row]) + 1,
                "category_id": int(detections.labels[row]) + 1,
                "bbox": [*boxes[row, :2], *sizes[row]],
                "area": sizes[row].prod(),
                "score": float(detections.scores[row]),
                "iscrowd": 0,
            }
            for row in range(len(boxes))
        ],
    }
    results.createIndex()
    return results
