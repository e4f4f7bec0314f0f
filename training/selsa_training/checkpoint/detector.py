"""Build the model of a checkpoint."""

from selsa_training.checkpoint.checkpoint import Checkpoint
from selsa_training.families import AnyDetector, build_any


def detector_of(checkpoint: Checkpoint) -> AnyDetector:
    """The checkpoint's model in evaluation mode, on the CPU, without gradients."""
    detector = build_any(checkpoint.config)
    detector.load_state_dict(checkpoint.tensors, strict=True)
    return detector.eval().requires_grad_(requires_grad=False)
