#!/bin/sh
# A row of Attention masked with the lowest float32 is 0 in ONNX Runtime and the mean of all values in
# OpenVINO.
#
# Ground: runtimes
# Versions: onnxruntime 1.32.0, openvino 2026.4.1, onnx 1.23.2 (its reference evaluator), Attention of opset
# 23.
# Behaviour: a float mask is added to the scores. A query row with -inf everywhere gives 0 in all three, as
# the standard asks. With np.finfo(float32).min, the usual finite stand-in, ONNX Runtime gives 0 too; OpenVINO
# and the reference give the mean over all keys, the masked ones. With -1e30 all three give the mean.
# Seen: values 1, 2, 6; row masked with -inf: 0, 0, 0; with finfo.min: 0 (ONNX Runtime), 3 (OpenVINO), 3
# (reference); with -1e30: 3, 3, 3.
# A good guess is wrong because finfo.min and -1e30 look like two ways to write the same mask, and they agree
# in every row that has one unmasked key.
# Product: masked scores are -1e30 in plain operators of opset 18, where every runtime gives the mean; what is
# computed for rows that are no proposals is never read (export/selsa_export/graphs/stages.py,
# tests/export/test_graph_parts.py).
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
from onnx.reference import ReferenceEvaluator

model = parser.parse_model("""
<ir_version: 10, opset_import: ["": 23]>
attend (float[1,1,1,2] q, float[1,1,3,2] k, float[1,1,3,1] v, float[1,3] mask) => (float[1,1,1,1] y)
{ y = Attention(q, k, v, mask) }
""")
data = model.SerializeToString()
session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
core = openvino.Core()
compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
reference = ReferenceEvaluator(model)
feeds = {
    "q": np.zeros((1, 1, 1, 2), np.float32),
    "k": np.zeros((1, 1, 3, 2), np.float32),
    "v": np.array([1, 2, 6], np.float32).reshape(1, 1, 3, 1),
}
found = {}
for name, fill in (("-inf", -np.inf), ("lowest", np.finfo(np.float32).min), ("-1e30", -1e30)):
    feeds["mask"] = np.full((1, 3), fill, np.float32)
    answers = session.run(None, feeds)[0], compiled(feeds)[0], reference.run(None, feeds)[0]
    found[name] = [round(float(answer.item()), 4) for answer in answers]
    print(f"{name}: onnxruntime {found[name][0]}, openvino {found[name][1]}, reference {found[name][2]}")
assert found["-inf"] == [0, 0, 0]
assert found["lowest"] == [0, 3, 3]
assert found["-1e30"] == [3, 3, 3]
PY
