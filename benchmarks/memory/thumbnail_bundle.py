"""A bundle that runs in milliseconds, where the model does not matter."""

from pathlib import Path

from selsa_bundle.preprocess import Preprocess


def make_bundle(folder: Path) -> Path:
    """Write the small variant on small frames with few proposals, untrained, below `folder`."""
    from selsa_export.bundle import export_bundle
    from selsa_export.parity.frames import procedural_frames
    from selsa_training.checkpoint.checkpoint import load_checkpoint, save_checkpoint
    from selsa_training.checkpoint.untrained import untrained_tensors
    from selsa_training.config import CONFIGS, HeadConfig, ProposalConfig

    quick = {
        "name": "r18-quick",
        "preprocess": Preprocess(long_side=160, short_side=96),
        "proposals": ProposalConfig(candidates=500, proposals=32),
        "head": HeadConfig(width=64, heads=1),
        "neck_channels": 32,
    }
    config = CONFIGS["r18-dc5"].model_copy(update=quick)
    save_checkpoint(folder / "checkpoint", config, untrained_tensors(config, 1), "untrained, seed 1")
    export_bundle(
        load_checkpoint(folder / "checkpoint"), folder / "bundle", procedural_frames(2), "procedural clip"
    )
    return folder / "bundle"
