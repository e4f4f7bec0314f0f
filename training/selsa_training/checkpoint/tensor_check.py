"""Compare tensors with the tensors that a configuration requires, and name every difference."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import torch

from selsa_training.checkpoint.errors import TensorsError
from selsa_training.model.tensor_shapes import Shape, is_counter

LISTED: Final = 5


def check_names_and_shapes(
    tensors: Mapping[str, torch.Tensor],
    expected: Mapping[str, Shape],
    *,
    what: str,
    shown: Callable[[str], str] = str,
) -> None:
    """Raise unless `tensors` has exactly the expected names and shapes. The error counts all differences.

    Args:
        tensors: name -> tensor.
        expected: name -> shape.
        what: the beginning of the message, for example a file's name.
        shown: translates a tensor name for the message.

    Raises:
        TensorsError: some tensors are unexpected, missing or misshapen; the first of each kind are named.
    """
    misshapen = [
        f"{shown(name)} has shape {list(tensor.shape)}, wanted {list(expected[name])}"
        for name, tensor in tensors.items()
        if name in expected and tuple(tensor.shape) != expected[name]
    ]
    faults = [
        _listing("unexpected", [shown(name) for name in tensors if name not in expected]),
        _listing("missing", [shown(name) for name in expected if name not in tensors]),
        _listing("misshapen", misshapen),
    ]
    found = "; ".join(fault for fault in faults if fault)
    if found:
        raise TensorsError(f"{what}: {found}")


def check_finite(
    tensors: Mapping[str, torch.Tensor], *, what: str, shown: Callable[[str], str] = str
) -> None:
    """Raise if a floating-point tensor holds NaN or infinity.

    Raises:
        TensorsError: naming the first few such tensors, with how many of their values are not finite.
    """
    bad = []
    for name, tensor in tensors.items():
        if not is_counter(name) and not bool(torch.isfinite(tensor).all()):
            count = int((~torch.isfinite(tensor)).sum())
            bad.append(f"{shown(name)} ({count} of {tensor.numel()} values)")
    if bad:
        raise TensorsError(f"{what}: {_listing('not finite', bad)}")


def _listing(kind: str, items: Iterable[str]) -> str:
    """`2 tensors missing: a, b`; empty if there are none."""
    items = list(items)
    if not items:
        return ""
    noun = "tensor" if len(items) == 1 else "tensors"
    more = f", and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return f"{len(items)} {noun} {kind}: {', '.join(items[:LISTED])}{more}"
