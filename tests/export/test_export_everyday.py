"""The one-stage family through the same export as the other one."""

from pathlib import Path

import pytest
import torch

from selsa_bundle.runtimes.load import load_engines, prove_engines
from selsa_export.bundle import export_bundle
from selsa_export.parity.frames import procedural_frames
from selsa_training.checkpoint.checkpoint import load_checkpoint, save_checkpoint
from selsa_training.everyday.config import EVERYDAY
from selsa_training.everyday.detector import EverydayDetector


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """New weights with an open gate."""
    torch.manual_seed(0)
    detector = EverydayDetector(EVERYDAY)
    torch.nn.init.normal_(detector.stage.gate.weight)
    folder = tmp_path_factory.mktemp("everyday") / "checkpoint"
    save_checkpoint(folder, EVERYDAY, detector.state_dict(), "untrained")
    return folder


def test_a_checkpoint_knows_its_family(checkpoint: Path) -> None:
    assert load_checkpoint(checkpoint).config == EVERYDAY


@pytest.mark.slow
def test_both_kinds_of_graphs_equal_the_model_in_torch(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    report = export_bundle(
        load_checkpoint(checkpoint), folder, procedural_frames(3), "procedural clip", natives=("fp32",)
    )
    assert report.detections_unmatched == 0
    assert report.detection_score < 1e-4
    assert set(report.native) == {"fp32"}
    assert prove_engines(load_engines(folder)) is not None
