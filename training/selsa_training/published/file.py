"""Read a `.pth` file without running anything in it.

A `.pth` file is a pickle, and a pickle is a program. It is read only with torch's `weights_only` unpickler,
which supports tensors and plain containers and resolves no other names. Published files also hold notes
beside the tensors, and these may use other types, such as a numpy scalar for the best score. Allowing the
real types would be
dangerous: `numpy.dtype` can be rebuilt with flags that make numpy treat the file's bytes as pointers. So each
such name is replaced by an inert stand-in. The real module is never imported, the note is lost, and the
tensors load. A file with a name outside the listed modules is refused.
"""

import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, Self

import torch

from selsa_training.checkpoint.errors import CheckpointFileError

# Modules whose types occur in the notes of published files, never in their tensors.
NOTE_MODULES: Final = frozenset(
    {"addict", "datetime", "mmcv", "mmdet", "mmengine", "mmtrack", "numpy", "pathlib"}
)
# Dictionaries of configurations; torch fills only exact dicts and OrderedDicts.
MAPPINGS: Final = frozenset(
    {"addict.addict.Dict", "mmcv.utils.config.ConfigDict", "mmengine.config.config.ConfigDict"}
)
ZIP_MAGIC: Final = b"PK\x03\x04"
OLD_MAGIC: Final = 0x1950A86A20F9469CFC6C
# Magic number, protocol version, system information, then the contents.
OLD_PICKLES: Final = 4
MAX_PICKLE_BYTES: Final = 1 << 28


class _Inert:
    """Replaces an object of a type that is not loaded: accepts any arguments and stores nothing."""

    def __new__(cls, *_args: object) -> Self:
        return super().__new__(cls)

    def __init__(self, *_args: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...


class _InertMapping:
    """Replaces a dictionary type that is not loaded: creates an OrderedDict."""

    def __new__(cls, *_args: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def read_pth(path: Path) -> object:
    """The contents of a file written by `torch.save`, in the zip or the old format, tensors on the CPU.

    Raises:
        CheckpointFileError: the file is missing, damaged, not a torch file, or can only be loaded by running
            code from it.
    """
    try:
        is_zip = _is_zip(path)
        names = _globals_of_zip(path) if is_zip else _globals_of_old_format(path)
        stand_ins = [(_stand_in(name), name) for name in sorted(names) if _is_note(name)]
        with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]
            # Memory mapping exists for the zip format only.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except CheckpointFileError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointFileError(f"{path}: refused, {_unpickling_reason(error)}") from error
    except OSError as error:
        raise CheckpointFileError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can fail in any way at all
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointFileError(f"{path} is damaged or incomplete: {reason}") from error


def _is_zip(path: Path) -> bool:
    """Whether the file has the zip format; False for the old format.

    Raises:
        CheckpointFileError: it has neither format; the message describes it.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(ZIP_MAGIC):
        return True
    if head.startswith(b"\x80") and OLD_MAGIC.to_bytes(10, "little") in head:
        return False
    if not head:
        found = "the file is empty"
    elif head[8:10] == b'{"':
        found = "it looks like a safetensors file"
    else:
        found = "its first bytes match neither of torch's two formats"
    raise CheckpointFileError(f"{path} is not a .pth file written by torch.save: {found}")


def _globals_of_zip(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
            if len(entries) != 1:
                raise CheckpointFileError(f"{path} is a zip file, but not one written by torch.save")
            if entries[0].file_size > MAX_PICKLE_BYTES:
                raise CheckpointFileError(
                    f"{path}: its pickle has {entries[0].file_size} bytes; allowed are {MAX_PICKLE_BYTES}"
                )
            with archive.open(entries[0]) as file:
                return set(_globals(file))
    except zipfile.BadZipFile as error:
        raise CheckpointFileError(f"{path} is damaged or incomplete: {error}") from error


def _globals_of_old_format(path: Path) -> set[str]:
    with path.open("rb") as file:
        return {name for _ in range(OLD_PICKLES) for name in _globals(file)}


def _globals(file: IO[bytes]) -> Iterator[str]:
    """Dotted names in the pickle at the file's position; its instructions are parsed and not run.

    If torch interprets the instructions differently, it finds a name without a stand-in and refuses the file.
    """
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "GLOBAL":
            yield str(argument).replace(" ", ".", 1)


def _is_note(name: str) -> bool:
    return name.partition(".")[0] in NOTE_MODULES


def _stand_in(name: str) -> type:
    return _InertMapping if name in MAPPINGS else _Inert


def _unpickling_reason(error: pickle.UnpicklingError) -> str:
    """The part of torch's message that names the cause. The rest advises to disable the protection."""
    text = str(error)
    cause = text.rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0]
    name = cause.partition("GLOBAL ")[2].partition(" ")[0]
    if name:
        return f"it asks for {name}, which no weights need; nothing of it was run"
    return cause or "its pickle is damaged"
