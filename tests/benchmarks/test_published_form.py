"""What ours is compared with in speed is the same model: its detections are those of the two stages."""

import numpy as np
import pytest
import torch

from benchmarks.speed.published_form import PARTS, PublishedForm
from selsa_bundle.engine import FrameBatch, ReferenceBank
from selsa_bundle.preprocess import PreparedFrame
from selsa_server.run_context import Stopwatch
from selsa_training.checkpoint.untrained import untrained_tensors
from selsa_training.config import CONFIGS
from selsa_training.model.detector import SelsaDetector, build_detector
from selsa_training.model.torch_engines import TorchEngines

REFERENCES = 3


@pytest.fixture(scope="module")
def detector() -> SelsaDetector:
    config = CONFIGS["tiny"]
    detector = build_detector(config)
    detector.load_state_dict(untrained_tensors(config, 0))
    return detector.eval()


@pytest.fixture(scope="module")
def frames() -> list[PreparedFrame]:
    """Noise: no two boxes have equal scores there."""
    pictures = np.random.default_rng(0).integers(0, 256, (REFERENCES + 1, 90, 150, 3), np.uint8)
    return [CONFIGS["tiny"].preprocess.prepare(picture) for picture in pictures]


def test_the_plain_form_finds_what_the_two_stages_find(
    detector: SelsaDetector, frames: list[PreparedFrame]
) -> None:
    clock = Stopwatch(PARTS)
    plain = PublishedForm(detector, clock)
    plain.remember(frames[:REFERENCES])
    boxes, scores, labels = plain.detect(frames[-1])

    engines = TorchEngines(detector)
    sizes = np.array([frame.image_size for frame in frames], np.int64)
    known = engines.run_frames(np.stack([frame.pixels for frame in frames]), sizes)
    bank = ReferenceBank(
        memory=np.concatenate(list(known.memory[:REFERENCES]), axis=2),
        valid=np.concatenate(list(known.valid[:REFERENCES])),
    )
    key: FrameBatch = known[REFERENCES:]
    scale = np.array([frames[-1].scale_factor], np.float32)
    found = engines.run_sequence(key, sizes[REFERENCES:], scale, bank)

    count = int(found.count[0])
    assert len(boxes) == count > 0
    torch.testing.assert_close(scores, torch.from_numpy(found.scores[0, :count]), atol=1e-5, rtol=0)
    torch.testing.assert_close(boxes, torch.from_numpy(found.boxes[0, :count]), atol=1e-2, rtol=0)
    assert labels.tolist() == found.labels[0, :count].tolist()
    assert all(seconds > 0 for seconds in clock.parts.values())
