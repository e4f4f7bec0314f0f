"""A checkpoint as mmtracking's `state_dict`."""

from collections import OrderedDict
from collections.abc import Mapping

import torch

from selsa_training.checkpoint.names import published_name
from selsa_training.config import ModelConfig
from selsa_training.model.tensor_shapes import expected_shapes


def published_state_dict(
    config: ModelConfig, tensors: Mapping[str, torch.Tensor]
) -> OrderedDict[str, torch.Tensor]:
    """The tensors under their published names: the inverse of the renaming at import."""
    return OrderedDict((published_name(name), tensors[name]) for name in expected_shapes(config))
