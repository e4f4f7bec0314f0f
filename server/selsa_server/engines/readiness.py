"""Whether the engines run on their provider and compute the expected outputs."""

from dataclasses import dataclass

import numpy as np

from selsa_bundle.engine import ReferenceBank
from selsa_bundle.runtimes.load import LoadedBundle, prove_engines


@dataclass(slots=True)
class Readiness:
    """Not tried yet, failed (with a sentence), or ready."""

    ready: bool = False
    reason: str = "The engines have not run their first frame yet; ask again in a few seconds."


def run_one_frame(bundle: LoadedBundle) -> None:
    """Run both engines on the bundle's test frames, or on a black one of 16:9 where it has none.

    Raises:
        GateError: they do not compute what the test frames must give; the message names the tensors.
        EngineError: an engine failed.
    """
    if prove_engines(bundle) is not None:
        return
    frame = bundle.manifest.preprocess.prepare(np.zeros((360, 640, 3), np.uint8))
    size = np.array([frame.image_size], np.int64)
    scale = np.array([frame.scale_factor], np.float32)
    batch = bundle.engines.run_frames(frame.pixels[None], size)
    bank = ReferenceBank.of([batch], bundle.engines.dimensions)
    bundle.engines.run_sequence(batch, size, scale, bank)
