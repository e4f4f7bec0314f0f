#!/bin/sh
# OpenVINO reads Resize with antialias = 1 and does not antialias.
#
# Ground: runtimes
# Versions: openvino 2026.4.1 on the CPU, onnxruntime 1.32.0, Resize of opset 18.
# Behaviour: linear and cubic, to a quarter of the size. ONNX Runtime averages over the area that a pixel
# covers; OpenVINO computes what antialias = 0 computes, without a warning.
# Seen on noise, linear, the four pixels with antialias = 1: ONNX Runtime 0.54 0.43 0.45 0.57; OpenVINO 0.64
# 0.77 0.35 0.75, which both give with antialias = 0.
# A good guess is wrong because an attribute that a converter cannot honour is usually refused.
# Product: frames are resized outside the graph, by OpenCV (server/selsa_bundle/preprocess.py,
# tests/server/bundle/test_bundle_preprocess.py); docs/precision.md states it for those who add a Resize.
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

x = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
core = openvino.Core()
for mode in ("linear", "cubic"):
    found = {}
    for antialias in (0, 1):
        model = parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 18]>
        shrink (float[1,1,8,8] x) => (float[1,1,2,2] y)
        <float[4] scales = {{1, 1, 0.25, 0.25}}>
        {{ y = Resize<mode: string = "{mode}", antialias: int = {antialias}>(x, , scales) }}
        """).SerializeToString()
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        found["onnxruntime", antialias] = session.run(None, {"x": x})[0].ravel()
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(core.read_model(model), "CPU", settings)
        found["openvino", antialias] = compiled({"x": x})[0].ravel()
    for key, value in found.items():
        print(mode, *key, value.round(3))
    assert np.abs(found["onnxruntime", 1] - found["onnxruntime", 0]).max() > 0.1
    assert np.allclose(found["openvino", 1], found["onnxruntime", 0], atol=1e-5), "antialias did nothing"
PY
