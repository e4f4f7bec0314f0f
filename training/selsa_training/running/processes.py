"""The processes of a run: one, or those that `torchrun` started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from selsa_training.recipe.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among the others.

    Attributes:
        rank: 0 to world - 1; process 0 writes.
        world: number of processes.
        device: of this process.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of a tensor over all processes; modifies the tensor if there are several."""
        if self.world > 1:
            distributed.all_reduce(tensor)
            tensor /= self.world
        return tensor

    def highest(self, number: int) -> int:
        """The highest of the processes' numbers."""
        if self.world == 1:
            return number
        highest = torch.tensor(number, device=self.device)
        distributed.all_reduce(highest, distributed.ReduceOp.MAX)
        return int(highest)

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the process group that `torchrun` started; without torchrun there is only this process.

    Args:
        device: `cpu`, `cuda` (the device of this process's local rank), `cuda:N`, or `auto`.

    Raises:
        TrainingError: there is no such device.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    place = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if world == 1:
        yield Processes(0, 1, place)
        return
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), world, place)
    finally:
        distributed.destroy_process_group()


def _device(name: str, local_rank: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(
            f"--device {name!r} is not a device; allowed are auto, cpu, cuda and cuda:N"
        ) from error
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(f"--device {name!r} is not supported; allowed are auto, cpu, cuda and cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            f"--device {name!r}: this machine has no CUDA device that torch {torch.__version__} sees"
        )
    return torch.device("cuda", local_rank) if name == "cuda" else device
