#!/bin/sh
# timm's output_stride=16 leaves the first block of a ResNet's last stage undilated; detectors of the "DC5"
# kind dilate it.
#
# Ground: models
# Versions: timm 1.0.31, torchvision 0.29.1, torch 2.14.1.
# Behaviour: the stride of stage 4 becomes 1 and its blocks get dilation 2, except the first, as in the paper
# on dilated residual networks; torchvision's replace_stride_with_dilation does the same. mmdetection's ResNet
# with strides (1, 2, 2, 1) and dilations (1, 1, 1, 2) dilates all three, and of a basic block's two
# convolutions only the first, where timm dilates both.
# Seen, dilations of the 3x3 convolutions of stage 4: ResNet-50 1, 2, 2; ResNet-18 (1, 2), (2, 2).
# torchvision's ResNet-50: 1, 2, 2.
# A good guess is wrong because weights fit either way, the shapes are equal and the features look alike; the
# boxes are not the published model's.
# Product: dilations are set block by block (training/selsa_training/model/backbone.py), and tests/exactness
# compares the whole model with the published code.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    av==18.1.0 numpy==2.4.6 timm==1.0.31 torch==2.14.1 torchcodec==0.17.0 torchvision==0.29.1
"$env/bin/python" - <<'PY'
import timm
import torch
import torchvision


def dilations(stage):
    return [
        [part.dilation[0] for part in block.modules() if isinstance(part, torch.nn.Conv2d) and part.kernel_size == (3, 3)]
        for block in stage
    ]


found = {
    name: dilations(timm.create_model(name, pretrained=False, output_stride=16).layer4) for name in ("resnet50", "resnet18")
}
dilated = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, False, True])
found["torchvision"] = dilations(dilated.layer4)
print(found)
assert found["resnet50"] == found["torchvision"] == [[1], [2], [2]]
assert found["resnet18"] == [[1, 2], [2, 2]]
PY
