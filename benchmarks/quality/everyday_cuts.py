"""Where cuts are found: every pair of clips joined, by a cut or a dissolve, damaged or not. No network runs.

    python -m benchmarks.quality.everyday_cuts CLIP CLIP [CLIP ...] [--dissolve 12]

A clip is a video of one scene. With exact cuts every shot has the detections that it has alone.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.quality.everyday_film import joined
from benchmarks.quality.everyday_quality import SETTINGS, damaged
from selsa_bundle.tracks.cuts import HALF, CutDetector, DissolveDetector
from selsa_training.everyday_training.clips import read_clip

Image = npt.NDArray[np.uint8]
SIZE: Final = (416, 312)
# Frames of a clip.
MOST: Final = 24


def read_shot(path: Path) -> list[Image]:
    """The first frames of a clip, all clips in one size."""
    frames = read_clip(path)[:MOST]
    return [np.asarray(cv2.resize(each, SIZE, interpolation=cv2.INTER_AREA), np.uint8) for each in frames]


def scene_changes(film: Sequence[Image]) -> Iterator[int]:
    """Places of the cuts and of the middles of dissolves."""
    cuts, dissolves = CutDetector(), DissolveDetector()
    for place, frame in enumerate(film):
        if cuts.is_cut(frame):
            dissolves.clear()
            yield place
        elif dissolves.was_dissolve(frame):
            yield place - HALF


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--dissolve", type=int, default=0, help="frames of a dissolve; 0: a cut")
    given = parser.parse_args()
    clips = {path.stem: read_shot(path) for path in given.clips}
    clips = {name: frames for name, frames in clips.items() if len(frames) > given.dissolve}
    print("| setting | joins | found | elsewhere | not found |")
    print("|---|---|---|---|---|")
    for setting, seeds in SETTINGS.items():
        joins, elsewhere, missed = 0, 0, []
        for seed in seeds:
            shots = {name: damaged(frames, setting, seed) for name, frames in clips.items()}
            for one, other in permutations(shots, 2):
                film = joined(shots[one], shots[other], given.dissolve)
                cuts = set(scene_changes(film))
                first = len(shots[one]) - given.dissolve
                right = {place for place in cuts if first <= place <= first + given.dissolve}
                joins += 1
                elsewhere += len(cuts - right)
                missed += [] if right else [f"{one} to {other}"]
        names = ", ".join(sorted(set(missed))) or "none"
        print(f"| {setting} | {joins} | {joins - len(missed)} | {elsewhere} | {names} |", flush=True)


if __name__ == "__main__":
    main()
