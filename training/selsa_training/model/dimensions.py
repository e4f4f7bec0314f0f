"""The dimensions that a configuration fixes in the tensor contract."""

from selsa_bundle.contract import Dimensions
from selsa_training.config import ModelConfig


def dimensions_of(config: ModelConfig) -> Dimensions:
    """The fixed dimensions of a configuration's engines."""
    return Dimensions(
        proposals=config.proposals.proposals,
        width=config.head.width,
        stages=config.head.stages,
        detections=config.detections.detections,
        names_proposals=True,
    )
