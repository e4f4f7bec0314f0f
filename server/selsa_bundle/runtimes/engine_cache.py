"""A cache of compiled engines; a file that does not match exactly or is damaged is ignored.

A file is a header (the engine's key and checksum) and the engine as its library serialised it. Loading an
engine runs code, so the cache is not part of a bundle, which may come from anywhere. It is a folder of the
user, and files that others can write to are refused. The checksum detects damage, not forgery.
"""

import hashlib
import json
import os
import secrets
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from selsa_bundle.contract import EngineName
from selsa_bundle.errors import BundleError, EngineError
from selsa_bundle.files.lock import exclusive
from selsa_bundle.files.stored_file import Sha256
from selsa_bundle.files.user_cache import user_cache

MAGIC: Final = b"SELSA-ENGINE-1\n\0"
LENGTH: Final = struct.Struct("<I")
MAX_HEADER_BYTES: Final = 1 << 16
WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH

Text = Annotated[str, Field(min_length=1, max_length=200)]


class EngineKey(BaseModel):
    """Everything that an engine depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: EngineName
    onnx_sha256: Sha256
    library: Literal["tensorrt", "tensorrt_rtx", "openvino"]
    version: Text = Field(description="full version of the library")
    processor: Text = Field(description="the GPU (`sm86`), or a digest of the CPU's name and instructions")
    precision: Text
    profiles: tuple[dict[str, Any], ...]
    flags: tuple[Text, ...]

    @property
    def digest(self) -> str:
        """Hex sha256 of the key."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """Engine, GPU and precision, readable, with the start of the digest."""
        return f"{self.engine}-{self.processor}-{self.precision}-{self.digest[:16]}.engine"


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: EngineKey
    bytes: int = Field(gt=0)
    sha256: Sha256


class EngineCache:
    """Engines in a folder, by key. Several processes may share it: one builds, the others wait.

    Args:
        folder: created with the first engine.
        say: gets messages about ignored files and about waiting.
    """

    def __init__(self, folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
        self._folder = folder
        self._say = say

    def path(self, key: EngineKey) -> Path:
        """The file of a key's engine."""
        return self._folder / key.file_name

    def read(self, key: EngineKey) -> bytes | None:
        """The engine of exactly this key; None if it is missing or unusable (`say` gets the reason)."""
        path = self.path(key)
        try:
            return _read(path, key)
        except FileNotFoundError:
            return None
        except (_UnusableError, OSError) as error:
            self._say(f"{path} is not used and will be built again: {error}")
            return None

    def get(self, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        """The engine of a key, built now if it is missing.

        Raises:
            EngineError: it cannot be built, or the folder cannot be used.
        """
        found = self.read(key)
        if found is not None:
            return found
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_private(self._folder)
            waiting = f"{self.path(key).name} is being built by another process; waiting for it"
            with exclusive(self.path(key).with_suffix(".lock"), on_wait=lambda: self._say(waiting)):
                # The process that held the lock may have built it.
                found = self.read(key)
                if found is None:
                    found = build()
                    _write(self.path(key), key, found)
        except (OSError, _UnusableError) as error:
            raise EngineError(f"The engine cache {self._folder} cannot be used: {error}.") from error
        return found


def default_engine_cache() -> Path | None:
    """The folder of engines in the user's cache; None if the user has none."""
    try:
        return user_cache() / "engines"
    except BundleError:
        return None


class _UnusableError(Exception):
    """Why a file is not used."""


def _read(path: Path, key: EngineKey) -> bytes:
    with path.open("rb") as file:
        _check_private(path.parent)
        _check_private(path, file.fileno())
        header = _read_header(file.read(len(MAGIC) + LENGTH.size), file.read)
        if header.key != key:
            raise _UnusableError(_difference(header.key, key))
        # Bounded by the header's size; one more byte shows a file that is too long.
        engine = file.read(header.bytes + 1)
    if len(engine) != header.bytes:
        raise _UnusableError(f"it holds {len(engine)} bytes of an engine of {header.bytes}")
    if hashlib.sha256(engine).hexdigest() != header.sha256:
        raise _UnusableError("its checksum is wrong")
    return engine


def _read_header(start: bytes, read: Callable[[int], bytes]) -> _Header:
    if len(start) != len(MAGIC) + LENGTH.size or not start.startswith(MAGIC):
        raise _UnusableError("it is no engine of this cache")
    (length,) = LENGTH.unpack(start[len(MAGIC) :])
    if length > MAX_HEADER_BYTES:
        raise _UnusableError(f"its header has {length} bytes, more than {MAX_HEADER_BYTES}")
    try:
        return _Header.model_validate_json(read(length))
    except ValidationError as error:
        raise _UnusableError("its header cannot be read") from error


def _difference(found: EngineKey, wanted: EngineKey) -> str:
    for name in EngineKey.model_fields:
        have, want = getattr(found, name), getattr(wanted, name)
        if have != want:
            return f"its {name} is {have}, not {want}"
    return "it is another engine"


def _check_private(path: Path, descriptor: int | None = None) -> None:
    """Only this user or root may be able to write a file that runs code."""
    about = path.stat() if descriptor is None else os.fstat(descriptor)
    if not hasattr(os, "getuid"):
        return
    if about.st_uid not in (os.getuid(), 0):
        raise _UnusableError(f"{path} belongs to another user")
    if about.st_mode & WRITABLE_BY_OTHERS:
        raise _UnusableError(f"{path} may be written by others; remove that permission (chmod go-w)")


def _write(path: Path, key: EngineKey, engine: bytes) -> None:
    header = _Header(key=key, bytes=len(engine), sha256=hashlib.sha256(engine).hexdigest())
    text = header.model_dump_json().encode()
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(MAGIC + LENGTH.pack(len(text)) + text)
            file.write(engine)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
