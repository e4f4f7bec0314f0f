"""The families of models: the detector of each configuration."""

from typing import Annotated, Any

import torch
from pydantic import Discriminator, Tag

from selsa_training.config import ModelConfig
from selsa_training.everyday.config import EverydayConfig
from selsa_training.everyday.detector import EverydayDetector
from selsa_training.model.detector import SelsaDetector, build_detector
from selsa_training.model.tensor_shapes import Shape, expected_shapes

AnyDetector = SelsaDetector | EverydayDetector


def _family(value: Any) -> str:
    """The family of a configuration. Old ones do not name it: there was only one."""
    family = value.get("family", "faster-rcnn") if isinstance(value, dict) else value.family
    return str(family)


AnyConfig = Annotated[
    Annotated[ModelConfig, Tag("faster-rcnn")] | Annotated[EverydayConfig, Tag("one-stage")],
    Discriminator(_family),
]


def build_any(config: ModelConfig | EverydayConfig) -> AnyDetector:
    """The detector of a configuration, with new weights, in training mode."""
    return EverydayDetector(config) if isinstance(config, EverydayConfig) else build_detector(config)


def shapes_of(config: ModelConfig | EverydayConfig) -> dict[str, Shape]:
    """Name and shape of every tensor in a checkpoint of this configuration."""
    if isinstance(config, ModelConfig):
        return expected_shapes(config)
    with torch.device("meta"):
        return {name: tuple(each.shape) for name, each in EverydayDetector(config).state_dict().items()}
