"""A runtime that computes something else than the bundle's test frames must give is not used."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from fastapi.testclient import TestClient

from selsa_bundle.default_bundle import synthetic_bundle
from selsa_bundle.engine import DetectionBatch, FrameBatch
from selsa_bundle.errors import ChecksumError, GateError, ManifestError
from selsa_bundle.gate.check import check_gate
from selsa_bundle.gate.gate import read_gate, run_gate, write_gate
from selsa_bundle.manifest import Manifest
from selsa_bundle.runtimes.load import LoadedBundle, load_engines, prove_engines
from selsa_bundle.tolerance import USUAL_TOLERANCES
from selsa_server.api.app import build_app
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.settings import ServerSettings

FrameEdit = Callable[[FrameBatch], FrameBatch]
DetectionEdit = Callable[[DetectionBatch], DetectionBatch]


class Disturbed:
    """Real engines whose outputs are changed."""

    def __init__(
        self,
        engines,
        frames: FrameEdit = lambda batch: batch,
        detections: DetectionEdit = lambda found: found,
    ) -> None:
        self._engines = engines
        self._edit_frames, self._edit_detections = frames, detections
        self.dimensions, self.info = engines.dimensions, engines.info

    def run_frames(self, frames, image_size) -> FrameBatch:
        return self._edit_frames(self._engines.run_frames(frames, image_size))

    def run_sequence(self, batch, image_size, scale_factor, bank) -> DetectionBatch:
        return self._edit_detections(self._engines.run_sequence(batch, image_size, scale_factor, bank))

    def close(self) -> None:
        """Those inside belong to the test."""


@pytest.fixture(scope="module")
def bundle() -> Iterator[LoadedBundle]:
    loaded = load_engines(synthetic_bundle())
    with closing(loaded.engines):
        yield loaded


def disturbed(bundle: LoadedBundle, **edits: Callable[..., object]) -> LoadedBundle:
    return replace(bundle, engines=Disturbed(bundle.engines, **edits))


def test_the_packaged_bundle_has_a_gate_and_its_engines_pass(bundle: LoadedBundle) -> None:
    difference = prove_engines(bundle)
    assert difference is not None
    assert difference.boxes == 128
    assert difference.detections > 50
    assert difference.failures(USUAL_TOLERANCES["fp32"], 2) == []


@pytest.mark.parametrize(
    ("edits", "tensor"),
    [
        ({"frames": lambda b: b.replaced(boxes=b.boxes + 0.2)}, "boxes: 0.2 px off"),
        ({"frames": lambda b: b.replaced(valid=b.valid & (np.arange(64) < 50))}, "boxes: 28 of 128"),
        ({"frames": lambda b: b.replaced(queries=b.queries * 1.002)}, "queries: 0.002 off"),
        ({"frames": lambda b: b.replaced(memory=b.memory * 1.002)}, "memory: 0.002 off"),
        ({"frames": lambda b: b.replaced(memory=b.memory[:, ::-1])}, "memory: "),
        ({"detections": lambda f: replace(f, scores=f.scores - 0.002)}, "scores: 0.002 off"),
        ({"detections": lambda f: replace(f, labels=f.labels + 1)}, "detections: "),
        ({"detections": lambda f: replace(f, count=f.count // 2)}, "detections: "),
        (
            {"frames": lambda b: b.replaced(queries=b.queries * np.float32("nan"))},
            "queries has values that are not finite",
        ),
    ],
)
def test_an_output_that_is_off_is_named(
    bundle: LoadedBundle, edits: dict[str, Callable[..., object]], tensor: str
) -> None:
    with pytest.raises(GateError) as refused:
        prove_engines(disturbed(bundle, **edits))
    assert tensor in str(refused.value)
    assert "CPUExecutionProvider in fp32" in str(refused.value)


def test_the_order_of_proposals_does_not_matter(bundle: LoadedBundle) -> None:
    def reverse(batch: FrameBatch) -> FrameBatch:
        return FrameBatch(
            boxes=batch.boxes[:, ::-1],
            valid=batch.valid[:, ::-1],
            queries=batch.queries[:, ::-1],
            memory=np.ascontiguousarray(batch.memory[:, :, :, ::-1]),
        )

    engines = Disturbed(bundle.engines, frames=reverse)
    outputs = run_gate(engines, bundle.gate.frames, bundle.gate.image_size, bundle.gate.scale_factor)
    assert (outputs.batch.boxes[:, 0] != bundle.gate.batch.boxes[:, 0]).any()
    check_gate(engines, bundle.gate, USUAL_TOLERANCES["fp32"])


def test_a_server_whose_engines_fail_the_gate_is_not_ready_and_names_the_tensor(
    bundle: LoadedBundle, tmp_path: Path
) -> None:
    wrong = disturbed(bundle, frames=lambda b: b.replaced(memory=b.memory * 2))
    settings = ServerSettings(spool_dir=tmp_path, jobs_dir=tmp_path / "jobs")
    with TestClient(build_app(DetectionPipeline(wrong), settings)) as client:
        deadline = perf_counter() + 60
        while "memory" not in (answer := client.get("/readyz")).text and perf_counter() < deadline:
            pass
        assert answer.status_code == 503
        assert "memory: 1 off (relative L2)" in answer.json()["detail"]


def test_a_gate_survives_writing_and_reading(bundle: LoadedBundle, tmp_path: Path) -> None:
    write_gate(tmp_path / "gate.npz", bundle.gate)
    found = read_gate(tmp_path / "gate.npz", bundle.manifest.dimensions)
    want = bundle.gate.arrays()
    assert found.arrays().keys() == want.keys()
    for name, array in found.arrays().items():
        assert np.array_equal(array, want[name])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda a: a.pop("memory"), "is no gate"),
        (lambda a: a.update(scores=a["scores"].astype(np.float64)), "scores is float64"),
        (lambda a: a.update(boxes=a["boxes"][:, :3]), r"boxes is float32 \[2, 3, 4\]"),
        (lambda a: a.update(frames=np.zeros((9, 16, 16, 3), np.uint8)), "1 to 8"),
        (lambda a: a.update(frames=np.zeros((2, 16, 4096, 3), np.uint8)), "16 to 1024 a side"),
        (lambda a: a.update(labels=np.array([{}])), "is no gate"),
        (lambda a: a.update(more=np.zeros(70 << 20, np.uint8)), "unpacks to"),
    ],
)
def test_a_gate_that_is_not_one_is_refused(
    bundle: LoadedBundle, tmp_path: Path, change: Callable[[dict], object], named: str
) -> None:
    arrays = bundle.gate.arrays()
    change(arrays)
    path = tmp_path / "gate.npz"
    np.savez_compressed(path, **arrays)
    with pytest.raises(ManifestError, match=named):
        read_gate(path, bundle.manifest.dimensions)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"x" * 1000])
def test_a_file_that_is_no_archive_is_refused(bundle: LoadedBundle, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "gate.npz").write_bytes(content)
    with pytest.raises(ManifestError, match="is no gate"):
        read_gate(tmp_path / "gate.npz", bundle.manifest.dimensions)


def test_a_changed_gate_is_told_by_its_checksum(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(synthetic_bundle(), tmp_path / "bundle"))
    with zipfile.ZipFile(folder / "gate.npz", "a") as archive:
        archive.writestr("more.npy", b"other")
    with pytest.raises(ChecksumError, match=r"gate\.npz has"):
        load_engines(folder)


def test_a_bundle_from_before_there_were_gates_still_loads(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(synthetic_bundle(), tmp_path / "bundle"))
    content = json.loads((folder / "manifest.json").read_bytes())
    for name in ("gate", "precisions"):
        content.pop(name, None)
    (folder / "manifest.json").write_text(json.dumps(content))
    assert Manifest.read(folder).gate is None
    assert prove_engines(load_engines(folder)) is None
