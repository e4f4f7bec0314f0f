#!/bin/sh
# OpenVINO computes a quantised convolution in float if its weights have a zero point other than 0.
#
# Ground: runtimes
# Versions: openvino 2026.4.1 on the CPU, QDQ of opset 13.
# Behaviour: the same convolution with int8 weights and zero point 0, int8 weights and zero point 3, uint8
# weights and zero point 128. Only the first runs in int8; the others subtract the zero point and convolve in
# float32.
# Seen, from the compiled model's run-time graph: u8, f32, f32.
# A good guess is wrong because uint8 weights with zero point 128 hold the same numbers as int8 with 0, and
# are what some quantisers write for processors without VNNI.
# Product: weights are int8 with zero point 0 (export/selsa_export/int8/nodes.py,
# tests/export/test_quantize_graph.py::test_each_channel_has_one_scale_for_its_largest_weight).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 openvino==2026.4.1
"$env/bin/python" - <<'PY'
import numpy as np
import openvino
from onnx import parser

rng = np.random.default_rng(0)
core = openvino.Core()
found = {}
for kind, zero, low, high in (("int8", 0, -127, 128), ("int8", 3, -127, 128), ("uint8", 128, 1, 256)):
    weights = ", ".join(str(each) for each in rng.integers(low, high, 32 * 32))
    model = parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": 13]>
    layer (float[1,32,16,16] x) => (float[1,32,16,16] y)
    <float s = {{0.05}}, uint8 z = {{128}}, {kind}[32,32,1,1] w = {{{weights}}},
     float[32] ws = {{{", ".join(["0.01"] * 32)}}}, {kind}[32] wz = {{{", ".join([str(zero)] * 32)}}}>
    {{ xq = QuantizeLinear(x, s, z) xd = DequantizeLinear(xq, s, z)
       wd = DequantizeLinear<axis: int = 0>(w, ws, wz)
       c = Conv(xd, wd)
       yq = QuantizeLinear(c, s, z) y = DequantizeLinear(yq, s, z) }}
    """).SerializeToString()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for node in compiled.get_runtime_model().get_ordered_ops():
        told = {key: value.astype(str) for key, value in node.get_rt_info().items() if key in ("layerType", "runtimePrecision")}
        if told["layerType"] == "Convolution":
            found[kind, zero] = told["runtimePrecision"]
    print(f"{kind} weights, zero point {zero}: the convolution runs in {found[kind, zero]}")
assert found == {("int8", 0): "u8", ("int8", 3): "f32", ("uint8", 128): "f32"}
PY
