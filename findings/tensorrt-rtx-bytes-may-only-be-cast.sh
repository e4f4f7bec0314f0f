#!/bin/sh
# TensorRT-RTX takes a uint8 input if a Cast is the first thing that happens to it, and refuses a Transpose
# before it.
#
# Ground: runtimes
# Versions: tensorrt-rtx 1.7.1.116, onnx 1.23.2; no GPU needed.
# Behaviour: Cast then Transpose is accepted, Transpose then Cast is refused, though a Transpose computes
# nothing. QuantizeLinear with a zero point other than 0 is refused as well.
# Seen: "first input has type UInt8 but must have type Float, Half, BFloat16, FP8, ...". ONNX Runtime runs
# both orders.
# A good guess is wrong because moving bytes before the cast moves a quarter of the memory, and exporters do
# that for frames in HWC order.
# Product: native graphs cast bytes to float first (export/selsa_export/graphs/stages.py), int8 for TensorRT
# has no offsets (export/selsa_export/int8/native.py); tests/export/test_tensorrt_engines.py builds both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check onnx==1.23.2 tensorrt-rtx==1.7.1.116
"$env/bin/python" - <<'PY'
import sys

try:
    import tensorrt_rtx as trt
except (ImportError, OSError) as error:
    print("skipped: TensorRT-RTX does not load here:", error)
    sys.exit(77)
from onnx import checker, parser


def parses(text):
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": 19]> g {text}')
    checker.check_model(model)
    log = trt.Logger(trt.Logger.INTERNAL_ERROR)
    network = trt.Builder(log).create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    reader = trt.OnnxParser(network, log)
    found = reader.parse(model.SerializeToString())
    print(found, *[reader.get_error(i).desc()[:120] for i in range(reader.num_errors)])
    return found


FRAME = "(uint8[1,8,8,3] x) => (float[1,3,8,8] y)"
assert parses(FRAME + "{ f = Cast<to: int = 1>(x) y = Transpose<perm: ints = [0, 3, 1, 2]>(f) }")
assert not parses(FRAME + "{ t = Transpose<perm: ints = [0, 3, 1, 2]>(x) y = Cast<to: int = 1>(t) }")
QDQ = "(float[4] x) => (float[4] y) <float s = {{0.1}}, {0} z = {{{1}}}> {{ q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }}"
assert parses(QDQ.format("int8", 0))
assert not parses(QDQ.format("uint8", 128))
PY
