"""Import of the weights that mmtracking publishes."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeGuard

import torch

from selsa_bundle.files.stored_file import sha256_of
from selsa_training.checkpoint.errors import CheckpointFileError, TensorsError
from selsa_training.checkpoint.names import our_name, published_name
from selsa_training.checkpoint.tensor_check import check_finite, check_names_and_shapes
from selsa_training.config import ModelConfig
from selsa_training.model.tensor_shapes import expected_shapes, is_counter
from selsa_training.published.file import read_pth
from selsa_training.published.recognise import recognise

MAX_LENGTH: Final = 100


def fitting_names(names: object, count: int) -> tuple[str, ...] | None:
    """The cleaned names, or None if `names` is not a list of `count` strings.

    Commas (they separate names in requests) and unprintable characters become spaces. An empty name becomes
    `class_INDEX`; names that occur more than once get `_INDEX` appended, so that none is lost or merged.
    """
    if not isinstance(names, list | tuple) or len(names) != count:
        return None
    if not all(isinstance(name, str) for name in names):
        return None
    clean = [_clean(name) or f"class_{index}" for index, name in enumerate(names)]
    seen = Counter(clean)
    unique = [
        name if seen[name] == 1 else f"{name[: MAX_LENGTH - 10]}_{index}" for index, name in enumerate(clean)
    ]
    # False only for lists that collide on purpose ("a", "a", "a_0").
    return tuple(unique) if len(set(unique)) == count else None


def _clean(name: str) -> str:
    spaced = "".join(
        " " if character == "," or not character.isprintable() else character for character in name
    )
    return " ".join(spaced.split())[:MAX_LENGTH]


# Prefix of the averaged copies that mmcv's EMAHook adds to a model.
EMA: Final = "ema_"
FLOATS: Final = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
INTEGERS: Final = (torch.int64, torch.int32, torch.int16, torch.uint8)
# Notes of the file to keep, and their names.
NOTES: Final = {"mmtrack_version": "mmtracking", "mmcv_version": "mmcv", "epoch": "epoch", "time": "saved"}
MAX_NOTE: Final = 60


class Imported(NamedTuple):
    """A model from a published file.

    Attributes:
        tensors: name -> tensor on the CPU, float32 (int64 for `num_batches_tracked`), contiguous,
            independent of the file.
        origin: description of the source, for people.
        notes: lines for people about weights that the file has twice: which were used, which left out.
    """

    config: ModelConfig
    tensors: dict[str, torch.Tensor]
    origin: str
    notes: tuple[str, ...]


def import_published(path: Path, *, ema: bool = False) -> Imported:
    """Read a SELSA checkpoint of mmtracking. No code in the file is run.

    Takes torch's zip and old formats, a training checkpoint (`meta`, `state_dict`, `optimizer`) or a bare
    state dict, with or without the prefix `module.`, with or without copies by mmcv's `EMAHook` (buffers
    `ema_NAME`, where dots of the parameter's name are underscores).

    Args:
        ema: use the averaged copies of the parameters. Buffers, such as the statistics of norms, have no
            copies.

    Raises:
        CheckpointFileError: the file is missing, damaged, or not a torch file.
        TensorsError: it holds no SELSA model, or `ema` is set and copies are missing. The message names the
            first
            unexpected, missing, misshapen or non-finite tensors as in the file.
    """
    state, meta = _state_and_meta(read_pth(path), path)
    state, notes = _without_copies(state, path, ema=ema)
    tensors = _renamed(state, path)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    config = recognise(shapes, what=str(path))
    check_names_and_shapes(
        tensors, expected_shapes(config), what=f"{path} is not a SELSA checkpoint", shown=_shown
    )
    converted = {name: _converted(name, tensor, path) for name, tensor in tensors.items()}
    check_finite(converted, what=str(path), shown=_shown)
    names = fitting_names(meta.get("CLASSES"), len(config.classes))
    if names is not None:
        config = config.model_copy(update={"classes": names})
    origin = _origin(path, meta, names_from_file=names is not None)
    return Imported(config, converted, "; ".join((origin, *notes[:1])), notes)


def _state_and_meta(content: object, path: Path) -> tuple[Mapping[object, object], Mapping[object, object]]:
    if isinstance(content, Mapping):
        state = content.get("state_dict", content)
        meta = content.get("meta")
        if isinstance(state, Mapping) and state:
            return state, meta if isinstance(meta, Mapping) else {}
    raise CheckpointFileError(f"{path} is not a checkpoint: it holds no state_dict")


def _without_copies(
    state: Mapping[object, object], path: Path, *, ema: bool
) -> tuple[Mapping[object, object], tuple[str, ...]]:
    """The state without the copies of mmcv's `EMAHook`, or with each copy in place of its parameter."""
    own = {key.removeprefix("module."): key for key in state if isinstance(key, str)}
    copies = {
        name: own[copy]
        for name in own
        if (copy := f"{EMA}{name.replace('.', '_')}") in own and not name.startswith(EMA)
    }
    if not copies:
        if ema:
            raise TensorsError(f"{path} has no averaged weights: none of its names begins with {EMA}")
        return state, ()
    copied = set(copies.values())
    rest = {key: value for key, value in state.items() if key not in copied}
    count = f"{len(copies)} of {len(rest)} tensors"
    if not ema:
        return rest, (f"weights under the model's own names taken; {EMA} copies of {count} left out",)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    missing = [name for name in own if name not in copies and not name.startswith(EMA)]
    missing = [name for name in missing if not name.endswith(buffers)]
    if missing:
        raise TensorsError(f"{path} has no averaged copy of {len(missing)} parameters: {missing[0]}, ...")
    swapped: dict[object, object] = {key: state[copies[name]] for name, key in own.items() if name in copies}
    return {**rest, **swapped}, (f"{EMA} copies of {count} taken; their originals left out",)


