"""From a checkpoint to the model that runs."""

from selsa_training.checkpoint.checkpoint import Checkpoint
from selsa_training.model.detector import SelsaDetector, build_detector


def detector_of(checkpoint: Checkpoint) -> SelsaDetector:
    """The checkpoint's model in evaluation mode, on the CPU, not to be trained."""
    detector = build_detector(checkpoint.config)
    detector.load_state_dict(checkpoint.tensors, strict=True)
    return detector.eval().requires_grad_(requires_grad=False)
