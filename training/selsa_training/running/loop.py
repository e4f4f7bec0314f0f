"""The training loop: from a recipe and data to a checkpoint, resumable after any step."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import Any

import cv2
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from selsa_training.data.records import DataSet
from selsa_training.data.samples import SampleBatch
from selsa_training.model.detector import SelsaDetector, build_detector
from selsa_training.objective.ground_truth import GroundTruth
from selsa_training.objective.objective import DetectorObjective
from selsa_training.recipe.recipe import Recipe
from selsa_training.running.loading import SampleSource
from selsa_training.running.optimiser import WeightAverage, build_optimiser
from selsa_training.running.pictures import draw_predictions
from selsa_training.running.precision import Amp, autocast_for, loss_scale_for
from selsa_training.running.pretraining import pretrain_backbone
from selsa_training.running.processes import Processes
from selsa_training.running.run_folder import RunFolder
from selsa_training.running.run_log import RunLog, training_bar
from selsa_training.running.schedule import rate_factor, total_steps
from selsa_training.running.start_from import StartingWeights, start_from
from selsa_training.running.starting_weights import (
    freeze,
    initialise,
    load_pretrained_backbone,
    training_mode,
)
from selsa_training.running.step import Stepper, StepResult
from selsa_training.running.stopping import StoppedError, StopRequest, stop_signals


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of a run. Only `amp` changes the result.

    Attributes:
        amp: mixed precision.
        workers: processes that read samples ahead; 0: none.
        log_every: steps between lines of the log.
        save_every: steps between saved states and checkpoints.
        pictures_every: steps between pictures; 0: none.
        stop_after: stop after this many steps of this call, as if killed; 0: run to the end.
    """

    amp: Amp = "off"
    workers: int = 2
    log_every: int = 50
    save_every: int = 500
    pictures_every: int = 1000
    stop_after: int = 0


