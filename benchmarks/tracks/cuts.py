"""Identities over cuts: films of shots from labelled clips, through the pipeline.

    python -m benchmarks.tracks.cuts BUNDLE [--clips FOLDER] [--films 8] [--shots 14] [--seed 0]

FOLDER has NAME.mp4 and NAME.gt.txt (MOTChallenge). No object is in two clips, so a number that is in two is
wrong; an object that a later shot of its clip shows again should keep its number.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.tracks.clips import Clip, answered, mot_clip, pipeline_of, write_clip
from selsa_bundle.default_bundle import bundle_folder
from selsa_server.schema.detect import DetectParams
from selsa_training.evaluation.metrics.tracking import Numbered, score_tracks, track_table

WIDTH, HEIGHT = 768, 432
SHOT_FRAMES: Final = (15, 25, 40)
CLASSES: Final = ("person", "car")

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """A labelled clip in memory, in the size of the film."""

    images: list[Image]
    truth: list[Numbered]


def shots_of(video: Path, number: int) -> Shots:
    """The clip; its objects get numbers that no other clip has."""
    truth = mot_clip(video, video.with_suffix(".gt.txt")).truth
    with av.open(str(video)) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    height, width = images[0].shape[:2]
    scale = min(WIDTH / width, HEIGHT / height)
    size = round(width * scale), round(height * scale)
    fitted = [np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in images]
    for image, canvas in zip(images, fitted, strict=True):
        canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return Shots(
        images=fitted,
        truth=[(boxes * np.float32(scale), ids + 1000 * number) for boxes, ids in truth],
    )


def film(clips: Mapping[str, Shots], path: Path, shots: int, rng: random.Random) -> tuple[Clip, list[str]]:
    """Write a film of shots in random order; also the clip of each frame."""
    images, truth, names = list[Image](), list[Numbered](), list[str]()
    for _ in range(shots):
        name = rng.choice([each for each in clips if not names or each != names[-1]])
        length = min(len(clips[name].images), rng.choice(SHOT_FRAMES))
        start = rng.randrange(len(clips[name].images) - length + 1)
        images += clips[name].images[start : start + length]
        truth += clips[name].truth[start : start + length]
        names += [name] * length
    write_clip(path, images)
    return Clip(path=path, truth=truth), names


def in_two_clips(numbers: Sequence[np.ndarray], names: Sequence[str]) -> tuple[int, int]:
    """How many numbers are in two clips, and how many numbers there are."""
    where: dict[int, set[str]] = defaultdict(set)
    for ids, name in zip(numbers, names, strict=True):
        for number in ids[ids > 0].tolist():
            where[number].add(name)
    return sum(len(each) > 1 for each in where.values()), len(where)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=bundle_folder)
    parser.add_argument("--clips", type=Path, default=Path("benchmarks/quality/clips"))
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--shots", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    videos = sorted(given.clips.glob("*.mp4"))
    clips = {video.stem: shots_of(video, number) for number, video in enumerate(videos)}
    pipeline, rng = pipeline_of(given.bundle), random.Random(given.seed)
    truth, linked = list[list[Numbered]](), defaultdict[str, list[list[Numbered]]](list)
    wrong: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with TemporaryDirectory() as folder:
        for _ in range(given.films):
            clip, names = film(clips, Path(folder) / "film.mkv", given.shots, rng)
            truth.append(clip.truth)
            for mode in ("sequence", "online"):
                params = DetectParams(mode=mode, tracks=True, classes=CLASSES)
                answer = answered(pipeline, clip, params)
                linked[mode].append(answer.tracks)
                wrong[mode].append(in_two_clips(answer.numbers, names))
    print(track_table({mode: score_tracks(truth, tracks) for mode, tracks in linked.items()}))
    for mode, counts in wrong.items():
        bad, of = np.sum(counts, 0)
        print(f"{mode}: {bad} of {of} numbers are in two clips")


if __name__ == "__main__":
    main()
