"""Recognise the configuration of a model from the tensors of its checkpoint."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import ValidationError

from selsa_training.checkpoint.errors import TensorsError
from selsa_training.checkpoint.names import published_name
from selsa_training.config import CONFIGS, BackboneName, HeadConfig, ModelConfig
from selsa_training.model.tensor_shapes import RESNETS, Shape, expected_shapes

# No tensor shows the number of attention heads, because they are slices of one projection. Every published
# SELSA configuration has 64 channels per head.
CHANNELS_PER_HEAD: Final = 64

# Tensors that show each width. There are several, so that one misshapen tensor is outvoted and can be named.
NECK: Final = (("neck.conv.weight", 0), ("neck.conv.bias", 0), ("rpn.conv.weight", 1))
RPN: Final = (
    ("rpn.conv.weight", 0),
    ("rpn.conv.bias", 0),
    ("rpn.objectness.weight", 1),
    ("rpn.deltas.weight", 1),
)
WIDTH: Final = (
    ("head.stages.0.fc.weight", 0),
    ("head.stages.0.fc.bias", 0),
    ("predictor.classes.weight", 1),
    ("predictor.deltas.weight", 1),
)
CLASSES: Final = (("predictor.classes.weight", 0), ("predictor.classes.bias", 0))
ANCHORS: Final = (("rpn.objectness.weight", 0), ("rpn.objectness.bias", 0))
STAGE: Final = re.compile(r"head\.stages\.(\d{1,3})\.")


def recognise(shapes: Mapping[str, Shape], *, what: str) -> ModelConfig:
    """The configuration that fits these tensors best; the caller checks whether it fits exactly.

    A configuration of `CONFIGS` keeps its name; another is called after its backbone. Class names are
    `class_0`, `class_1`, ... unless there are as many as the published models have.

    Args:
        shapes: name -> shape.
        what: the beginning of an error message, for example the file's name.

    Raises:
        TensorsError: these are not the tensors of a SELSA model, or the model is not supported.
    """
    classes = _vote(shapes, CLASSES, what) - 1
    width = _vote(shapes, WIDTH, what)
    _check_anchors(shapes, what)
    if width % CHANNELS_PER_HEAD:
        name = published_name(WIDTH[0][0])
        raise TensorsError(f"{what}: {name} has {width} outputs, wanted a multiple of {CHANNELS_PER_HEAD}")
    named = CONFIGS["r50-dc5"].classes
    try:
        config = ModelConfig(
            name="unnamed",
            backbone=_backbone(shapes),
            neck_channels=_vote(shapes, NECK, what),
            rpn_channels=_vote(shapes, RPN, what),
            classes=named if classes == len(named) else tuple(f"class_{index}" for index in range(classes)),
            head=HeadConfig(width=width, heads=width // CHANNELS_PER_HEAD, stages=_stages(shapes)),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TensorsError(f"{what} is not a SELSA checkpoint: {where}: {first['msg']}") from error
    return _known(config) or config.model_copy(update={"name": f"{config.backbone}-dc5"})


def _vote(shapes: Mapping[str, Shape], places: Iterable[tuple[str, int]], what: str) -> int:
    """The most frequent size at these (tensor, axis) places; the first of several equally frequent ones."""
    sizes = [shapes[name][axis] for name, axis in places if len(shapes.get(name, ())) > axis]
    if not sizes:
        names = ", ".join(published_name(name) for name, _ in places)
        raise TensorsError(f"{what} is not a SELSA checkpoint: it has none of {names}")
    return Counter(sizes).most_common(1)[0][0]


def _check_anchors(shapes: Mapping[str, Shape], what: str) -> None:
    found, wanted = _vote(shapes, ANCHORS, what), CONFIGS["r50-dc5"].anchors.count
    if found != wanted:
        raise TensorsError(
            f"{what}: {published_name(ANCHORS[0][0])} has {found} anchors per position; only the published "
            f"{wanted} (3 ratios, 4 scales) are known"
        )


def _stages(shapes: Mapping[str, Shape]) -> int:
    """How many stages the head has: those with an attention, numbered from 0."""
    found = {int(match[1]) for name in shapes if (match := STAGE.match(name)) and ".attention." in name}
    return next(index for index in range(len(found) + 1) if index not in found)


def _backbone(shapes: Mapping[str, Shape]) -> BackboneName:
    """The network that differs in the fewest tensors, so that one wrong tensor is reported and not all."""
    found = {entry for entry in shapes.items() if entry[0].startswith("backbone.")}

    def difference(name: BackboneName) -> int:
        expected = expected_shapes(ModelConfig(name=name, backbone=name)).items()
        return len(found ^ {entry for entry in expected if entry[0].startswith("backbone.")})

    return min(RESNETS, key=difference)


def _known(config: ModelConfig) -> ModelConfig | None:
    """The configuration of `CONFIGS` with these tensors: what they do not show, such as sizes, is its own."""
    shapes = expected_shapes(config)
    fits = (known for known in CONFIGS.values() if known.classes == config.classes)
    return next((known for known in fits if expected_shapes(known) == shapes), None)
