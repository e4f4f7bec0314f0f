#!/bin/sh
# ONNX Runtime's session.x64quantprecision also replaces the fast int8 kernels of processors that have VNNI.
#
# Ground: runtimes
# Versions: onnxruntime 1.32.0 on the CPU (x86-64), QDQ of opset 13.
# Behaviour: the option is for processors whose products of bytes saturate: "x64 SSE4.1/AVX2/AVX512(with no
# VNNI)" in its description. It turns int8 weights into uint8, for which there are exact and slower kernels. It
# asks whether the processor has two sets of kernels, not whether one saturates, so it acts with VNNI and AMX
# too. Only weights within -64 to 64, whose products cannot saturate, are left as they are.
# Seen on a processor with AVX-512 VNNI and AMX: weights up to 127 are uint8 with zero point 128 in the optimised
# graph, weights up to 64 stay int8. A detector with weights up to 127 took 2.3 times as long with the option.
# A good guess is wrong because a setting that is meant for older processors looks safe to set everywhere. The
# results are the same on newer ones; only the time tells.
# Product: int8 weights have 7 bits, which is exact on all processors without the option
# (export/selsa_export/int8/graph.py,
# tests/export/test_quantize_graph.py::test_two_products_fit_into_sixteen_bits); the measurement is
# `python -m benchmarks.speed.int8_weights`.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$env/bin/python" - <<'PY'
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper, parser

cpuinfo = Path("/proc/cpuinfo")
flags = set(cpuinfo.read_text().split()) if cpuinfo.is_file() else set()
if not flags & {"avx512_vnni", "avx_vnni"}:
    print("skipped: this processor has neither avx512_vnni nor avx_vnni")
    sys.exit(77)
print("processor:", *sorted(flags & {"avx2", "avx_vnni", "avx512_vnni", "amx_int8"}))
rng = np.random.default_rng(0)
x = rng.normal(0, 2, (1, 8, 8, 8)).astype(np.float32)
kinds, outputs = {}, {}
for largest in (64, 127):
    weights = [largest, -largest, *rng.integers(-largest, largest + 1, 8 * 8 - 2)]
    model = parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": 13]>
    layer (float[1,8,8,8] x) => (float[1,8,8,8] y)
    <float s = {{0.05}}, uint8 z = {{128}}, float ws = {{0.01}}, int8 wz = {{0}},
     int8[8,8,1,1] w = {{{", ".join(str(each) for each in weights)}}}>
    {{ xq = QuantizeLinear(x, s, z) xd = DequantizeLinear(xq, s, z) wd = DequantizeLinear(w, ws, wz)
       c = Conv(xd, wd) cq = QuantizeLinear(c, s, z) y = DequantizeLinear(cq, s, z) }}
    """).SerializeToString()
    for value in ("0", "1"):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", value)
        options.optimized_model_filepath = "optimised.onnx"
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        outputs[largest, value] = session.run(None, {"x": x})[0]
        constants = [numpy_helper.to_array(each) for each in onnx.load("optimised.onnx").graph.initializer]
        kinds[largest, value] = next(str(each.dtype) for each in constants if each.size == len(weights))
        print(f"weights up to {largest}, x64quantprecision {value}: {kinds[largest, value]}")
assert kinds == {(64, "0"): "int8", (64, "1"): "int8", (127, "0"): "int8", (127, "1"): "uint8"}
assert all(np.array_equal(outputs[largest, "0"], outputs[largest, "1"]) for largest in (64, 127))
PY
