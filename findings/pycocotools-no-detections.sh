#!/bin/sh
# pycocotools cannot load the results of a detector that found nothing.
#
# Ground: evaluation
# Versions: pycocotools 2.0.11.
# Behaviour: loadRes looks at the first result to see of what kind all are. An empty list, which is valid JSON
# and a valid answer, raises IndexError. A COCO object with an empty list of annotations, made by hand, is
# evaluated: AP 0.
# Seen: "list index out of range"; by hand AP50 0.0.
# A good guess is wrong because a poor model early in training is exactly what is evaluated most.
# Product: the evaluation makes the COCO object by hand (training/selsa_training/evaluation/metrics/coco.py,
# tests/training/evaluation/test_evaluation.py); docs/formats.md warns of loadRes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check pycocotools==2.0.11 numpy==2.4.6
"$env/bin/python" - <<'PY'
import contextlib
import copy
import io

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

truth = COCO()
truth.dataset = {
    "info": {},
    "images": [{"id": 1, "width": 100, "height": 100}],
    "categories": [{"id": 1, "name": "thing"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 0}],
}
with contextlib.redirect_stdout(io.StringIO()):
    truth.createIndex()
    try:
        truth.loadRes([])
        said = "loads"
    except IndexError as error:
        said = str(error)
    nothing = COCO()
    nothing.dataset = copy.deepcopy(truth.dataset) | {"annotations": []}
    nothing.createIndex()
    evaluation = COCOeval(truth, nothing, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
print("loadRes([]):", said, "; by hand, AP50:", evaluation.stats[1])
assert said == "list index out of range"
assert evaluation.stats[1] == 0
PY
