"""Rescored and filled detections of the pipeline on a real video, beside plain ones.

    python -m benchmarks.tracks.on_video BUNDLE --video clip.mp4 --truth gt.txt --class person [--stride 3]

The truth is of one class, in the MOTChallenge format. `found` is the share of the objects with a detection of
the class at a fixed score, `false` the other detections of that score per frame.
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.quality.everyday_quality import Ranked
from benchmarks.tracks.clips import answered, mot_clip, pipeline_of
from selsa_bundle.default_bundle import bundle_folder
from selsa_server.schema.detect import DetectParams

SCORES: Final = (0.35, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=bundle_folder)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--class", dest="name", required=True)
    parser.add_argument("--stride", type=int, default=3)
    given = parser.parse_args()
    pipeline, clip = pipeline_of(given.bundle), mot_clip(given.video, given.truth)
    filled = {"stride": given.stride, "fill": "interpolate"}
    ways: dict[str, dict[str, object]] = {
        "plain": {},
        "rescored": {"rescore": True},
        f"stride {given.stride}, filled": filled,
        f"stride {given.stride}, filled, rescored": {**filled, "rescore": True},
        "online": {"mode": "online"},
        "online, rescored": {"mode": "online", "rescore": True},
    }
    print(f"{'':28}{'AP50':>8}" + "".join(f"{f'found, false at {score}':>24}" for score in SCORES))
    truth = [boxes for boxes, _ in clip.truth]
    for name, asked in ways.items():
        # All scores, as average precision wants them.
        params = DetectParams.model_validate({"classes": [given.name], "score_threshold": 0, **asked})
        frames = answered(pipeline, clip, params).frames
        ranked = Ranked.of([(each.boxes, each.scores) for each in frames], truth)
        sure = [ranked.scores >= np.float32(score) for score in SCORES]
        shares = [100 * float(ranked.right[each].sum()) / ranked.persons for each in sure]
        pairs = zip(shares, SCORES, strict=True)
        columns = "".join(f"{share:>17.1f}{ranked.false_at(score):>7.2f}" for share, score in pairs)
        print(f"{name:28}{ranked.ap50:>8.1f}{columns}", flush=True)


if __name__ == "__main__":
    main()
