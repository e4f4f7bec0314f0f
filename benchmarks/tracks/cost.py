"""Wall time and processor time of the tracker in milliseconds a frame, by the number of objects in it.

    python -m benchmarks.tracks.cost [--objects 20 200]

Objects move over the picture, cross and have an appearance of 128 numbers; all have a score of 0.99. A round
is 200 frames of a new tracker; the rounds of all numbers are taken in turn. Processor time is that of all
threads of the process, so it shows threads of BLAS that wait in a loop.
"""

import argparse
import time
from collections.abc import Sequence
from statistics import median
from typing import Final

import numpy as np

from selsa_bundle.tracks.appearance import unit
from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.tracker import Tracker

FRAMES: Final = 200
ROUNDS: Final = 9
WIDTH, HEIGHT = 1920, 1080


def moving(objects: int) -> list[Observation]:
    """Frames with boxes of 40 to 120 pixels that move by at most 8 pixels a frame and turn at the edges."""
    random = np.random.default_rng(0)
    looks = unit(random.normal(size=(objects, 128)).astype(np.float32))
    size = random.uniform(40, 120, (objects, 2))
    room = np.array([WIDTH, HEIGHT]) - size
    start, speed = random.uniform(0, 1, (objects, 2)) * room, random.uniform(-8, 8, (objects, 2))
    frames = []
    for index in range(FRAMES):
        way = (start + index * speed) % (2 * room)
        corner = np.minimum(way, 2 * room - way)
        boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
        noisy = unit(looks + random.normal(0, 0.03, looks.shape).astype(np.float32))
        scores = np.full(objects, 0.99, np.float32)
        labels = np.zeros(objects, np.int64)
        frames.append(
            Observation(index=index, time=None, boxes=boxes, scores=scores, labels=labels, looks=noisy)
        )
    return frames


def seconds(frames: Sequence[Observation]) -> tuple[float, float]:
    """Wall seconds and processor seconds a frame."""
    tracker = Tracker()
    wall, processor = time.perf_counter(), time.process_time()
    for frame in frames:
        tracker.update(frame)
    took = time.perf_counter() - wall, time.process_time() - processor
    return took[0] / len(frames), took[1] / len(frames)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, nargs="+", default=[20, 200])
    given = parser.parse_args()
    made = {count: moving(count) for count in given.objects}
    rounds = [{count: seconds(frames) for count, frames in made.items()} for _ in range(ROUNDS)]
    for count in made:
        each = ((1e3 * value for value in values) for values in zip(*(r[count] for r in rounds), strict=True))
        wall, processor = ([*values] for values in each)
        print(f"{count:4} objects: {_spread(wall)} ms a frame, processor {_spread(processor)} ms")


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
