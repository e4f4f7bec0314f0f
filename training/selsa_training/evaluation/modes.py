"""Detect on a data set with several variants at once; every frame goes through the frame engine once.

The reference frames of a video are processed first, then all frames in order. Only the reference frames and
one batch are kept, so memory is bounded for any length of the video.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from selsa_bundle.engine import Engines
from selsa_bundle.preprocess import PreparedFrame, Preprocess
from selsa_training.data.images import read_image
from selsa_training.data.records import DataSet
from selsa_training.evaluation.banks import key_frames
from selsa_training.evaluation.known_frames import KnownFrames, run_frames
from selsa_training.evaluation.metrics.detections import Detections, FrameDetections
from selsa_training.evaluation.variants import Variant

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], *, workers: int, depth: int
) -> Generator[Result, None, None]:
    """`map(read, items)` in threads, at most `depth` items ahead.

    Closing the generator cancels reads that have not started. An exception of `read` is raised at its item.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRun:
    """Options of the computation. They change results only by rounding.

    Attributes:
        batch: largest number of frames of one video in one call of an engine.
        workers: threads that read images.
        progress: called with (processed frames, all frames).
    """

    batch: int = 8
    workers: int = 2
    progress: Callable[[int, int], None] = lambda _done, _total: None


def detect(
    engines: Engines,
    data: DataSet,
    preprocess: Preprocess,
    variants: Sequence[Variant],
    labels: npt.NDArray[np.int64],
    run: DetectionRun,
) -> dict[Variant, Detections]:
    """Detect on every frame of every video.

    Args:
        preprocess: from an image to the frame engine's input.
        labels: int64 [classes], the data set's label for each label of the model; -1: its detections are left
            out.
        run: options of the computation.

    Raises:
        ImageError: an image cannot be read.
        EngineError: the runtime failed.
    """
    orders = (
        (data.frames_of(video)[position] for position in _read_order(len(data.frames_of(video)), variants))
        for video in range(data.video_count)
    )

    def read(frame: int) -> PreparedFrame:
        return preprocess.prepare(read_image(data.path(frame)))

    images = read_ahead(read, chain.from_iterable(orders), workers=run.workers, depth=2 * run.batch)
    found: dict[Variant, dict[int, FrameDetections]] = {variant: {} for variant in variants}
    with closing(images):
        for video in range(data.video_count):
            frames = data.frames_of(video)
            for position, variant, (boxes, scores, own) in _video(
                engines, len(frames), variants, images, run.batch
            ):
                mine = labels[own] >= 0
                found[variant][frames[position]] = (boxes[mine], scores[mine], labels[own][mine])
                if variant is variants[-1]:
                    run.progress(frames[position] + 1, data.frame_count)
    return {variant: Detections.of(by_frame) for variant, by_frame in found.items()}


def _references(count: int, variants: Sequence[Variant]) -> list[int]:
    """Positions that are a reference frame of any variant, ascending, each once."""
    return sorted({position for variant in variants for position in variant.reference_frames(count)})


def _read_order(count: int, variants: Sequence[Variant]) -> Iterator[int]:
    """The order in which `_video` reads images: references first, then all others."""
    references = _references(count, variants)
    return chain(references, sorted(set(range(count)) - set(references)))


def _video(
    engines: Engines, count: int, variants: Sequence[Variant], images: Iterator[PreparedFrame], batch: int
) -> Generator[tuple[int, Variant, FrameDetections], None, None]:
    """One video: (position, variant, detections), per variant in order."""
    references = _references(count, variants)
    known: dict[int, KnownFrames] = {}
    for some in _in_groups(references, batch):
        known |= zip(some, run_frames(engines, [next(images) for _ in some]), strict=True)
    ways = {
        variant: key_frames(engines, variant, variant.reference_frames(count), known) for variant in variants
    }
    for some in _batches(count, known, batch):
        new = [position for position in some if position not in known]
        fresh = dict(zip(new, run_frames(engines, [next(images) for _ in new]), strict=True))
        frames = KnownFrames.concatenate([_either(known, fresh, position) for position in some])
        for variant, way in ways.items():
            for position, detections in zip(some, way.detect(frames), strict=True):
                yield position, variant, detections


def _either(known: Mapping[int, KnownFrames], fresh: Mapping[int, KnownFrames], position: int) -> KnownFrames:
    return known[position] if position in known else fresh[position]


def _batches(count: int, known: Mapping[int, KnownFrames], size: int) -> Iterator[range]:
    """All positions in order, in groups with at most `size` new frames and at most `2 * size` frames."""
    first, new = 0, 0
    for position in range(count):
        new += position not in known
        if new == size or position + 1 - first == 2 * size or position + 1 == count:
            yield range(first, position + 1)
            first, new = position + 1, 0


def _in_groups(positions: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (positions[first : first + size] for first in range(0, len(positions), size))
