#!/bin/sh
# The same int8 graph gives other boxes in OpenVINO on a processor without VNNI, with AVX2 and with AVX-512.
#
# Ground: runtimes
# Versions: openvino 2026.4.1 on the CPU, onnxruntime 1.32.0 (quantize_static, QDQ, per channel).
# ONEDNN_MAX_CPU_ISA limits the instructions of a new process; a processor with VNNI is needed to see both
# sides.
# Behaviour: without VNNI, two products of an unsigned and a signed byte are added in 16 bits and saturate. A
# network in the style of NanoDet (1x1 and depthwise convolutions, channel shuffle, box distances as the mean
# of a softmax over eight bins) then gives other distances, without an error. With reduce_range = True
# (weights within +-64) nothing saturates.
# Seen, mean difference from the graph as written, in bins: AVX2 0.11, AVX-512 0.11, VNNI 0.000, AMX 0.000;
# with reduce_range, AVX2 0.000.
# A good guess is wrong because int8 arithmetic is exact and is expected to be the same everywhere, and
# because AVX-512 is newer than AVX2 and still saturates.
# Product: int8 is refused on processors without VNNI or AMX (server/selsa_bundle/runtimes/host.py,
# tests/server/bundle/runtimes/test_runtimes_choice.py), and the gate compares each runtime with stored
# outputs before it serves (server/selsa_bundle/gate, tests/server/bundle/runtimes/test_runtimes_gate.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1
"$env/bin/python" - <<'PY'
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

cpu = Path("/proc/cpuinfo").read_text() if platform.system() == "Linux" else ""
if not {"avx512_vnni", "avx_vnni"} & set(cpu.split()):
    print("skipped: this processor has no VNNI to compare with")
    sys.exit(77)

rng = np.random.default_rng(0)
nodes, constants = [], []


def convolve(x, y, ins, outs, size=1, groups=1, leaky=True):
    scale = 1.4 / np.sqrt(ins // groups * size * size)
    weights = rng.standard_normal((outs, ins // groups, size, size)) * scale
    constants.append(numpy_helper.from_array(weights.astype(np.float32), y + ".w"))
    end = y + ".c" if leaky else y
    nodes.append(helper.make_node("Conv", [x, y + ".w"], [end], y, group=groups, pads=[size // 2] * 4))
    if leaky:
        nodes.append(helper.make_node("LeakyRelu", [end], [y], y + ".act", alpha=0.1))


def put(kind, ins, outs, **more):
    nodes.append(helper.make_node(kind, ins, outs, outs[0] + kind, **more))


def whole(name, *values):
    constants.append(numpy_helper.from_array(np.array(values), name))
    return name


C, x = 32, "stem"
convolve("x", x, 3, 2 * C, 3)
for y in ("u1", "u2", "u3"):
    put("Split", [x], [y + "l", y + "r"], axis=1, num_outputs=2)
    convolve(y + "r", y + "1", C, C)
    convolve(y + "1", y + "2", C, C, 3, groups=C, leaky=False)
    convolve(y + "2", y + "3", C, C)
    put("Concat", [y + "l", y + "3"], [y + "k"], axis=1)
    put("Reshape", [y + "k", whole(y + "g", 1, 2, C, 16, 16)], [y + "a"])
    put("Transpose", [y + "a"], [y + "t"], perm=[0, 2, 1, 3, 4])
    put("Reshape", [y + "t", whole(y + "h", 1, 2 * C, 16, 16)], [y])
    x = y
convolve(x, "bins", 2 * C, 32, leaky=False)
put("Reshape", ["bins", whole("shape", 1, 4, 8, 256)], ["sides"])
put("Softmax", ["sides"], ["share"], axis=2)
constants.append(numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(1, 1, 8, 1), "places"))
put("Mul", ["share", "places"], ["part"])
put("ReduceSum", ["part", whole("axis", 2)], ["distance"], keepdims=0)
graph = helper.make_graph(
    nodes, "nanodet_like",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
    [helper.make_tensor_value_info("distance", TensorProto.FLOAT, [1, 4, 256])], constants,
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), "float.onnx")
frames = [rng.standard_normal((1, 3, 16, 16), np.float32) for _ in range(8)]
np.save("frame.npy", frames[0])


class Frames(CalibrationDataReader):
    def __init__(self):
        self.left = iter(frames)

    def get_next(self):
        frame = next(self.left, None)
        return None if frame is None else {"x": frame}


RUN = """
import sys, numpy, openvino
core = openvino.Core()
compiled = core.compile_model(core.read_model(sys.argv[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
numpy.save("found.npy", compiled({"x": numpy.load("frame.npy")})[0])
"""
plain = onnxruntime.SessionOptions()
plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
found = {}
for reduce in (False, True):
    quantize_static("float.onnx", "int8.onnx", Frames(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=reduce)
    written = onnxruntime.InferenceSession("int8.onnx", plain, providers=["CPUExecutionProvider"])
    exact = written.run(None, {"x": frames[0]})[0]
    for isa in ("AVX2", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_AMX"):
        if isa.startswith("AVX512") and "avx512_vnni" not in cpu or "AMX" in isa and "amx_int8" not in cpu:
            continue
        subprocess.run([sys.executable, "-c", RUN, "int8.onnx"], env=os.environ | {"ONEDNN_MAX_CPU_ISA": isa}, check=True)
        found[reduce, isa] = np.abs(np.load("found.npy") - exact).mean()
        print(f"reduce_range={reduce} {isa}: {found[reduce, isa]:.4f} bins from the graph as written")
for (reduce, isa), difference in found.items():
    if not reduce and isa in ("AVX2", "AVX512_CORE"):
        assert difference > 0.05, isa
    else:
        assert difference < 0.01, isa
PY
