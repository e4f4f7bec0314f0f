#!/bin/sh
# In front of a quantised convolution, ONNX Runtime normalises frames with channels last, which takes sixteen
# times as long.
#
# Ground: runtimes
# Versions: onnxruntime 1.32.0 on the CPU, QDQ of opset 18, all graph optimisations.
# Behaviour: Transpose to channels first, Sub, Div, QuantizeLinear, Conv. The integer convolution wants channels
# last, so the optimiser moves the Transpose behind the Sub and the Div and cancels it against the convolution's
# own. Sub and Div then broadcast three values along an innermost axis of length 3, which the kernels do three
# floats at a time. With channels first they take a whole plane for each value.
# Seen: Cast, Sub, Div, QuantizeLinear, QLinearConv, with no Transpose in front of the convolution. For a frame
# of 256x416, Sub and Div take 3.2 ms instead of 0.2 ms, on one thread. A Reshape to the same sizes,
# [0, 0, 0, -1], in front of QuantizeLinear keeps the Transpose before Sub; the outputs are equal bit for bit.
# A good guess is wrong because a graph with two Transposes fewer looks like the better one, and because the
# same optimiser leaves the Transpose of the float graph, whose convolution is not quantised, where it was.
# Product: int8 graphs have that Reshape (export/selsa_export/int8/graph.py,
# tests/export/test_quantize_graph.py::test_frames_are_normalised_with_channels_first).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$env/bin/python" - <<'PY'
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import parser

rng = np.random.default_rng(0)
weights = ", ".join(str(each) for each in rng.integers(-63, 64, 8 * 3 * 3 * 3))
frames = rng.integers(0, 256, (1, 256, 416, 3), dtype=np.uint8)
QUANTISED = """q = QuantizeLinear(n, s, z) a = DequantizeLinear(q, s, z) k = DequantizeLinear(w, ws, wz)
               c = Conv<pads: ints = [1,1,1,1]>(a, k) cq = QuantizeLinear(c, s, z) y = DequantizeLinear(cq, s, z)"""
IN_FLOAT = "k = DequantizeLinear(w, ws, wz) y = Conv<pads: ints = [1,1,1,1]>(n, k)"
order, milliseconds, outputs = {}, {}, {}
for name, middle, rest in (
    ("float", "n = Identity(d)", IN_FLOAT),
    ("int8", "n = Identity(d)", QUANTISED),
    ("int8 with Reshape", "n = Reshape(d, same)", QUANTISED),
):
    model = parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": 18]>
    detector (uint8[1,256,416,3] frames) => (float[1,8,256,416] y)
    <float[1,3,1,1] mean = {{123.0, 116.0, 103.0}}, float[1,3,1,1] deviation = {{58.0, 57.0, 56.0}},
     int64[4] same = {{0, 0, 0, -1}}, float s = {{0.02}}, uint8 z = {{114}}, int8[8,3,3,3] w = {{{weights}}},
     float ws = {{0.01}}, int8 wz = {{0}}>
    {{ t = Transpose<perm: ints = [0,3,1,2]>(frames) f = Cast<to: int = 1>(t)
       b = Sub(f, mean) d = Div(b, deviation) {middle} {rest} }}
    """)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = "optimised.onnx"
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for _ in range(30):
        outputs[name] = session.run(None, {"frames": frames})[0]
    events = json.loads(Path(session.end_profiling()).read_text())
    milliseconds[name] = sum(
        min(e["dur"] for e in events if e.get("args", {}).get("op_name") == kind and "kernel" in e["name"])
        for kind in ("Sub", "Div")
    ) / 1000
    order[name] = [node.op_type for node in onnx.load("optimised.onnx").graph.node]
    print(f"{name}: Sub and Div {milliseconds[name]:.2f} ms;", *order[name])


def transpose_before(name, kind):
    return "Transpose" in order[name][: order[name].index(kind)]


assert transpose_before("float", "Sub")
assert not transpose_before("int8", "QLinearConv")
assert transpose_before("int8 with Reshape", "Sub")
assert np.array_equal(outputs["int8"], outputs["int8 with Reshape"])
assert milliseconds["int8"] > 2 * milliseconds["int8 with Reshape"]
PY