def train(
    recipe: Recipe,
    data: DataSet,
    held_out: DataSet | None,
    folder: RunFolder,
    processes: Processes,
    options: RunOptions,
    *,
    start: StartingWeights | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Train, or resume training, and leave the final checkpoint in the folder.

    Args:
        recipe: model, optimiser and schedule.
        data: training data; its classes are the model's.
        held_out: validation data, for pictures.
        processes: this process among the others; all call this together.
        start: weights to start from, instead of a pretrained backbone and of pretraining.
        say: receives lines for the terminal.

    Returns:
        Steps taken so far.

    Raises:
        StoppedError: SIGINT or SIGTERM came between the first and the last step; the state is saved.
        TrainingError: the pretrained weights are not available, `start` does not fit the model, a loss is not
            finite, or the saved state is damaged.
        ImageError: an image cannot be read.
    """
    # Every process must draw the same weights, so reset the random state.
    torch.manual_seed(recipe.seed)
    autocast = autocast_for(options.amp, processes.device)
    detector = build_detector(recipe.model)
    state = folder.state()
    log = RunLog(
        folder.log if processes.first else None,
        folder.tensorboard if processes.first else None,
        step=int(state["step"]) if state else 0,
    )
    with closing(log):
        if state is None:
            initialise(detector)
            if start is not None:
                _take_weights(detector, start, recipe, processes, log, say)
            else:
                _begin(detector, recipe, data, processes, log, autocast, options)
        detector.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze(detector, recipe.backbone)
        run = _Run(recipe, data, held_out, folder, processes, options, detector, autocast, log)
        if state is not None:
            run.load(state)
        elif processes.first:
            run.save()
        return run.take_steps()


def _take_weights(
    detector: SelsaDetector,
    start: StartingWeights,
    recipe: Recipe,
    processes: Processes,
    log: RunLog,
    say: Callable[[str], None],
) -> None:
    transfer = start_from(detector, start)
    log.event(
        "begin",
        start=start.described,
        sha256=start.sha256,
        **transfer.as_dict(),
        seed=recipe.seed,
        processes=processes.world,
        device=str(processes.device),
    )
    for line in (f"start from {start.described}", *transfer.lines()):
        say(line)


def _begin(
    detector: SelsaDetector,
    recipe: Recipe,
    data: DataSet,
    processes: Processes,
    log: RunLog,
    autocast: Callable[[], AbstractContextManager[None]],
    options: RunOptions,
) -> None:
    source = load_pretrained_backbone(detector.backbone, recipe.model.backbone, recipe.backbone)
    log.event(
        "begin", backbone=source, seed=recipe.seed, processes=processes.world, device=str(processes.device)
    )
    if recipe.pretraining.steps:
        detector.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pretrain_backbone(detector, data, recipe, processes, log, autocast=autocast, workers=options.workers)


class _Run:
    """A run: its state between steps, and the steps."""

    def __init__(
        self,
        recipe: Recipe,
        data: DataSet,
        held_out: DataSet | None,
        folder: RunFolder,
        processes: Processes,
        options: RunOptions,
        detector: SelsaDetector,
        autocast: Callable[[], AbstractContextManager[None]],
        log: RunLog,
    ) -> None:
        self.recipe, self.folder, self.processes, self.options = recipe, folder, processes, options
        self.detector, self.log, self.held_out = detector, log, held_out
        self.samples = SampleSource(data, recipe, processes, workers=options.workers)
        self.total = total_steps(recipe.schedule, self.samples.order.steps)
        self.step = 0
        self.optimiser: Optimizer = build_optimiser(detector, recipe.optimiser)
        average = recipe.optimiser.average
        self.average = WeightAverage(detector, average) if average else None
        objective = DetectorObjective(detector, recipe, autocast=autocast)
        self.learner: nn.Module = objective
        if processes.world > 1:
            self.learner = DistributedDataParallel(objective)
        self.stepper = Stepper(
            detector,
            self.optimiser,
            clip=recipe.optimiser.clip,
            scale=loss_scale_for(options.amp, recipe.loss_scale),
            mean=processes.mean,
            parts=recipe.accumulate,
        )

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.step = int(state["step"])
        self.detector.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load(state["average"])

    def save(self) -> None:
        """Save the state that a resumed run continues from."""
        self.folder.save_state(
            {
                "step": self.step,
                "model": self.detector.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "average": self.average.tensors if self.average is not None else {},
            }
        )

    def take_steps(self) -> int:
        """Take the remaining steps."""
        last = min(self.total, self.step + self.options.stop_after) if self.options.stop_after else self.total
        training_mode(self.detector, self.recipe.backbone)
        quiet = not self.processes.first
        with (
            stop_signals() as request,
            training_bar("training", self.total, done=self.step, quiet=quiet) as bar,
        ):
            clock = _Clock(self.step)
            for step, part, batch in self.samples.batches(self.step):
                if step >= last:
                    break
                complete = part + 1 == self.recipe.accumulate
                with nullcontext() if complete else self._without_sync():
                    self.stepper.learn(self._losses(step, part, batch), step, batch.names)
                if not complete:
                    continue
                factor = rate_factor(self.recipe.schedule, step, self.samples.order.steps)
                result = self.stepper.update(factor, step)
                if self.average is not None:
                    self.average.update(self.detector, step)
                self.step = step + 1
                self._report(result, factor, clock, bar)
                if self.step < last:
                    self._stop_if_asked(request)
        return self.step

    def _stop_if_asked(self, request: StopRequest) -> None:
        """Stop in all processes after the same step, whichever of them got the signal."""
        number = self.processes.highest(request.signal)
        if number:
            if self.processes.first:
                self.save()
            raise StoppedError(number, self.step, self.total)

    def _losses(self, step: int, part: int, batch: SampleBatch) -> dict[str, torch.Tensor]:
        device = self.processes.device
        losses: dict[str, torch.Tensor] = self.learner(
            batch.frames.to(device, non_blocking=True),
            batch.image_size.to(device, non_blocking=True),
            GroundTruth.of(batch).to(device),
            self.samples.seeds(step, part),
            batch.frames_each,
            batch.present.to(device),
        )
        return losses

    def _without_sync(self) -> AbstractContextManager[None]:
        """Context for all parts of a step but the last one: gradients are not yet averaged over processes."""
        if isinstance(self.learner, DistributedDataParallel):
            return self.learner.no_sync()
        return nullcontext()

    def _report(
        self, result: StepResult, factor: float, clock: "_Clock", bar: Callable[[int, str], None]
    ) -> None:
        """Log, save and draw at their intervals, in the first process only."""
        options, done = self.options, self.step == self.total
        if not self.processes.first:
            return
        if self.step % options.log_every == 0 or done:
            rate = factor * self.recipe.optimiser.rate
            values = {"loss": result.loss, **result.losses, "gradient_norm": result.gradient_norm}
            self.log.scalars(self.step - 1, {**values, "rate": rate, "seconds": clock.lap(self.step)})
            bar(self.step, f"loss {result.loss:.3f}")
        if self.step % options.save_every == 0 or done:
            self._save_checkpoint()
            self.save()
        if options.pictures_every and (self.step % options.pictures_every == 0 or done):
            self._draw()

    def _save_checkpoint(self) -> None:
        name, seed = self.recipe.model.name, self.recipe.seed
        origin = f"selsa train, {name}, seed {seed}, step {self.step} of {self.total}"
        self.folder.save_checkpoint(self.recipe.model, self._tensors(), origin)

    def _tensors(self) -> dict[str, torch.Tensor]:
        return self.average.tensors if self.average is not None else self.detector.state_dict()

    def _draw(self) -> None:
        if self.held_out is None:
            return
        shown = build_detector(self.recipe.model)
        shown.load_state_dict(self._tensors())
        picture = draw_predictions(shown.to(self.processes.device).eval(), self.held_out)
        cv2.imwrite(str(self.folder.picture(self.step)), picture[..., ::-1])
        self.log.picture(self.step, "predictions", picture)


class _Clock:
    """Seconds per step since the last call of `lap`."""

    def __init__(self, step: int) -> None:
        self._step, self._time = step, time.perf_counter()

    def lap(self, step: int) -> float:
        """Seconds per step since the last call; `step` steps are done."""
        now = time.perf_counter()
        seconds = (now - self._time) / max(1, step - self._step)
        self._step, self._time = step, now
        return seconds
