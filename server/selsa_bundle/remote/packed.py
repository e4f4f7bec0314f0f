"""A packed bundle: one file, an uncompressed tar of the manifest and the files that it names.

Only this form is read: plain files with plain names, the manifest first. Links, folders, other names, other
sizes and extended headers are refused, so nothing of an archive decides where a byte is written.
"""

import hashlib
import os
import secrets
import shutil
import tarfile
from pathlib import Path
from typing import BinaryIO, Final

from selsa_bundle.errors import ManifestError, PackedError
from selsa_bundle.files.new_folder import new_folder
from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest

SUFFIX: Final = ".selsa"
BLOCK: Final = tarfile.BLOCKSIZE
COPY_BYTES: Final = 1 << 20
# Of all files of a bundle together.
MAX_BUNDLE_BYTES: Final = 32 << 30


def pack(folder: Path, file: Path) -> str:
    """Pack the bundle in `folder` into `file`, which appears complete or not at all.

    Equal bundles give equal files.

    Returns:
        Hex sha256 of the file.

    Raises:
        BundleError: it is no bundle, or a file of it is missing or differs from the manifest.
        OSError: the file cannot be written.
    """
    manifest = Manifest.read(folder)
    manifest.verify_files(folder)
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as target:
            for name in (MANIFEST_NAME, *sorted(each.file for each in stored_files(manifest))):
                _add(target, folder / name)
            target.write(bytes(2 * BLOCK))
            target.flush()
            os.fsync(target.fileno())
        with part.open("rb") as packed:
            digest = hashlib.file_digest(packed, "sha256").hexdigest()
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return digest


def unpack(file: Path, folder: Path) -> None:
    """Unpack a file into the new folder `folder`, which appears complete and checked or not at all.

    Raises:
        PackedError: it is no packed bundle, or its files are not those of its manifest.
        ManifestError: the manifest has a value that is not allowed.
        TargetTakenError: something is at `folder`.
        OSError: the folder cannot be written.
    """
    with file.open("rb") as source, new_folder(folder, marker=MANIFEST_NAME, overwrite=False) as target:
        name, size = _header(source, file)
        if name != MANIFEST_NAME or size > MAX_MANIFEST_BYTES:
            raise PackedError(f"{file} is no packed bundle: it does not begin with a {MANIFEST_NAME}")
        raw = _exactly(source, size, file)
        manifest = Manifest.parse(raw, file / MANIFEST_NAME)
        (target / MANIFEST_NAME).write_bytes(raw)
        missing = {each.file: each for each in stored_files(manifest)}
        _check_room(sum(each.bytes for each in missing.values()), target, file)
        while missing:
            _skip_padding(source, size)
            name, size = _header(source, file)
            stored = missing.pop(name, None)
            if stored is None or stored.bytes != size:
                raise PackedError(f"{file}: {name[:100]!r} of {size} bytes is not what its manifest says")
            _extract(source, target / stored.file, stored, file)


def stored_files(manifest: Manifest) -> list[StoredFile]:
    """The files that a manifest names, each once.

    Raises:
        ManifestError: it describes one file in two ways.
    """
    graphs = [graph for pair in manifest.engines.values() for graph in pair.values()]
    others = [manifest.parity, manifest.gate, manifest.precisions, manifest.evaluation]
    found: dict[str, StoredFile] = {}
    for each in (*graphs, *filter(None, others)):
        plain = StoredFile(file=each.file, bytes=each.bytes, sha256=each.sha256)
        if found.setdefault(each.file, plain) != plain or each.file == MANIFEST_NAME:
            raise ManifestError(f"{MANIFEST_NAME}: {each.file} is described in two ways")
    return list(found.values())


def _add(target: BinaryIO, path: Path) -> None:
    info = tarfile.TarInfo(path.name)
    info.size, info.mode = path.stat().st_size, 0o644
    try:
        target.write(info.tobuf(tarfile.USTAR_FORMAT, "ascii"))
    except ValueError as error:  # a name over 100 characters, or a file over 8 GiB
        raise PackedError(f"{path} does not fit into a packed bundle: {error}") from error
    with path.open("rb") as source:
        shutil.copyfileobj(source, target, COPY_BYTES)
    target.write(bytes(-info.size % BLOCK))


def _header(source: BinaryIO, file: Path) -> tuple[str, int]:
    """Name and size of the next file; nothing but plain files is allowed."""
    try:
        info = tarfile.TarInfo.frombuf(source.read(BLOCK), "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise PackedError(f"{file} is no packed bundle, damaged or cut off ({error})") from error
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.size < 0:
        raise PackedError(f"{file} is no packed bundle: it holds more than plain files")
    return info.name, info.size


def _exactly(source: BinaryIO, size: int, file: Path) -> bytes:
    found = source.read(size)
    if len(found) < size:
        raise PackedError(f"{file} is cut off")
    return found


def _extract(source: BinaryIO, path: Path, stored: StoredFile, file: Path) -> None:
    digest, left = hashlib.sha256(), stored.bytes
    with path.open("xb") as target:
        while left:
            piece = _exactly(source, min(left, COPY_BYTES), file)
            digest.update(piece)
            target.write(piece)
            left -= len(piece)
    if digest.hexdigest() != stored.sha256:
        raise PackedError(f"{file}: {stored.file} has another sha256 than its manifest says")


def _skip_padding(source: BinaryIO, size: int) -> None:
    source.read(-size % BLOCK)


def _check_room(size: int, folder: Path, file: Path) -> None:
    if size > MAX_BUNDLE_BYTES:
        raise PackedError(f"{file} holds {size} bytes; allowed are {MAX_BUNDLE_BYTES}")
    free = shutil.disk_usage(folder).free
    if size > free:
        raise PackedError(f"{file} holds {size} bytes, and {folder.parent} has room for {free}")
