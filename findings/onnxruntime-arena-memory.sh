#!/bin/sh
# Switching ONNX Runtime's memory arena off makes a process larger, not smaller, when frame sizes vary.
#
# Ground: runtimes
# Versions: onnxruntime 1.32.0 on the CPU, glibc's malloc (Linux); memory patterns off in all runs.
# Behaviour: six 3x3 convolutions on frames of 24 sizes. Without the arena each result is allocated and freed
# for itself, and the freed blocks of changing sizes stay in the process. With MALLOC_MMAP_THRESHOLD_=65536
# they go back to the system, and the process is the smallest. The arena with one call of
# memory.enable_memory_arena_shrinkage comes near that.
# Seen, resident memory above the loaded model in MB: arena 150, no arena 240 to 290, arena after shrinkage 30
# to 50, no arena with the threshold 1.
# A good guess is wrong because the arena is described as what trades memory for time.
# Product: the arena stays on and is shrunk from time to time if sizes changed (_ArenaTrim in
# server/selsa_bundle/runtimes/onnx.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$env/bin/python" - <<'PY'
import os
import platform
import subprocess
import sys

if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
    print("skipped: the figures are about glibc's malloc")
    sys.exit(77)
RUN = """
import sys
import numpy as np, onnxruntime
from onnx import helper, numpy_helper, TensorProto

def resident():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) // 1024

nodes, constants, x, channels = [], [], "x", 3
for i in range(6):
    weights = np.full((64, channels, 3, 3), 0.01, np.float32)
    constants.append(numpy_helper.from_array(weights, f"w{i}"))
    nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"y{i}"], pads=[1] * 4, strides=[2 if i == 0 else 1] * 2))
    x, channels = f"y{i}", 64
nodes.append(helper.make_node("GlobalAveragePool", [x], ["y"]))
graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
                          [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64, 1, 1])], constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
options.enable_mem_pattern = False
options.enable_cpu_mem_arena = sys.argv[1] != "no-arena"
session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
before = resident()
for k in range(24):
    frame = np.zeros((1, 3, 16 * (20 + 7 * k % 24), 16 * (36 + 11 * k % 30)), np.float32)
    session.run(None, {"x": frame})
if sys.argv[1] == "shrink":
    once = onnxruntime.RunOptions()
    once.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    session.run(None, {"x": np.zeros((1, 3, 320, 320), np.float32)}, once)
print(resident() - before)
"""
plain = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
grown = {}
for name, way, more in (("arena", "arena", {}), ("no arena", "no-arena", {}), ("arena, shrunk", "shrink", {}),
                        ("no arena, threshold", "no-arena", {"MALLOC_MMAP_THRESHOLD_": "65536"})):
    done = subprocess.run([sys.executable, "-c", RUN, way], env=plain | more, check=True, capture_output=True, text=True)
    grown[name] = int(done.stdout)
    print(f"{name}: {grown[name]} MB more than the loaded model")
assert grown["no arena"] > 1.3 * grown["arena"]
assert grown["arena, shrunk"] < 0.5 * grown["arena"]
assert grown["no arena, threshold"] < 0.5 * grown["arena"]
PY
