"""Whether the engines really run: one frame through both of them, on the provider that serves."""

from dataclasses import dataclass

import numpy as np

from selsa_bundle.engine import ReferenceBank
from selsa_bundle.load import LoadedBundle

__all__ = ["Readiness", "run_one_frame"]


@dataclass(slots=True)
class Readiness:
    """What is known so far: not tried yet, failed (with a sentence), or ready."""

    ready: bool = False
    reason: str = "The engines have not run their first frame yet; ask again in a few seconds."


def run_one_frame(bundle: LoadedBundle) -> None:
    """Run both engines on a black frame of 16:9.

    Raises:
        EngineError: an engine failed.
    """
    frame = bundle.manifest.preprocess.prepare(np.zeros((360, 640, 3), np.uint8))
    size = np.array([frame.image_size], np.int64)
    scale = np.array([frame.scale_factor], np.float32)
    batch = bundle.engines.run_frames(frame.pixels[None], size)
    bank = ReferenceBank(memory=batch.memory[0], valid=batch.valid[0])
    bundle.engines.run_sequence(batch, size, scale, bank)
