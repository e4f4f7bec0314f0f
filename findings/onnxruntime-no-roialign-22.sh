#!/bin/sh
# ONNX Runtime has no RoiAlign of opset 22 on the CPU; the one of opset 21 computes the same.
#
# Ground: runtimes
# Versions: onnxruntime 1.32.0, onnx 1.23.2, openvino 2026.4.1.
# Behaviour: opset 22 changed nothing in RoiAlign but its types (bfloat16 was added). ONNX Runtime refuses the
# model when it is loaded; OpenVINO runs it.
# Seen: opset 21 loads; opset 22: "NOT_IMPLEMENTED : Could not find an implementation for RoiAlign(22)",
# though this ONNX Runtime runs models up to opset 26.
# A good guess is wrong because the runtime supports the opset as a whole, and onnx.checker and the converter
# accept the file.
# Product: graphs are written in opset 18 (export/selsa_export/graphs/write.py; tests/export/test_export.py
# loads them in ONNX Runtime).
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
from onnx import checker, parser

feeds = {
    "map": np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8),
    "box": np.array([[1, 1, 5, 5]], np.float32),
    "image": np.zeros(1, np.int64),
}
core = openvino.Core()
said = {}
for opset in (21, 22):
    model = parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": {opset}]>
    pool (float[1,1,8,8] map, float[1,4] box, int64[1] image) => (float[1,1,1,1] pooled)
    {{ pooled = RoiAlign<sampling_ratio: int = 2>(map, box, image) }}
    """)
    checker.check_model(model)
    data = model.SerializeToString()
    try:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        said[opset] = session.run(None, feeds)[0].item()
    except Exception as error:
        said[opset] = str(error)
    said[opset, "openvino"] = core.compile_model(core.read_model(data), "CPU")(feeds)[0].item()
    print(opset, said[opset], said[opset, "openvino"])
assert isinstance(said[21], float)
assert "RoiAlign(22)" in said[22]
assert said[21, "openvino"] == said[22, "openvino"]
PY
