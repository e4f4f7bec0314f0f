"""The folder of a run: its files, and how an interrupted run resumes.

RUN/recipe.json      the resolved recipe, the data and the seeds
RUN/state.pt         weights, optimiser, average and step: the state that a resumed run continues from
RUN/checkpoint/      the latest checkpoint, complete or absent; the final one at the end
RUN/log.jsonl        a JSON object per line
RUN/tensorboard/     scalars and pictures
RUN/pictures/        predictions as PNG
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from selsa_training.checkpoint.checkpoint import save_checkpoint
from selsa_training.config import ModelConfig
from selsa_training.recipe.errors import TrainingError

RECIPE: Final = "recipe.json"
CHECKPOINT: Final = "checkpoint"
STATE: Final = "state.pt"


class RunFolder:
    """A run's files. Every file is replaced atomically, except for the log, which is appended to.

    Args:
        folder: created if it does not exist.
        about: recipe and data of the run; a resumed run must have the same.
        resume: continue the run in the folder.

    Raises:
        TrainingError: the folder has a run and `resume` is not set, or the run is another one.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], *, resume: bool) -> None:
        self.folder = folder
        self._about = json.loads(json.dumps(about))
        recipe = folder / RECIPE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if recipe.exists():
                self._check(recipe, resume=resume)
            else:
                _replace(recipe, json.dumps(self._about, indent=2).encode() + b"\n")
        except OSError as error:
            raise TrainingError(f"cannot use {folder}: {error.strerror}") from error

    @property
    def log(self) -> Path:
        """The JSON log."""
        return self.folder / "log.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's events."""
        return self.folder / "tensorboard"

    @property
    def checkpoint(self) -> Path:
        """The latest checkpoint."""
        return self.folder / CHECKPOINT

    def picture(self, step: int) -> Path:
        """Path of the picture after a step; its folder is created."""
        place = self.folder / "pictures"
        place.mkdir(exist_ok=True)
        return place / f"step-{step:07d}.png"

    def state(self) -> dict[str, Any] | None:
        """The state to continue from; None at the start.

        Raises:
            TrainingError: the file is damaged.
        """
        path = self.folder / STATE
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch's loader raises whatever pickle and zip do
            raise TrainingError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from error
        return state

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace the state that a resumed run continues from."""
        part = self.folder / f".{STATE}.part"
        with part.open("wb") as file:
            torch.save(dict(state), file)
        part.replace(self.folder / STATE)

    def save_checkpoint(self, config: ModelConfig, tensors: Mapping[str, torch.Tensor], origin: str) -> None:
        """Replace the checkpoint."""
        save_checkpoint(self.checkpoint, config, tensors, origin, overwrite=True)

    def _check(self, recipe: Path, *, resume: bool) -> None:
        if not resume:
            raise TrainingError(
                f"{self.folder} already holds a run; continue it with --resume, or name another folder"
            )
        try:
            before = json.loads(recipe.read_text(encoding="utf-8"))
        except ValueError as error:
            raise TrainingError(f"{recipe} is damaged: {error}") from error
        if (difference := _difference(before, self._about)) is not None:
            where, old, new = difference
            raise TrainingError(
                f"{self.folder} is another run: its {where} is {old!r:.100}, not {new!r:.100}"
            )


def _difference(a: Any, b: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """The first place at which two documents differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in {**a, **b}:
            found = _difference(a.get(key), b.get(key), f"{where}.{key}" if where else str(key))
            if found is not None:
                return found
        return None
    return None if a == b else (where, a, b)


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
