#!/bin/sh
# pycocotools never counts the annotation with id 0 as found.
#
# Ground: evaluation
# Versions: pycocotools 2.0.11, COCOeval for boxes.
# Behaviour: COCOeval stores the id of the matched annotation for each detection, and 0 also means "no match".
# A perfect detection of annotation 0 becomes a false positive.
# Seen: two objects found exactly. Ids 1 and 2: AP50 1.0. Ids 0 and 1: 0.252. Id 0 alone: 0.0.
# A good guess is wrong because everything else in the file may count from 0, and a loss of one object in
# thousands is not noticed.
# Product: ids are written from 1 (training/selsa_training/evaluation/metrics/coco.py,
# client/selsa_client/formats; tests/training/evaluation/test_evaluation.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check pycocotools==2.0.11 numpy==2.4.6
"$env/bin/python" - <<'PY'
import contextlib
import io

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def ap50(ids):
    boxes = [[20 * place, 0, 10, 10] for place in range(len(ids))]
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": 1, "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": each, "image_id": 1, "category_id": 1, "bbox": box, "area": 100, "iscrowd": 0}
            for each, box in zip(ids, boxes)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes([{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9} for box in boxes])
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return round(float(evaluation.stats[1]), 3)


values = ap50([1, 2]), ap50([0, 1]), ap50([0])
print("ids 1 2:", values[0], "ids 0 1:", values[1], "id 0:", values[2])
assert values == (1.0, 0.252, 0.0)
PY
