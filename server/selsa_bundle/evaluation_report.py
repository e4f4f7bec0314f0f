"""Add an evaluation report to an existing bundle."""

import os
from pathlib import Path
from typing import Final

from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.manifest import MANIFEST_NAME, Manifest

EVALUATION_NAME: Final = "evaluation.json"


def add_evaluation(folder: Path, report: bytes) -> Manifest:
    """Write the report as `evaluation.json` and name it in the manifest, in place of an older one.

    The manifest never names a file that is missing or different: an older report leaves the manifest before
    its file is replaced. So the bundle stays valid if this is interrupted, at worst without a report.

    Returns:
        The new manifest.

    Raises:
        ManifestError: `folder` holds no bundle.
        ChecksumError: a file of the bundle differs from its manifest.
        OSError: the folder cannot be written.
    """
    manifest = Manifest.read(folder)
    manifest.verify_files(folder)
    without = manifest.model_copy(update={"evaluation": None})
    if manifest.evaluation is not None:
        _replace(folder / MANIFEST_NAME, without.to_json())
    _replace(folder / EVALUATION_NAME, report)
    stored = StoredFile.of(folder / EVALUATION_NAME)
    described = without.model_copy(update={"evaluation": stored})
    _replace(folder / MANIFEST_NAME, described.to_json())
    return described


def _replace(path: Path, content: bytes) -> None:
    """Replace a file atomically; it is on disk before this returns."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
