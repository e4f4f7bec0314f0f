"""A bundle is used only if its manifest, its files and its engines are what they say."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selsa_bundle.errors import BundleError, ChecksumError, ContractError, EngineError, ManifestError
from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.manifest import MANIFEST_NAME, Manifest
from selsa_bundle.runtimes.load import load_engines

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def bundle(r18_bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(r18_bundle, tmp_path / "bundle"))


def edit(bundle: Path, change: Edit) -> None:
    path = bundle / MANIFEST_NAME
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def set_file(engine: str, name: str) -> Edit:
    return lambda content: content["engines"]["fp32"][engine].__setitem__("file", name)


def test_a_whole_bundle_loads(r18_bundle: Path) -> None:
    loaded = load_engines(r18_bundle)
    assert loaded.manifest.name == "r18-dc5"
    assert loaded.digest.startswith("sha256:")
    assert loaded.engines.info.provider == "CPUExecutionProvider"


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"is no bundle: cannot read .*manifest\.json: No such file"):
        load_engines(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c.__setitem__("format_version", 2), "format_version"),
        (lambda c: c.__setitem__("surprise", 1), "surprise"),
        (lambda c: c["dimensions"].__setitem__("proposals", -3), "dimensions.proposals"),
        (lambda c: c["engines"]["fp32"].pop("sequence"), "sequence engine is missing"),
        (lambda c: c.__setitem__("classes", ["dog", "dog"]), "twice"),
        (lambda c: c["dimensions"].__setitem__("width", 128), "not the tensor contract"),
        (set_file("frame", "../../etc/passwd"), "engines.fp32.frame.file"),
        (set_file("frame", "/etc/passwd"), "engines.fp32.frame.file"),
    ],
)
def test_a_manifest_with_a_value_that_is_not_allowed_names_it(bundle: Path, change: Edit, named: str) -> None:
    edit(bundle, change)
    with pytest.raises(ManifestError, match=named):
        load_engines(bundle)


def test_a_manifest_that_is_not_json_is_refused(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).write_text("hello")
    with pytest.raises(ManifestError, match="Invalid JSON"):
        load_engines(bundle)


@pytest.mark.parametrize("name", ["frame.onnx", "sequence.onnx", "parity.json"])
def test_a_changed_file_is_refused(bundle: Path, name: str) -> None:
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChecksumError, match=f"{name} has sha256"):
        load_engines(bundle)


def test_a_file_cut_off_is_refused_without_reading_it(bundle: Path) -> None:
    path = bundle / "frame.onnx"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ChecksumError, match="has 1000 bytes"):
        load_engines(bundle)


def test_a_missing_file_is_refused(bundle: Path) -> None:
    (bundle / "sequence.onnx").unlink()
    with pytest.raises(ChecksumError, match="is missing"):
        load_engines(bundle)


def replace_engine(bundle: Path, engine: str, content: bytes) -> None:
    """With checksums that fit, so that only the engine itself is wrong."""
    path = bundle / f"{engine}.onnx"
    path.write_bytes(content)
    edit(bundle, lambda c: c["engines"]["fp32"][engine].update(StoredFile.of(path).model_dump()))


def test_an_engine_with_other_tensors_is_refused(bundle: Path) -> None:
    replace_engine(bundle, "frame", (bundle / "sequence.onnx").read_bytes())
    with pytest.raises(ContractError, match="the tensor contract has"):
        load_engines(bundle)


def test_an_engine_that_is_no_onnx_is_refused(bundle: Path) -> None:
    replace_engine(bundle, "sequence", b"not a graph")
    with pytest.raises(EngineError, match="cannot load"):
        load_engines(bundle)


def test_every_refusal_is_a_bundle_error() -> None:
    for kind in (ManifestError, ChecksumError, ContractError, EngineError):
        assert issubclass(kind, BundleError)


def test_a_manifest_survives_writing_and_reading(r18_bundle: Path) -> None:
    manifest = Manifest.read(r18_bundle)
    assert Manifest.parse(manifest.to_json(), r18_bundle) == manifest
