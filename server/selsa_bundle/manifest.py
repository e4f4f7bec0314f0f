"""`manifest.json`: the contents of a bundle, checked before anything is used."""

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from selsa_bundle.contract import Dimensions, EngineContract, EngineName, contract_for
from selsa_bundle.errors import ChoiceError, ManifestError
from selsa_bundle.files.stored_file import Sha256, StoredFile
from selsa_bundle.preprocess import Preprocess
from selsa_bundle.tolerance import GateTolerance, Precision

MANIFEST_NAME: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 1 << 20
# Pixels: with fewer, a network that halves a frame five times sees one cell.
LEAST_SIZE: Final = 32

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
ClassName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f,]{1,100}$")]
# Graphs of one model: `fp32` for ONNX Runtime and OpenVINO, `int8` the same quantised for CPUs, `native` in
# operators that every TensorRT has. bfloat16 has no graphs: the runtime computes the fp32 graphs in it.
Variant = Literal["fp32", "int8", "native", "native-fp16", "native-int8"]


class EngineFile(StoredFile):
    """One engine: its file and its tensors."""

    tensors: EngineContract


class GateFile(StoredFile):
    """Test frames with their outputs, and how far a runtime may differ from them; see `gate`."""

    origin: str = Field(max_length=200, description="what computed the outputs")
    tolerances: dict[Precision, GateTolerance] = Field(
        description="by precision; a missing one is the usual one"
    )


class About(BaseModel):
    """The model, described for a person who has never heard of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Annotated[str, Field(min_length=1, max_length=100)] = Field(description="its name for people")
    description: Annotated[str, Field(min_length=1, max_length=1000)] = Field(
        description="what it detects and what it is for"
    )
    warning: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        default=None, description="what it must not be used for, or why its scores mean little"
    )


class Provenance(BaseModel):
    """The origin of a bundle: enough to export it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    checkpoint_sha256: Sha256
    origin: str = Field(max_length=1000, description="the checkpoint's own description")
    created: str = Field(description="ISO 8601, UTC")
    versions: dict[str, str] = Field(description="versions of what wrote the graphs")


class Manifest(BaseModel):
    """The contents of `manifest.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["selsa-bundle"] = "selsa-bundle"
    format_version: Literal[1] = 1

    @field_validator("format_version", mode="before")
    @classmethod
    def _is_known(cls, value: object) -> object:
        if isinstance(value, int) and value > 1:
            raise ValueError(f"the bundle has format version {value}, newer than this selsa; upgrade selsa")
        return value

    name: Name
    about: About | None = Field(default=None, description="the model in words")
    classes: tuple[ClassName, ...] = Field(min_length=1, max_length=10000)
    preprocess: Preprocess
    dimensions: Dimensions
    reference_frames: int = Field(ge=0, le=64, description="reference frames of the published protocol")
    engines: dict[Variant, dict[EngineName, EngineFile]]
    parity: StoredFile = Field(description="report of the engines' agreement with torch")
    gate: GateFile | None = Field(default=None, description="what a runtime must compute to be used")
    weight_bits: Literal[7, 8] | None = Field(
        default=None, description="of the int8 graphs for CPUs; none stated: 8"
    )
    precisions: StoredFile | None = Field(default=None, description="report of the precisions, measured")
    evaluation: StoredFile | None = Field(default=None, description="report of `selsa evaluate`")
    provenance: Provenance

    @model_validator(mode="after")
    def _check_contents(self) -> "Manifest":
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a name occurs twice")
        if "fp32" not in self.engines:
            raise ValueError("engines: variant fp32 is missing")
        for variant, pair in self.engines.items():
            for name in ("frame", "sequence"):
                if name not in pair:
                    raise ValueError(f"engines.{variant}: the {name} engine is missing")
                if pair[name].tensors != contract_for(name, self.dimensions):
                    raise ValueError(f"engines.{variant}.{name}.tensors: not the tensor contract")
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

    def at_size(self, size: int) -> "Manifest":
        """The same model for frames whose long side is `size` pixels.

        Raises:
            ChoiceError: the size is over the bundle's own, or under 32 pixels.
        """
        own = self.preprocess.long_side
        if not LEAST_SIZE <= size <= own:
            raise ChoiceError(
                f"--size is {size}; the bundle {self.name} allows {LEAST_SIZE} to {own} pixels, its own size."
            )
        return self.model_copy(update={"preprocess": self.preprocess.at_size(size)})

    def to_json(self) -> bytes:
        """The bytes of `manifest.json`; missing reports are left out."""
        return self.model_dump_json(indent=2, exclude_none=True).encode() + b"\n"

    def digest(self) -> str:
        """`sha256:` + hex sha256 of `to_json()`; it covers the files through their checksums."""
        return f"sha256:{hashlib.sha256(self.to_json()).hexdigest()}"

    def verify_files(self, folder: Path, variants: Collection[Variant] | None = None) -> None:
        """Compare size and sha256 of the files in `folder` with this manifest.

        Args:
            variants: whose graphs to check; None: all. Reports and the gate are always checked.

        Raises:
            ChecksumError: a file is missing or differs.
        """
        graphs = [
            graph
            for variant, pair in self.engines.items()
            if variants is None or variant in variants
            for graph in pair.values()
        ]
        others = [each for each in (self.parity, self.gate, self.precisions, self.evaluation) if each]
        # Variants share files; each file is read once.
        described = {(each.file, each.bytes, each.sha256): each for each in (*graphs, *others)}
        for stored in described.values():
            stored.verify(folder)


def _how_to_make(path: Path) -> str | None:
    """How to make a bundle from this path, if it is a weights file or a checkpoint; otherwise None."""
    if path.suffix in (".pth", ".pt", ".ckpt"):
        made = path.stem
        return (
            f"it is a file of weights; make a bundle of it with `selsa import {path} -o {made}` and then "
            f"`selsa export {made} -o {made}.bundle`"
        )
    if any((folder / "checkpoint.json").is_file() for folder in (path, path / "checkpoint")):
        checkpoint = path if (path / "checkpoint.json").is_file() else path / "checkpoint"
        return f"it is a checkpoint; make a bundle of it with `selsa export {checkpoint} -o {path}.bundle`"
    return None


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
        remedy = _how_to_make(folder) or f"cannot read {path}: {reason}; `selsa models` lists packaged ones"
        raise ManifestError(f"{folder} is no bundle: {remedy}") from error
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes")
    return raw
