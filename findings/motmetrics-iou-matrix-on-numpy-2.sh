#!/bin/sh
# motmetrics installs beside numpy 2 and its iou_matrix cannot run there.
#
# Ground: evaluation
# Versions: motmetrics 1.4.0, numpy 2.4.6.
# Behaviour: the package allows any numpy. iou_matrix calls np.asfarray, which numpy 2 removed;
# norm2squared_matrix works. A distance matrix made elsewhere works in MOTAccumulator.
# Seen: AttributeError: "`np.asfarray` was removed in the NumPy 2.0 release"; with a matrix of one's own MOTA
# is 1.0.
# A good guess is wrong because import and installation succeed, and the accumulator, which most examples
# show, works.
# Product: docs/formats.md names trackeval for rows of the format `mot`.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check motmetrics==1.4.0 numpy==2.4.6
"$env/bin/python" - <<'PY'
import motmetrics
import numpy as np

boxes = np.array([[0.0, 0, 10, 10]])
said = {}
for name in ("iou_matrix", "norm2squared_matrix"):
    try:
        getattr(motmetrics.distances, name)(boxes, boxes)
        said[name] = "works"
    except AttributeError as error:
        said[name] = str(error)
    print(f"{name}: {said[name]}")
assert "np.asfarray" in said["iou_matrix"]
assert said["norm2squared_matrix"] == "works"
accumulator = motmetrics.MOTAccumulator(auto_id=True)
for _ in range(3):
    accumulator.update([1], [7], np.array([[0.0]]))
mota = motmetrics.metrics.create().compute(accumulator, metrics=["mota"], name="scene")["mota"].item()
print("mota", mota)
assert mota == 1
PY
