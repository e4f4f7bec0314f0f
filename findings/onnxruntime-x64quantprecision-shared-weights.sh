#!/bin/sh
# ONNX Runtime's session.x64quantprecision cannot load a model in which two convolutions share their weights
# or only a zero point.
#
# Ground: runtimes
# Versions: onnxruntime 1.32.0 on the CPU (x86-64), QDQ of opset 13.
# Behaviour: the option turns int8 weights into uint8, which is what makes products of bytes exact on
# processors without VNNI. It does so once for each convolution, and the second one finds its new constant
# already there.
# Seen: without the option the model runs; with "1": "AddInitializedOrtValue Attempt to replace the existing
# tensor". With a copy of the weights for each convolution it still fails if both copies name the same zero
# point; with two zero points it loads.
# A good guess is wrong because detectors share a head over all levels of a feature pyramid, and the exporter
# writes the shared weights once.
# Product: int8 is refused on processors without VNNI instead of using the option
# (server/selsa_bundle/runtimes/host.py, tests/server/bundle/runtimes/test_runtimes_choice.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$env/bin/python" - <<'PY'
import platform
import sys

import numpy as np
import onnxruntime
from onnx import parser

if platform.machine() not in ("x86_64", "AMD64"):
    print("skipped: the option is for x86-64 only, this is", platform.machine())
    sys.exit(77)
weights = ", ".join(str(each) for each in np.random.default_rng(0).integers(-127, 128, 64))
CONSTANT = f"int8[8,8,1,1] {{}} = {{{{{weights}}}}}"
said = {}
for shared in ("weights", "zero point", "nothing"):
    second = "w" if shared == "weights" else "w2"
    zero = "wz2" if shared == "nothing" else "wz"
    extra = ", int8 wz2 = {0}" + ("" if shared == "weights" else ", " + CONSTANT.format("w2"))
    model = parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": 13]>
    head (float[1,8,8,8] fine, float[1,8,4,4] coarse) => (float[1,8,8,8] a, float[1,8,4,4] b)
    <float s = {{0.05}}, uint8 z = {{128}}, float ws = {{0.01}}, int8 wz = {{0}}, {CONSTANT.format("w")}{extra}>
    {{ fq = QuantizeLinear(fine, s, z) fd = DequantizeLinear(fq, s, z)
       cq = QuantizeLinear(coarse, s, z) cd = DequantizeLinear(cq, s, z)
       w1d = DequantizeLinear(w, ws, wz) w2d = DequantizeLinear({second}, ws, {zero})
       x = Conv(fd, w1d) xq = QuantizeLinear(x, s, z) a = DequantizeLinear(xq, s, z)
       y = Conv(cd, w2d) yq = QuantizeLinear(y, s, z) b = DequantizeLinear(yq, s, z) }}
    """).SerializeToString()
    for value in ("0", "1"):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", value)
        options.log_severity_level = 4
        try:
            onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            said[shared, value] = "loads"
        except Exception as error:
            said[shared, value] = str(error)
        print(f"shared {shared}, x64quantprecision {value}:", said[shared, value][-90:].strip())
assert {said[shared, "0"] for shared in ("weights", "zero point", "nothing")} == {"loads"}
assert "replace the existing tensor" in said["weights", "1"]
assert "replace the existing tensor" in said["zero point", "1"]
assert said["nothing", "1"] == "loads"
PY
