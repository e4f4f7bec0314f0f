"""`manifest.json`: what a bundle holds, checked before anything of it is used."""

import hashlib
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from selsa_bundle.contract import Dimensions, EngineContract, EngineName, contract_for
from selsa_bundle.errors import ChecksumError, ManifestError
from selsa_bundle.preprocess import Preprocess

__all__ = ["MANIFEST_NAME", "EngineFile", "Manifest", "Provenance", "StoredFile", "sha256_of"]

MANIFEST_NAME: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 1 << 20

# A plain file name inside the bundle's folder: no separator, no parent, nothing hidden.
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
ClassName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f,]{1,100}$")]
Precision = Literal["fp32"]


class StoredFile(BaseModel):
    """A file of the bundle: its name, size in bytes and sha256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: FileName
    bytes: int = Field(gt=0)
    sha256: Sha256

    @classmethod
    def of(cls, path: Path) -> Self:
        """The description of a file that is there."""
        return cls(file=path.name, bytes=path.stat().st_size, sha256=sha256_of(path))


class EngineFile(StoredFile):
    """One engine: its file and its tensors."""

    tensors: EngineContract


class Provenance(BaseModel):
    """Where a bundle came from: enough to make it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    checkpoint_sha256: Sha256
    origin: str = Field(max_length=1000, description="what the checkpoint says of itself")
    created: str = Field(description="ISO 8601, UTC")
    versions: dict[str, str] = Field(description="versions of what wrote the graphs")


class Manifest(BaseModel):
    """The contents of `manifest.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["selsa-bundle"] = "selsa-bundle"
    format_version: Literal[1] = 1
    name: Name
    classes: tuple[ClassName, ...] = Field(min_length=1, max_length=10000)
    preprocess: Preprocess
    dimensions: Dimensions
    reference_frames: int = Field(ge=0, le=64, description="reference frames of the published protocol")
    engines: dict[Precision, dict[EngineName, EngineFile]]
    parity: StoredFile = Field(description="report of the engines' agreement with torch")
    provenance: Provenance

    @model_validator(mode="after")
    def _tensors_are_the_contract(self) -> "Manifest":
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a name occurs twice")
        if "fp32" not in self.engines:
            raise ValueError("engines: precision fp32 is missing")
        for precision, pair in self.engines.items():
            for name in ("frame", "sequence"):
                if name not in pair:
                    raise ValueError(f"engines.{precision}: the {name} engine is missing")
                if pair[name].tensors != contract_for(name, self.dimensions):
                    raise ValueError(f"engines.{precision}.{name}.tensors: not the tensor contract")
        return self

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read and check the manifest of the bundle in `folder`.

        Raises:
            ManifestError: there is none, it is not readable, or a value is not allowed (which one is named).
        """
        return cls.parse(read_manifest_bytes(folder), folder / MANIFEST_NAME)

    @classmethod
    def parse(cls, raw: bytes, path: Path) -> "Manifest":
        """Check the bytes of a manifest; `path` is only named in errors."""
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the document"
            raise ManifestError(f"{path}: {where}: {first['msg']}") from error

    def to_json(self) -> bytes:
        """The bytes of `manifest.json`."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    def verify_files(self, folder: Path, precision: Precision = "fp32") -> None:
        """Compare size and sha256 of the files in `folder` with this manifest.

        Raises:
            ChecksumError: a file is missing or differs.
        """
        for stored in (*self.engines[precision].values(), self.parity):
            path = folder / stored.file
            if not path.is_file():
                raise ChecksumError(f"{path} is missing; export the bundle again")
            size = path.stat().st_size
            if size != stored.bytes:
                raise ChecksumError(f"{path} has {size} bytes, its manifest says {stored.bytes}")
            found = sha256_of(path)
            if found != stored.sha256:
                raise ChecksumError(f"{path} has sha256 {found}, its manifest says {stored.sha256}")


def read_manifest_bytes(folder: Path) -> bytes:
    """The bytes of a bundle's manifest, at most 1 MiB of them.

    Raises:
        ManifestError: the file is missing, unreadable or too large.
    """
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ManifestError(f"{folder} is no bundle: cannot read {path}: {reason}") from error
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes")
    return raw


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
