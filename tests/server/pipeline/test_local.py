"""Detection without a server gives no record before the engines have passed the bundle's gate."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selsa_bundle.default_bundle import sample_video, synthetic_bundle
from selsa_bundle.errors import ChecksumError, GateError
from selsa_bundle.files.stored_file import StoredFile
from selsa_server.pipeline.local import detect
from selsa_server.schema.detect import DetectParams

CPU = {"provider": "cpu", "precision": "fp32"}


def changed_gate(folder: Path) -> None:
    """Test frames whose expected scores no engine gives."""
    path = folder / "gate.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["scores"] = arrays["scores"] * np.float32(0.5)
    np.savez_compressed(path, **arrays)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["gate"] |= StoredFile.of(path).model_dump()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def changed_engine(folder: Path) -> None:
    path = folder / "sequence.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(("change", "error"), [(changed_gate, GateError), (changed_engine, ChecksumError)])
def test_a_bundle_that_fails_a_check_gives_no_record(
    tmp_path: Path, change: Callable[[Path], None], error: type[Exception]
) -> None:
    folder = Path(shutil.copytree(synthetic_bundle(), tmp_path / "bundle"))
    change(folder)
    records = []
    with pytest.raises(error):
        records += detect(sample_video(), DetectParams(), bundle=folder, say=print, engines=CPU)
    assert records == []


def test_wrong_engines_are_named_even_if_the_video_cannot_be_read(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(synthetic_bundle(), tmp_path / "bundle"))
    changed_gate(folder)
    video = tmp_path / "video.mp4"
    video.write_bytes(b"no video")
    with pytest.raises(GateError):
        next(detect(video, DetectParams(), bundle=folder, say=print, engines=CPU))


def test_a_packaged_bundle_gives_the_record_of_the_video_first() -> None:
    records = detect(sample_video(), DetectParams(), bundle=synthetic_bundle(), say=print, engines=CPU)
    assert next(records).type == "video"
    records.close()
