#!/bin/sh
# ONNX Runtime computes a quantised convolution in float if a ReLU follows and the zero point is not the
# lowest value.
#
# Ground: runtimes
# Versions: onnxruntime 1.32.0 on the CPU, QDQ of opset 13, all graph optimisations.
# Behaviour: Conv, Relu, QuantizeLinear. If the output's zero point is the type's lowest value (0 for uint8,
# -128 for int8), the quantisation makes negatives zero by itself, the Relu is removed and QLinearConv
# remains. With any other zero point, the symmetric int8 of TensorRT and of OpenVINO included, the Relu stays,
# is fused into a float FusedConv, and nothing runs in int8.
# Seen: uint8 with zero point 0: QLinearConv. int8 with zero point -128: QLinearConv. int8 with zero point 0:
# FusedConv between DequantizeLinear and QuantizeLinear. uint8 with 128: FusedConv. Without Relu: QLinearConv
# in all cases.
# A good guess is wrong because the model is right, smaller and says int8 at every node; only its time tells.
# Product: two int8 graphs are written, uint8 with fitted zero points for CPUs and int8 without offsets for
# TensorRT (export/selsa_export/int8/graph.py, native.py, tests/export/test_quantize_native.py), and the
# report measures each one's speed (precisions.json).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$env/bin/python" - <<'PY'
from collections import Counter

import numpy as np
import onnx
import onnxruntime
from onnx import parser

rng = np.random.default_rng(0)
weights = ", ".join(str(each) for each in rng.integers(-127, 128, 8 * 8))
scales, zeros = ", ".join(["0.01"] * 8), ", ".join(["0"] * 8)
EXPECTED = {
    ("uint8", 0, True): "QLinearConv",
    ("int8", -128, True): "QLinearConv",
    ("int8", 0, True): "FusedConv",
    ("uint8", 128, True): "FusedConv",
    ("int8", 0, False): "QLinearConv",
    ("uint8", 128, False): "QLinearConv",
}
for (kind, zero, relu), expected in EXPECTED.items():
    middle = "c = Conv(xd, wd) r = Relu(c)" if relu else "r = Conv(xd, wd)"
    model = parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": 13]>
    layer (float[1,8,8,8] x) => (float[1,8,8,8] y)
    <float s = {{0.05}}, {kind} z = {{{zero}}}, int8[8,8,1,1] w = {{{weights}}},
     float[8] ws = {{{scales}}}, int8[8] wz = {{{zeros}}}>
    {{ xq = QuantizeLinear(x, s, z) xd = DequantizeLinear(xq, s, z)
       wd = DequantizeLinear<axis: int = 0>(w, ws, wz)
       {middle}
       yq = QuantizeLinear(r, s, z) y = DequantizeLinear(yq, s, z) }}
    """)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = "optimised.onnx"
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = Counter(node.op_type for node in onnx.load("optimised.onnx").graph.node)
    print(f"{kind} with zero point {zero}, {'Relu' if relu else 'no Relu'}:", dict(nodes))
    assert nodes[expected] == 1
PY
