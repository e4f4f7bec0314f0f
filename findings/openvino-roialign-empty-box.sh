#!/bin/sh
# OpenVINO's RoiAlign gives NaN for a box without area if the sampling ratio is adaptive.
#
# Ground: runtimes
# Versions: openvino 2026.4.1 on the CPU, onnxruntime 1.32.0, RoiAlign of opset 16 (half_pixel, its default).
# Behaviour: sampling_ratio 0 means "as many samples as the bin has pixels", which is none for an empty box.
# ONNX Runtime answers 0, OpenVINO 0/0. With a fixed ratio both agree.
# Seen: ratio 0: ONNX Runtime 0, OpenVINO NaN. Ratio 2: both 27, the value of the map at that point.
# A good guess is wrong because empty boxes are ordinary: a detector pads its proposals with them. One NaN row
# then spoils attention over all rows, since a weight of 0 times NaN is NaN.
# Product: a recipe's sampling ratio is at least 1 (training/selsa_training/config.py), and rows of proposals
# without area are finite in OpenVINO
# (tests/server/bundle/runtimes/test_runtimes_openvino.py::test_rows_that_are_no_proposals_are_finite).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1
"$env/bin/python" - <<'PY'
import numpy as np
import onnxruntime
import openvino
from onnx import parser

feeds = {
    "map": np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8),
    "box": np.array([[3.5, 3.5, 3.5, 3.5]], np.float32),
    "image": np.zeros(1, np.int64),
}
core = openvino.Core()
found = {}
for ratio in (0, 2):
    model = parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": 16]>
    pool (float[1,1,8,8] map, float[1,4] box, int64[1] image) => (float[1,1,1,1] pooled)
    {{ pooled = RoiAlign<sampling_ratio: int = {ratio}>(map, box, image) }}
    """).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    found[ratio] = session.run(None, feeds)[0].item(), compiled(feeds)[0].item()
    print(f"sampling ratio {ratio}: onnxruntime {found[ratio][0]}, openvino {found[ratio][1]}")
assert found[0][0] == 0
assert np.isnan(found[0][1])
assert found[2][0] == found[2][1] == 27
PY
