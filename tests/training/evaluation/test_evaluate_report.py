"""An evaluation report becomes part of a bundle; the bundle stays valid even if writing fails."""

from pathlib import Path

import pytest
from fake_engines import FakeEngines
from fakes import fake_bundle

from selsa_bundle.errors import ChecksumError
from selsa_bundle.evaluation_report import add_evaluation
from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.manifest import MANIFEST_NAME, Manifest


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that verifies; what is in its engines does not matter here."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in ("frame.onnx", "sequence.onnx", "parity.json"):
        (folder / name).write_text(name)
    manifest = fake_bundle(FakeEngines()).manifest
    pair = manifest.engines["fp32"]
    engines = {
        name: engine.model_copy(update=StoredFile.of(folder / engine.file).model_dump())
        for name, engine in pair.items()
    }
    parity = StoredFile.of(folder / "parity.json")
    filled = manifest.model_copy(update={"engines": {"fp32": engines}, "parity": parity})
    (folder / MANIFEST_NAME).write_bytes(filled.to_json())
    return folder


def verified(folder: Path) -> Manifest:
    manifest = Manifest.read(folder)
    manifest.verify_files(folder)
    return manifest


def test_a_report_is_covered_by_the_manifest(bundle: Path) -> None:
    before = verified(bundle)
    assert add_evaluation(bundle, b'{"ap50": 86.0}\n') == verified(bundle)
    assert (bundle / "evaluation.json").read_bytes() == b'{"ap50": 86.0}\n'
    assert verified(bundle).model_copy(update={"evaluation": None}) == before
    (bundle / "evaluation.json").write_bytes(b'{"ap50": 99.9}\n')
    with pytest.raises(ChecksumError, match=r"evaluation\.json has sha256"):
        verified(bundle)


def test_a_newer_report_takes_the_place_of_an_older_one(bundle: Path) -> None:
    once = add_evaluation(bundle, b"1")
    assert add_evaluation(bundle, b"22") != once
    assert add_evaluation(bundle, b"1") == once
    names = {"evaluation.json", "frame.onnx", "manifest.json", "parity.json", "sequence.onnx"}
    assert {path.name for path in bundle.iterdir()} == names


def test_a_manifest_without_a_report_has_the_bytes_it_always_had(bundle: Path) -> None:
    raw = (bundle / MANIFEST_NAME).read_bytes()
    assert b"evaluation" not in raw
    assert verified(bundle).to_json() == raw
    reported = add_evaluation(bundle, b"1")
    assert reported.model_copy(update={"evaluation": None}).to_json() == raw


@pytest.mark.parametrize(
    ("blocked", "older"),
    [
        ("evaluation.json", None),
        (".evaluation.json.part", None),
        (".evaluation.json.part", b"older"),
        (".manifest.json.part", None),
        (".manifest.json.part", b"older"),
    ],
)
def test_a_bundle_is_valid_wherever_writing_its_report_stops(
    bundle: Path, blocked: str, older: bytes | None
) -> None:
    if older is not None:
        add_evaluation(bundle, older)
    # A folder where a file should be written ends the work at that very step.
    (bundle / blocked).mkdir()
    with pytest.raises(OSError, match=blocked.replace(".", r"\.")):
        add_evaluation(bundle, b"newer")
    found = verified(bundle).evaluation
    assert found is None or older is not None
    (bundle / blocked).rmdir()
    assert add_evaluation(bundle, b"newer") == verified(bundle)


def test_a_bundle_that_does_not_verify_gets_no_report(bundle: Path) -> None:
    (bundle / "frame.onnx").write_text("another")
    with pytest.raises(ChecksumError):
        add_evaluation(bundle, b"1")
    assert not (bundle / "evaluation.json").exists()
