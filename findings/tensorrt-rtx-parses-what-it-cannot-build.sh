#!/bin/sh
# TensorRT-RTX's ONNX parser accepts operators that its builder then cannot build.
#
# Ground: runtimes
# Versions: tensorrt-rtx 1.7.1.116, onnx 1.23.2; built for SM 89 on a machine without a GPU.
# Behaviour: TopK of more than 3,840, NonMaxSuppression, and Attention (opset 23) in float32 pass
# parser.parse() and fail in build_serialized_network(). Attention in float16 builds. NonZero is refused by
# the parser.
# Seen: TopK of 3,840 builds, of 3,841: "K exceeds the maximum value allowed (3840)". NonMaxSuppression: "no
# runners that implement it". Attention float32: "not supported by a dedicated kernel".
# A good guess is wrong because parse() is where other limits are reported, and a script that only parses
# reports the model as supported.
# Product: native graphs use TopK in passes, a suppression loop and attention in plain operators
# (export/selsa_export/graphs/operators.py, native_suppression.py), and tests build both engines, not
# only parse them (tests/export/test_tensorrt_engines.py).
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


class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.said = []

    def log(self, severity, message):
        if severity <= trt.ILogger.ERROR:
            self.said.append(message)


def outcome(opset, text):
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> g {text}')
    checker.check_model(model)
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    if not trt.OnnxParser(network, log).parse(model.SerializeToString()):
        return "parse fails", log.said
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    built = builder.build_serialized_network(network, config) is not None
    return "builds" if built else "build fails", log.said


TOP = "(float[1,8000] x) => (float[1,{0}] v, int64[1,{0}] i) <int64[1] k = {{{0}}}> {{ v, i = TopK(x, k) }}"
ATTEND = "({0}[1,2,8,16] q, {0}[1,2,8,16] k, {0}[1,2,8,16] v) => ({0}[1,2,8,16] y) {{ y = Attention(q, k, v) }}"
CASES = {
    "TopK 3840": ("builds", 18, TOP.format(3840)),
    "TopK 3841": ("build fails", 18, TOP.format(3841)),
    "NonMaxSuppression": ("build fails", 18, "(float[1,8,4] b, float[1,1,8] s) => (int64[n,3] y) "
                          "<int64[1] k = {5}, float[1] t = {0.5}> { y = NonMaxSuppression(b, s, k, t) }"),
    "Attention float32": ("build fails", 23, ATTEND.format("float")),
    "Attention float16": ("builds", 23, ATTEND.format("float16")),
    "NonZero": ("parse fails", 18, "(float[4,4] x) => (int64[2,n] y) { y = NonZero(x) }"),
}
for name, (expected, opset, text) in CASES.items():
    found, said = outcome(opset, text)
    print(f"{name}: {found}", *[line.strip()[:110] for line in said[:1]])
    assert found == expected, name
PY
