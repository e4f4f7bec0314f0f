"""The frozen detector's outputs on the training clips, computed once; training reads only these."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from selsa_training.everyday.detector import EverydayDetector
from selsa_training.everyday_training.damage import DAMAGES

Image = npt.NDArray[np.uint8]
DAMAGED_VARIANTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedClip:
    """Proposals of a clip's frames, each undamaged (0) and damaged (1, 2).

    Attributes:
        logits: float32 [F, 3, P, 80].
        features: float32 [F, 3, P, 128], the head's features.
        valid: bool [F, 3, P].
        targets: float32 [F, 3, P, 80], the undamaged frame's scores at the same anchors.
    """

    logits: Tensor
    features: Tensor
    valid: Tensor
    targets: Tensor


@torch.no_grad()
def cache_clips(
    detector: EverydayDetector,
    clips: Mapping[str, Sequence[Image]],
    random: np.random.Generator,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, CachedClip]:
    """Run the frozen detector over every frame of every clip and over damaged copies.

    Args:
        clips: frames uint8 [h, w, 3], RGB.
        random: source of the damage.
        say: gets a message for every clip.
    """
    cached = {}
    for name, frames in clips.items():
        rows = [_cache_frame(detector, frame, random) for frame in frames]
        cached[name] = CachedClip(
            logits=torch.stack([row[0] for row in rows]),
            features=torch.stack([row[1] for row in rows]),
            valid=torch.stack([row[2] for row in rows]),
            targets=torch.stack([row[3] for row in rows]),
        )
        say(f"{name}: {len(frames)} frames")
    return cached


def _cache_frame(
    detector: EverydayDetector, frame: Image, random: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    resized = detector.config.preprocess.prepare(frame)
    height, width = resized.image_size
    inside = resized.pixels[:height, :width]
    chosen = random.choice(len(DAMAGES), DAMAGED_VARIANTS, replace=False)
    pixels = np.stack([resized.pixels] * (1 + DAMAGED_VARIANTS))
    for index, kind in enumerate(chosen, 1):
        pixels[index, :height, :width] = DAMAGES[kind](inside, random)
    size = torch.tensor([resized.image_size] * len(pixels))
    levels = detector.nanodet(detector.normalise(torch.from_numpy(pixels), size))
    found = detector.proposals(levels, size)
    undamaged = torch.cat([level.logits[0].flatten(1).T for level in levels]).sigmoid()
    return found.logits.clone(), found.features.clone(), found.valid.clone(), undamaged[found.anchors].clone()
