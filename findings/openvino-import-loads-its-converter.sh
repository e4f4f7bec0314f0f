#!/bin/sh
# Importing OpenVINO to run a model imports its converter of other frameworks' models and its telemetry too.
#
# Ground: runtimes
# Versions: openvino 2026.4.1.
# Behaviour: openvino/__init__.py imports openvino.tools.ovc for the name convert_model, and that package all of
# its front ends and openvino_telemetry, which brings the modules for HTTP. The import stands in a try for
# ImportError, so that it is left out if sys.modules has None for openvino.tools.ovc.
# Seen: after NumPy, import openvino loads 229 modules. Without the converter it loads 101, the model compiles and
# runs, and only openvino.convert_model is missing. On a busy machine the import took 0.53 s of processor time
# instead of 0.25 to 0.34 s.
# A good guess is wrong because the wheel is the runtime's, read_model takes ONNX files without the converter,
# and no name of the converter appears in a program that runs models.
# Product: OpenVINO is imported without the converter (server/selsa_bundle/runtimes/openvino.py,
# tests/test_architecture.py::test_importing_a_module_does_not_import_what_it_has_no_need_of).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 openvino==2026.4.1
"$env/bin/python" - <<'PY'
import json
import subprocess
import sys
from pathlib import Path

from onnx import parser

model = parser.parse_model("""
<ir_version: 10, opset_import: ["": 18]> twice (float[2] x) => (float[2] y) { y = Add(x, x) }
""")
Path("twice.onnx").write_bytes(model.SerializeToString())
PROGRAM = """
import json, sys
import numpy as np
before = set(sys.modules)
if "without" in sys.argv:
    sys.modules["openvino.tools.ovc"] = None
import openvino as ov
after = {name for name, module in sys.modules.items() if module is not None}
core = ov.Core()
result = core.compile_model(core.read_model("twice.onnx"), "CPU")(np.array([1, 2], np.float32))[0]
print(json.dumps([sorted(after - before), hasattr(ov, "convert_model"), result.tolist()]))
"""
EXTRA = ("openvino.tools.ovc", "openvino_telemetry", "http.client")
seen = {}
for way in ("as it is", "without"):
    done = subprocess.run([sys.executable, "-c", PROGRAM, way], stdout=subprocess.PIPE, check=True, text=True)
    modules, converts, result = json.loads(done.stdout)
    found = [name for name in EXTRA if name in modules]
    seen[way] = found, converts
    print(f"{way}: {len(modules)} modules, with {found or 'none of ' + str(EXTRA)}; convert_model: {converts}")
    assert result == [2, 4]
assert seen == {"as it is": (list(EXTRA), True), "without": ([], False)}
PY