def _renamed(state: Mapping[object, object], path: Path) -> dict[str, torch.Tensor]:
    """The tensors under the names of this project; names that a SELSA model does not have stay unchanged."""
    tensors: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if not isinstance(key, str) or not _is_plain(value):
            raise TensorsError(f"{path} is not a SELSA checkpoint: {key!r:.100} is not a dense tensor")
        # Wrapping in DataParallel adds the prefix.
        published = key.removeprefix("module.")
        name = our_name(published) or published
        if name in tensors:
            raise TensorsError(f"{path}: {published} occurs twice, with and without the prefix 'module.'")
        tensors[name] = value
    return tensors


def _is_plain(value: object) -> TypeGuard[torch.Tensor]:
    return (
        type(value) in (torch.Tensor, torch.nn.Parameter)
        and isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _converted(name: str, tensor: torch.Tensor, path: Path) -> torch.Tensor:
    counter = is_counter(name)
    if tensor.dtype not in (INTEGERS if counter else FLOATS):
        wanted = "an integer" if counter else "floating point"
        raise TensorsError(f"{path}: {_shown(name)} is {tensor.dtype}, wanted {wanted}")
    # Always copy, even if the type is right: the file may be memory-mapped, or two tensors may share memory.
    return tensor.detach().to(
        torch.int64 if counter else torch.float32, copy=True, memory_format=torch.contiguous_format
    )


def _shown(name: str) -> str:
    try:
        return published_name(name)
    except KeyError:
        return name


def _origin(path: Path, meta: Mapping[object, object], *, names_from_file: bool) -> str:
    parts = [f"imported from {path.name[-200:]}, sha256 {sha256_of(path)}"]
    for key, label in NOTES.items():
        value = meta.get(key)
        if isinstance(value, str | int):
            text = "".join(character for character in str(value) if character.isprintable())
            parts.append(f"{label} {text[:MAX_NOTE]}")
    parts.append("class names from the file" if names_from_file else "class names assumed")
    return "; ".join(parts)
