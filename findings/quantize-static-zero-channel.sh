#!/bin/sh
# quantize_static loses the bias of an output channel whose weights are all zero.
#
# Ground: runtimes
# Versions: onnxruntime 1.32.0, onnx 1.23.2; QDQ, per channel, uint8 activations and int8 weights.
# Behaviour: a channel of zeros gets the weight scale 1.0. The bias is stored as int32 in steps of input scale
# times weight scale, so its step becomes the input's scale. For an input of bytes (0 to 255) that step is
# 1.0, and every bias below a half is rounded to nothing.
# Seen: biases 0.4 and 0.4, the second channel's weights zero. In int8 the first gives 0.4 within a step, the
# second 0.0.
# A good guess is wrong because a zero weight is exact in any scale, so its scale seems free; and pruned or
# never used channels are ordinary in trained weights.
# Product: its own quantisation gives each channel a scale that can hold the bias
# (export/selsa_export/int8/graph.py,
# tests/export/test_quantize_graph.py::test_a_channel_without_weights_keeps_its_bias).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$env/bin/python" - <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper, parser
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

rng = np.random.default_rng(0)
model = parser.parse_model("""
<ir_version: 10, opset_import: ["": 18]>
layer (float[1,3,4,4] x) => (float[1,2,4,4] y) { y = Conv(x, w, b) }
""")
weights = np.zeros((2, 3, 1, 1), np.float32)
weights[0] = 0.001
model.graph.initializer.extend([
    numpy_helper.from_array(weights, "w"),
    numpy_helper.from_array(np.array([0.4, 0.4], np.float32), "b"),
])
onnx.save(model, "float.onnx")
frames = [rng.integers(0, 256, (1, 3, 4, 4)).astype(np.float32) for _ in range(4)]
frames[0][0, 0, 0, :2] = 0, 255


class Frames(CalibrationDataReader):
    def __init__(self):
        self.left = iter(frames)

    def get_next(self):
        frame = next(self.left, None)
        return None if frame is None else {"x": frame}


quantize_static(
    "float.onnx", "int8.onnx", Frames(), quant_format=QuantFormat.QDQ, per_channel=True,
    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
)
stored = {each.name: numpy_helper.to_array(each) for each in onnx.load("int8.onnx").graph.initializer}
session = onnxruntime.InferenceSession("int8.onnx", providers=["CPUExecutionProvider"])
y = session.run(None, {"x": np.zeros((1, 3, 4, 4), np.float32)})[0]
print("weight scales", stored["w_scale"], "biases", stored["b_quantized"], "of a black frame:", y[0, :, 0, 0])
assert stored["w_scale"][1] == 1
assert abs(y[0, 0].mean() - 0.4) < 0.01
assert y[0, 1].max() < 0.01
PY
