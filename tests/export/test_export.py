"""A bundle is written only if its engines compute what the model computes."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from selsa_bundle.engine import ReferenceBank
from selsa_bundle.preprocess import Preprocess
from selsa_bundle.runtimes.load import load_engines
from selsa_export import bundle as bundle_module
from selsa_export.bundle import export_bundle
from selsa_export.cli.export import export
from selsa_export.errors import ExportError
from selsa_export.parity.frames import procedural_frames, read_frames
from selsa_export.parity.parity import ParityReference
from selsa_training.checkpoint.checkpoint import Checkpoint, save_checkpoint
from selsa_training.checkpoint.detector import detector_of
from selsa_training.checkpoint.untrained import untrained_tensors
from selsa_training.config import CONFIGS
from selsa_training.model.torch_engines import TorchEngines


@pytest.fixture(scope="module")
def other_checkpoint(r18_checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint of the same architecture with other weights."""
    config = CONFIGS["r18-dc5"]
    return Checkpoint(config=config, tensors=untrained_tensors(config, 2), origin="other", sha256="0" * 64)


def small_checkpoint(seed: int) -> Checkpoint:
    config = CONFIGS["tiny"]
    tensors = untrained_tensors(config, seed)
    return Checkpoint(config=config, tensors=tensors, origin="a test", sha256="0" * 64)


@pytest.fixture
def wrong_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of other weights: the graph writer is handed another detector."""
    write = bundle_module.write_graph
    other = detector_of(small_checkpoint(2))
    monkeypatch.setattr(bundle_module, "write_graph", lambda name, _, path: write(name, other, path))


def test_the_report_says_how_far_the_engines_are_from_torch(r18_bundle: Path) -> None:
    report = json.loads((r18_bundle / "parity.json").read_bytes())
    assert report["detections"] > 100
    assert report["detections_unmatched"] == 0
    assert report["detection_score"] < 1e-3
    assert report["batched"] == "equal"


def test_engines_with_other_weights_fail_parity(other_checkpoint: Checkpoint, r18_bundle: Path) -> None:
    frames = [Preprocess().prepare(frame) for frame in procedural_frames(2)]
    engines = load_engines(r18_bundle).engines
    reference = ParityReference.of(detector_of(other_checkpoint), frames)
    report = reference.report(engines, "procedural clip")
    assert len(report.failures()) >= 3


def test_a_bundle_whose_engines_differ_is_never_written(wrong_graphs: None, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="have no partner"):
        export_bundle(small_checkpoint(1), tmp_path / "bundle", procedural_frames(2), "procedural clip")
    assert list(tmp_path.iterdir()) == []


def test_the_command_reports_the_difference_and_fails(wrong_graphs: None, tmp_path: Path) -> None:
    small = small_checkpoint(1)
    save_checkpoint(tmp_path / "checkpoint", small.config, small.tensors, small.origin)
    done = run(str(tmp_path / "checkpoint"), "-o", str(tmp_path / "bundle"))
    assert done.exit_code == 3
    assert "error: the engines differ from the model" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def run(*arguments: str):
    app = typer.Typer()
    app.command()(export)
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("missing", ["checkpoint", "frames"])
def test_an_unreadable_input_is_named(missing: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    frames = ["--frames", str(tmp_path / "empty")] if missing == "frames" else []
    done = run(str(tmp_path / "nothing"), "-o", str(tmp_path / "bundle"), *frames)
    assert done.exit_code == 3
    assert ("no frame can be read" if missing == "frames" else "is not a checkpoint") in done.stderr
    assert not (tmp_path / "bundle").exists()


def test_frames_come_from_a_folder_of_pictures(tmp_path: Path) -> None:
    import cv2

    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((8, 9, 3), (10 * i, 20, 30), np.uint8))
    frames = read_frames(tmp_path, 2)
    assert [frame[0, 0].tolist() for frame in frames] == [[30, 20, 0], [30, 20, 20]]
    with pytest.raises(ExportError, match="no frame can be read"):
        read_frames(tmp_path / "nothing.mp4")


def test_the_model_behind_the_engine_protocol_gives_the_engines_detections(
    r18_checkpoint: Checkpoint, r18_bundle: Path
) -> None:
    frame = Preprocess().prepare(procedural_frames(1)[0])
    size, scale = np.array([frame.image_size], np.int64), np.array([frame.scale_factor], np.float32)

    scores = []
    for engines in (TorchEngines(detector_of(r18_checkpoint)), load_engines(r18_bundle).engines):
        batch = engines.run_frames(frame.pixels[None], size)
        bank = ReferenceBank(memory=batch.memory[0], valid=batch.valid[0])
        scores.append(engines.run_sequence(batch, size, scale, bank).scores)
    assert np.allclose(*scores, atol=1e-3)


def test_the_engines_name_the_proposal_that_each_detection_came_from(r18_bundle: Path) -> None:
    engines = load_engines(r18_bundle).engines
    assert engines.dimensions.names_proposals
    frames = [Preprocess().prepare(frame) for frame in procedural_frames(2)]
    size = np.array([frame.image_size for frame in frames], np.int64)
    scale = np.array([frame.scale_factor for frame in frames], np.float32)
    batch = engines.run_frames(np.stack([frame.pixels for frame in frames]), size)
    bank = ReferenceBank.of([batch], engines.dimensions)
    found = engines.run_sequence(batch, size, scale, bank)
    assert found.proposals is not None
    for frame, count in enumerate(found.count.tolist()):
        assert (found.proposals[frame, count:] == 0).all()
        # With all other proposals gone from the frame, the detection is still there.
        named = int(found.proposals[frame, 0])
        alone = batch.valid & (np.arange(batch.valid.shape[1]) == named)
        again = engines.run_sequence(batch.replaced(valid=alone), size, scale, bank)
        label = again.labels[frame, : again.count[frame]] == found.labels[frame, 0]
        assert label.any()
        box = again.boxes[frame, : again.count[frame]][label][0]
        assert np.abs(box - found.boxes[frame, 0]).max() < 20
        assert set(again.proposals[frame, : again.count[frame]].tolist()) == {named}  # type: ignore[index]
