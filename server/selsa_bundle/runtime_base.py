"""The base of all runtimes: the engine protocol around one call, and the check of an engine's tensors.

A runtime is a class that derives from `RuntimeEngines` and has `call` and `close`, a function that opens it
from `Graphs`, and an entry in `selsa_bundle.providers`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_bundle.contract import Dimensions, EngineContract, EngineName, TensorSpec
from selsa_bundle.engine import (
    Array,
    DetectionBatch,
    EngineInfo,
    Float,
    FrameBatch,
    Int,
    ReferenceBank,
    sequence_feeds,
)
from selsa_bundle.errors import ContractError, EngineError

CLOSED: Final = "The engines were closed."


class RuntimeEngines(ABC):
    """A bundle's two engines on a runtime. See `selsa_bundle.engine.Engines`.

    Args:
        info: the provider that executes the graphs, and their precision.
    """

    def __init__(self, dimensions: Dimensions, info: EngineInfo) -> None:
        self._dimensions = dimensions
        self._info = info

    @property
    def dimensions(self) -> Dimensions:
        """The family and the fixed dimensions of its tensors."""
        return self._dimensions

    @property
    def info(self) -> EngineInfo:
        """The provider that executes the graphs, and their precision."""
        return self._info

    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: Int) -> FrameBatch:
        """Run the frame engine; see the protocol."""
        return FrameBatch(**self.call("frame", {"frames": frames, "image_size": image_size}, None))

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: Float, bank: ReferenceBank
    ) -> DetectionBatch:
        """Run the sequence engine; see the protocol."""
        feeds = sequence_feeds(self._dimensions, batch, image_size, scale_factor)
        return DetectionBatch.from_outputs(self.call("sequence", feeds, bank))

    @abstractmethod
    def call(
        self, engine: EngineName, feeds: Mapping[str, Array], bank: ReferenceBank | None
    ) -> dict[str, Array]:
        """Run one engine.

        Args:
            feeds: its inputs by name, without those of the bank.

        Returns:
            Its outputs by name; the arrays belong to the caller.

        Raises:
            EngineError: the runtime failed, or the engines were closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the engines' memory. No call may run or follow; a second close does nothing."""


@dataclass(frozen=True, slots=True)
class FoundTensor:
    """An input or output as a runtime describes it; a dimension that is not fixed is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def check_tensors(
    path: Path,
    contract: EngineContract,
    inputs: Sequence[FoundTensor],
    outputs: Sequence[FoundTensor],
    *,
    derives_all: bool,
) -> None:
    """Compare an engine's tensors with the contract.

    Args:
        contract: what they must be.
        derives_all: whether the runtime knows every fixed dimension; if not, one may be dynamic to it.

    Raises:
        ContractError: a name, type or shape differs.
    """
    for side, specs, found in (("inputs", contract.inputs, inputs), ("outputs", contract.outputs, outputs)):
        if [spec.name for spec in specs] != [each.name for each in found]:
            names, allowed = (", ".join(each.name for each in tensors) for tensors in (found, specs))
            raise ContractError(f"{path}: {side} are ({names}), the tensor contract has ({allowed})")
        for spec, each in zip(specs, found, strict=True):
            if each.dtype != spec.dtype or not _shape_fits(spec, each.shape, derives_all=derives_all):
                shape = ["dynamic" if size is None else size for size in each.shape]
                raise ContractError(
                    f"{path}: {each.name} is {each.dtype} {shape}, the tensor contract has {spec}"
                )


def _shape_fits(spec: TensorSpec, found: tuple[int | None, ...], *, derives_all: bool) -> bool:
    """A fixed dimension must be the same number; a dynamic one must be dynamic."""

    def fits(want: int | str, have: int | None) -> bool:
        if have is None:
            return isinstance(want, str) or not derives_all
        return want == have

    return len(spec.shape) == len(found) and all(map(fits, spec.shape, found))


def failure(runtime: str, feeds: Mapping[str, Array], reason: str) -> EngineError:
    """The error of a call that failed; it names the shapes."""
    shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feeds.items())
    return EngineError(f"{runtime} failed on {shapes}: {reason}")


def lines_of(error: Exception) -> list[str]:
    """The lines of an error's message that are not empty; its type where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines or [type(error).__name__]
