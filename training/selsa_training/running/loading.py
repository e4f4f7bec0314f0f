"""Data loading for a run: workers read ahead in the order of `BatchOrder`."""

import os
from collections.abc import Iterator

import cv2
import torch
from torch.utils.data import DataLoader

from selsa_training.data.batches import BatchOrder
from selsa_training.data.crops import CropBatch, ObjectCrops
from selsa_training.data.records import DataSet
from selsa_training.data.samples import SampleBatch, TrainingSamples, collate
from selsa_training.data.sampling import ReferenceSampling
from selsa_training.data.transforms import Augmentation
from selsa_training.recipe.recipe import Recipe
from selsa_training.running.processes import Processes


class SampleSource:
    """Batches of a run's samples, starting from any step."""

    def __init__(self, data: DataSet, recipe: Recipe, processes: Processes, *, workers: int) -> None:
        sampling = ReferenceSampling(
            method=recipe.sampling.references, count=recipe.sampling.count, window=recipe.sampling.window
        )
        samples = TrainingSamples(
            data,
            preprocess=recipe.model.preprocess,
            sampling=sampling,
            seed=recipe.seed,
            flip=recipe.sampling.flip,
            augmentation=Augmentation(scale=recipe.augmentation.scale, colour=recipe.augmentation.colour),
        )
        self.order = BatchOrder(
            count=len(samples),
            batch=recipe.batch,
            accumulate=recipe.accumulate,
            rank=processes.rank,
            world=processes.world,
            seed=recipe.seed,
        )
        _use_one_thread()
        self._loader = DataLoader(
            samples,
            batch_sampler=self.order,
            collate_fn=collate,
            num_workers=workers,
            pin_memory=processes.device.type == "cuda",
            worker_init_fn=_prepare_worker,
        )

    def batches(self, step: int) -> Iterator[tuple[int, int, SampleBatch]]:
        """(step, part, batch), starting with `step` and without end; a step has `accumulate` parts."""
        while True:
            epoch, first = divmod(step, self.order.steps)
            self.order.start(epoch, first)
            for index, batch in enumerate(self._loader):
                yield step + index // self.order.accumulate, index % self.order.accumulate, batch
            step += self.order.steps - first

    def seeds(self, step: int, part: int) -> torch.Tensor:
        """int64 [B]: a number per sample of a step. It does not depend on the sample's process and part."""
        place = (step * self.order.world + self.order.rank) * self.order.accumulate + part
        first = place * self.order.batch
        return (self.order.seed << 32) + torch.arange(first, first + self.order.batch)


def crop_batches(
    data: DataSet, recipe: Recipe, processes: Processes, *, workers: int
) -> DataLoader[CropBatch]:
    """The batches of the whole pretraining, for about two objects per frame."""
    crops = ObjectCrops(
        data,
        size=recipe.pretraining.crop,
        frames=max(1, recipe.pretraining.batch // 2),
        batches=recipe.pretraining.steps,
        seed=recipe.seed,
        rank=processes.rank,
    )
    _use_one_thread()
    return DataLoader(crops, batch_size=None, num_workers=workers, worker_init_fn=_prepare_worker)


def _use_one_thread() -> None:
    """Of OpenCV, in this process and so in the workers that it forks: a fork has no threads to end."""
    cv2.setNumThreads(1)


def _prepare_worker(worker: int) -> None:
    del worker
    # Ctrl-C and `timeout` signal the whole process group, but the run finishes its step with its workers.
    os.setpgid(0, 0)
