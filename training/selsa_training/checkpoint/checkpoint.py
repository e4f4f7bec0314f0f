"""A checkpoint: a folder with `model.safetensors` (the tensors) and `checkpoint.json` (their description)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from selsa_bundle.files.new_folder import check_target as check_new_folder
from selsa_bundle.files.new_folder import new_folder
from selsa_bundle.files.stored_file import sha256_of
from selsa_training.checkpoint.errors import (
    CheckpointFileError,
    ChecksumMismatchError,
    TensorsError,
)
from selsa_training.checkpoint.tensor_check import check_finite, check_names_and_shapes
from selsa_training.config import ModelConfig
from selsa_training.everyday.config import EverydayConfig
from selsa_training.families import AnyConfig, shapes_of
from selsa_training.model.tensor_shapes import is_counter

TENSORS_NAME: Final = "model.safetensors"
MANIFEST_NAME: Final = "checkpoint.json"
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_ORIGIN: Final = 1000


class CheckpointManifest(BaseModel):
    """The contents of `checkpoint.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["selsa-checkpoint"] = "selsa-checkpoint"
    version: Literal[1] = 1
    config: AnyConfig
    origin: str = Field(max_length=MAX_ORIGIN, description="where the tensors came from, for people")
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    created: str = Field(description="ISO 8601, UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that passed every check.

    Attributes:
        tensors: name -> tensor on the CPU, float32 (int64 for `num_batches_tracked`), exactly the names and
            shapes of `shapes_of(config)`.
        origin: where the tensors came from, for people.
        sha256: hex sha256 of `model.safetensors`.
    """

    config: ModelConfig | EverydayConfig
    tensors: dict[str, torch.Tensor]
    origin: str
    sha256: str


def save_checkpoint(
    folder: Path,
    config: ModelConfig | EverydayConfig,
    tensors: Mapping[str, torch.Tensor],
    origin: str,
    *,
    overwrite: bool = False,
) -> None:
    """Write a checkpoint; `folder` appears complete or not at all.

    Args:
        tensors: name -> tensor, on any device, as `shapes_of(config)` calls for.
        origin: where the tensors came from, at most 1000 characters.
        overwrite: replace an older checkpoint at `folder`. Anything but a checkpoint is never replaced.

    Raises:
        TensorsError: the tensors are not those of the configuration, or not finite.
        TargetTakenError: something is at `folder` that may not be replaced.
        CheckpointFileError: the folder cannot be written.
    """
    _check(tensors, config, str(folder))
    try:
        with new_folder(folder, marker=MANIFEST_NAME, overwrite=overwrite) as part:
            _write(part, config, tensors, origin)
    except (OSError, SafetensorError) as error:
        raise CheckpointFileError(f"cannot write the checkpoint {folder}: {_reason(error)}") from error


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Raise unless a checkpoint may be written to `folder`; lets a command fail before its long work.

    Raises:
        TargetTakenError: something is there that may not be replaced.
    """
    check_new_folder(folder, marker=MANIFEST_NAME, overwrite=overwrite)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint and check all of it: manifest, checksum, names, shapes and types.

    Raises:
        CheckpointFileError: there is no checkpoint at `folder`, or it is damaged.
        ChecksumMismatchError: `model.safetensors` is not the file that `checkpoint.json` describes.
        TensorsError: the tensors are not those of the configuration.
    """
    manifest = _read_manifest(folder)
    path = folder / TENSORS_NAME
    try:
        found = sha256_of(path)
        if found != manifest.sha256:
            raise ChecksumMismatchError(
                f"{path} has sha256 {found}, {MANIFEST_NAME} says {manifest.sha256}; "
                "make the checkpoint again"
            )
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointFileError(f"cannot read {path}: {_reason(error)}") from error
    _check(tensors, manifest.config, str(path))
    return Checkpoint(config=manifest.config, tensors=tensors, origin=manifest.origin, sha256=manifest.sha256)


def _check(tensors: Mapping[str, torch.Tensor], config: ModelConfig | EverydayConfig, what: str) -> None:
    check_names_and_shapes(tensors, shapes_of(config), what=what)
    for name, tensor in tensors.items():
        wanted = torch.int64 if is_counter(name) else torch.float32
        if tensor.dtype != wanted:
            raise TensorsError(f"{what}: {name} is {tensor.dtype}, wanted {wanted}")
    check_finite(tensors, what=what)


def _write(
    part: Path, config: ModelConfig | EverydayConfig, tensors: Mapping[str, torch.Tensor], origin: str
) -> None:
    path = part / TENSORS_NAME
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    manifest = CheckpointManifest(
        config=config,
        origin=origin[:MAX_ORIGIN],
        sha256=sha256_of(path),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    (part / MANIFEST_NAME).write_bytes(manifest.model_dump_json(indent=2).encode() + b"\n")


def how_to_checkpoint(path: Path) -> str | None:
    """How to get a checkpoint from a weights file or a training run; None if the path is neither."""
    if path.suffix in (".pth", ".pt", ".ckpt"):
        return f"it is a file of weights; make a checkpoint of it with `selsa import {path} -o {path.stem}`"
    if (path / "checkpoint" / MANIFEST_NAME).is_file():
        return f"it is a training run; name its checkpoint, {path / 'checkpoint'}"
    return None


def _read_manifest(folder: Path) -> CheckpointManifest:
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES)
    except OSError as error:
        reason = how_to_checkpoint(folder) or f"cannot read {path}: {_reason(error)}"
        raise CheckpointFileError(f"{folder} is not a checkpoint: {reason}") from error
    try:
        return CheckpointManifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise CheckpointFileError(f"{path}: {where}: {first['msg']}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
