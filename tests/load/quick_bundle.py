"""Bundles that run in milliseconds: the small variant, untrained, on frames of a chosen size."""

from pathlib import Path

from selsa_bundle.preprocess import Preprocess

__all__ = ["LARGE", "SMALL", "make_bundle"]

SMALL = Preprocess(long_side=160, short_side=96)
LARGE = Preprocess(long_side=480, short_side=288)


def make_bundle(folder: Path, preprocess: Preprocess = SMALL) -> Path:
    """Write a bundle below `folder`; needs the export extra."""
    from selsa_export.bundle import export_bundle
    from selsa_export.parity.frames import procedural_frames
    from selsa_training.checkpoint.checkpoint import load_checkpoint, save_checkpoint
    from selsa_training.checkpoint.untrained import untrained_tensors
    from selsa_training.config import CONFIGS

    name = f"r18-{preprocess.long_side}x{preprocess.short_side}"
    config = CONFIGS["r18-dc5"].model_copy(update={"name": name, "preprocess": preprocess})
    checkpoint = folder / f"{name}-checkpoint"
    save_checkpoint(checkpoint, config, untrained_tensors(config, 1), "untrained, seed 1")
    export_bundle(load_checkpoint(checkpoint), folder / name, procedural_frames(2), "procedural clip")
    return folder / name
