"""The native graphs, run by ONNX Runtime, give the published detections too."""

from pathlib import Path

import numpy as np
import pytest
from procedural_clip import CLIP_FRAMES, clip_frame
from published import Published, of_batch, partners

from selsa_bundle.engine import ReferenceBank
from selsa_bundle.manifest import Manifest
from selsa_bundle.preprocess import Preprocess
from selsa_bundle.runtimes.onnx import OnnxEngines, RuntimeOptions


@pytest.mark.slow
def test_every_published_proposal_and_detection_is_the_native_engines(
    r18_native_bundle: Path, published: Published
) -> None:
    manifest = Manifest.read(r18_native_bundle)
    files = (r18_native_bundle / manifest.engines["native"][name].file for name in ("frame", "sequence"))
    engines = OnnxEngines(*files, manifest.dimensions, RuntimeOptions())
    clip = [Preprocess().prepare(clip_frame(i)) for i in range(CLIP_FRAMES)]
    sizes = [np.array([frame.image_size], np.int64) for frame in clip]
    features = [engines.run_frames(frame.pixels[None], size) for frame, size in zip(clip, sizes, strict=True)]
    for row, frame in enumerate(published.key_frames):
        partners(published.arrays["proposals"][row, :, :4], features[frame].boxes[0])
    bank = ReferenceBank(
        memory=np.concatenate([features[i].memory[0] for i in published.references], axis=2),
        valid=np.concatenate([features[i].valid[0] for i in published.references]),
    )
    found = {}
    for i in published.key_frames:
        scale = np.array([clip[i].scale_factor], np.float32)
        found[i] = of_batch(engines.run_sequence(features[i], sizes[i], scale, bank))
    published.assert_equals(found)
    engines.close()
