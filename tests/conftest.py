"""Fixtures that every folder of tests may use: real weights and a real bundle, made once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    # Torch is imported where it is used: most tests do without it.
    from selsa_training.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def r18_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> "Checkpoint":
    """The small variant with the weights behind `tests/exactness/expected`."""
    from selsa_training.checkpoint import load_checkpoint, save_checkpoint
    from selsa_training.config import CONFIGS
    from selsa_training.untrained import untrained_tensors

    folder = tmp_path_factory.mktemp("r18") / "checkpoint"
    config = CONFIGS["r18-dc5"]
    save_checkpoint(folder, config, untrained_tensors(config, 1), "untrained, seed 1")
    return load_checkpoint(folder)


@pytest.fixture(scope="session")
def r18_bundle(r18_checkpoint: "Checkpoint", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `r18_checkpoint`; its engines were compared with torch when it was written."""
    from selsa_export.bundle import export_bundle
    from selsa_export.parity_frames import procedural_frames

    folder = tmp_path_factory.mktemp("bundles") / "r18"
    export_bundle(r18_checkpoint, folder, procedural_frames(2), "procedural clip")
    return folder


@pytest.fixture(scope="session")
def r18_server(r18_bundle: Path) -> Iterator[str]:
    """The address of a real `selsa serve` process with that bundle."""
    with serving(r18_bundle) as (address, _):
        yield address


@contextmanager
def serving(bundle: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`selsa serve` on a free port, ready; told to stop at the end of the block."""
    command = [str(Path(sys.executable).parent / "selsa"), "serve", "--bundle", str(bundle), "--port", "0"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("Serving "))
            yield line.split()[-1], process
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with the published code's outputs on larger models; tests skip aloud without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "reference"
    folder = Path(os.environ.get("SELSA_REFERENCE", default))
    if not (folder / "outputs").is_dir():
        pytest.skip(f"no published outputs at {folder}; set SELSA_REFERENCE to compare with them")
    return folder
