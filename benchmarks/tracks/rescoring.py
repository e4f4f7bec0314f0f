"""AP50 of rescored and of filled detections beside plain ones, on a labelled video set.

    python -m benchmarks.tracks.rescoring MODEL DATA [DATA ...] [--strides 2 3 5]

A model is a bundle or a checkpoint; a data set is in any layout that `selsa check-data` knows, such as that
of `selsa synthesize`. `found` is the share of the objects with a detection of their class and a score of 0.5,
`false` the other detections of that score per frame. References are those that the server chooses.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.tracks.found_tracks import FoundSet, keys
from selsa_bundle.default_bundle import bundle_folder
from selsa_bundle.tracks.filling import Filler, FollowedFrame
from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.rescoring import SCORE_FRAMES, Rescorer
from selsa_training.evaluation.metrics.detections import Detections
from selsa_training.evaluation.metrics.matching import match_detections
from selsa_training.evaluation.metrics.vid import evaluate_vid, object_groups

SCORE: Final = 0.5
# What `/detect` returns by default.
RETURNED: Final = 0.05
GROUPS: Final = ("all", "slow", "medium", "fast")


def rescored(frames: Sequence[Observation], look_ahead: int = SCORE_FRAMES) -> list[Observation]:
    """The frames of one video, rescored."""
    rescorer = Rescorer(look_ahead)
    return [each for frame in frames for each in rescorer.add(frame)] + rescorer.rest()


def filled(frames: Sequence[Observation], stride: int, *, rescore: bool = False) -> list[Observation]:
    """Every `stride`-th frame and the last one, and the frames between, filled."""
    detected = [frames[i] for i in keys(len(frames), stride)]
    filler, out = Filler(), list[Observation]()
    for key in rescored(detected) if rescore else detected:
        seen = key.take(np.flatnonzero(key.scores >= RETURNED))
        between = filler.between(FollowedFrame(seen), range(len(out), seen.index))
        out += [each.seen for each in between] + [seen]
    return out


def row(of: FoundSet, name: str, found: Detections) -> str:
    """A line of the table."""
    ap50 = evaluate_vid(of.data, found, groups=object_groups(of.data)).ap50
    hit = match_detections(of.data, found).hit >= 0
    sure = found.scores >= SCORE
    share = 100 * float((hit & sure).sum()) / of.data.object_count
    false = float((~hit & sure).sum()) / len(found.frames)
    scores = "".join(f"{ap50[group]:>8.1f}" for group in GROUPS)
    return f"{name:24}{scores}{share:>8.1f}{false:>8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=bundle_folder)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--strides", type=int, nargs="*", default=[2, 3, 5])
    given = parser.parse_args()
    for path in given.data:
        by_stride = FoundSet.of(given.model, path, [1, *given.strides])
        of = by_stride[1]
        videos = list(of.videos())
        print(f"{path.name:24}" + "".join(f"{name:>8}" for name in (*GROUPS, "found", "false")))
        print(row(of, "plain", of.found))
        print(row(of, "rescored", of.scored([rescored(video) for video in videos])))
        print(row(of, "rescored, past only", of.scored([rescored(video, 0) for video in videos])))
        for stride in given.strides:
            of = by_stride[stride]
            videos = list(of.videos())
            for rescore in (False, True):
                name = f"stride {stride}, filled" + (", resc." if rescore else "")
                answered = [filled(video, stride, rescore=rescore) for video in videos]
                print(row(of, name, of.scored(answered)), flush=True)


if __name__ == "__main__":
    main()
