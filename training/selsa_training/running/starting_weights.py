"""Initial weights of a training."""

from typing import Final

import timm
from torch import nn

from selsa_training.config import BackboneName
from selsa_training.model.backbone import Backbone
from selsa_training.model.detector import SelsaDetector
from selsa_training.recipe.errors import TrainingError
from selsa_training.recipe.recipe import BackboneRecipe

# The published recipes start from torchvision's weights, X-101 from a Caffe2 model not in timm.
IMAGENET: Final[dict[BackboneName, str]] = {
    "resnet18": "resnet18.tv_in1k",
    "resnet50": "resnet50.tv_in1k",
    "resnet101": "resnet101.tv_in1k",
    "resnext101_64x4d": "resnext101_64x4d.tv_in1k",
}
# Standard deviations of the output layers; the others are Xavier-uniform. Source: mmdet 2.28.
SPREAD: Final = {"objectness": 0.01, "rpn.deltas": 0.01, "classes": 0.01, "predictor.deltas": 0.001}


def initialise(detector: SelsaDetector) -> None:
    """Fresh weights for everything but the backbone, from torch's global random state."""
    for name, module in detector.named_modules():
        if name.startswith("backbone") or not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        spread = next((std for ending, std in SPREAD.items() if name.endswith(ending)), None)
        if ".attention." in name:
            # Torch's default, as published. With larger weights the initial softmax would select a single
            # row.
            module.reset_parameters()
            continue
        if spread is not None:
            nn.init.normal_(module.weight, std=spread)
        elif name == "rpn.conv":
            nn.init.normal_(module.weight, std=0.01)
        else:
            nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def load_pretrained_backbone(backbone: Backbone, name: BackboneName, recipe: BackboneRecipe) -> str:
    """Load ImageNet weights through timm; returns a description for the log.

    Raises:
        TrainingError: timm has no such weights for this backbone, or cannot download them.
    """
    wanted = IMAGENET.get(name, "") if recipe.pretrained == "auto" else recipe.pretrained
    if not wanted:
        return "none: trained from scratch"
    try:
        source = timm.create_model(wanted, pretrained=True)
    except Exception as error:  # timm, its hub and its HTTP client share no base
        reason = " ".join(str(error).split())[:300]
        raise TrainingError(
            f"backbone.pretrained: timm cannot provide {wanted!r}: {reason}. Without a network, "
            'put them into its cache beforehand, or train from scratch with --set backbone.pretrained=""'
        ) from error
    theirs, ours = source.state_dict(), backbone.state_dict()
    fitting = {key: theirs[key] for key in ours if key in theirs and theirs[key].shape == ours[key].shape}
    if len(fitting) != len(ours):
        missing = next(key for key in ours if key not in fitting)
        raise TrainingError(
            f"backbone.pretrained: {wanted!r} is no {name}: {missing} is missing or misshapen"
        )
    backbone.load_state_dict(fitting)
    return f"timm {wanted}"


def freeze(detector: SelsaDetector, recipe: BackboneRecipe) -> None:
    """Disable the gradient of the first stages; the stem and stage 1 count as one."""
    for part in _frozen(detector, recipe):
        part.requires_grad_(requires_grad=False)


def training_mode(detector: SelsaDetector, recipe: BackboneRecipe) -> None:
    """Training mode, except for norms that keep their statistics."""
    detector.train()
    kept = [detector.backbone] if recipe.frozen_norm else _frozen(detector, recipe)
    for part in kept:
        for module in part.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def _frozen(detector: SelsaDetector, recipe: BackboneRecipe) -> list[nn.Module]:
    names = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    count = recipe.frozen_stages + 2 if recipe.frozen_stages else 0
    return [detector.backbone.get_submodule(name) for name in names[:count]]
