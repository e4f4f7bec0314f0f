#!/bin/sh
# Filling a track over an absence raises IDF1 from 0.5 to 0.8, lowers HOTA and halves MOTA.
#
# Ground: evaluation
# Versions: trackeval 1.3.0, HOTA (mean over its thresholds), CLEAR and Identity.
# Behaviour: an object is there for ten frames, away for ten and there again. Tracker A finds it exactly under
# two ids. Tracker B has one id and boxes in the gap, where nothing is. Second scene: an object of thirty
# frames; A has it whole under two ids, B under one id in three frames of five.
# Seen: first scene: A HOTA 0.707, IDF1 0.5, MOTA 0.95; B HOTA 0.667, IDF1 0.8, MOTA 0.5. Second scene: A
# 0.707 and 0.5, B 0.6 and 0.75.
# A good guess is wrong because both measure identity: with the wrong filling IDF1 gains more than with the
# right detections, since a second id makes half of the boxes wrong twice.
# Product: `selsa evaluate` reports average precision of detections and no tracking number; docs/formats.md
# says to compare with both metrics.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check trackeval==1.3.0 numpy==2.4.6
"$env/bin/python" - <<'PY'
import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import trackeval


def measured(truth, found):
    """Rows are (frame, id); an id's box moves with the frame."""
    root = Path(tempfile.mkdtemp(dir=".")).resolve()
    (root / "truth/scene/gt").mkdir(parents=True)
    (root / "results/mine/data").mkdir(parents=True)
    (root / "truth/scene/seqinfo.ini").write_text("[Sequence]\nname=scene\nseqLength=30\n")
    (root / "seqmap.txt").write_text("name\nscene\n")
    (root / "truth/scene/gt/gt.txt").write_text("".join(f"{f},{i},{10 * f},1,50,50,1,1,1\n" for f, i in truth))
    (root / "results/mine/data/scene.txt").write_text("".join(f"{f},{i},{10 * f},1,50,50,1,-1,-1,-1\n" for f, i in found))
    quiet = dict.fromkeys(
        ["USE_PARALLEL", "PRINT_RESULTS", "PRINT_CONFIG", "TIME_PROGRESS", "OUTPUT_SUMMARY", "OUTPUT_DETAILED", "PLOT_CURVES"], False
    )
    with contextlib.redirect_stdout(io.StringIO()):
        data = trackeval.datasets.MotChallenge2DBox({
            "GT_FOLDER": str(root / "truth"), "TRACKERS_FOLDER": str(root / "results"), "SKIP_SPLIT_FOL": True,
            "SEQMAP_FILE": str(root / "seqmap.txt"), "TRACKERS_TO_EVAL": ["mine"], "DO_PREPROC": False, "PRINT_CONFIG": False,
        })
        metrics = trackeval.metrics
        result, _ = trackeval.Evaluator(quiet).evaluate(
            [data], [metrics.HOTA(), metrics.CLEAR({"PRINT_CONFIG": False}), metrics.Identity({"PRINT_CONFIG": False})]
        )
    all_of_it = result["MotChallenge2DBox"]["mine"]["COMBINED_SEQ"]["pedestrian"]
    values = np.mean(all_of_it["HOTA"]["HOTA"]), all_of_it["Identity"]["IDF1"], all_of_it["CLEAR"]["MOTA"]
    return [round(float(value), 3) for value in values]


there = [*range(1, 11), *range(21, 31)]
absent = [(frame, 1) for frame in there]
whole = [(frame, 1) for frame in range(1, 31)]
found = {
    "absence: exact, two ids": measured(absent, [(frame, 1 if frame < 15 else 2) for frame in there]),
    "absence: one id, filled": measured(absent, [(frame, 1) for frame in range(1, 31)]),
    "whole: exact, two ids": measured(whole, [(frame, 1 if frame <= 15 else 2) for frame, _ in whole]),
    "whole: one id, 3 frames of 5": measured(whole, [(frame, 1) for frame, _ in whole if frame % 5 < 3]),
}
for name, values in found.items():
    print(f"{name}: HOTA {values[0]}, IDF1 {values[1]}, MOTA {values[2]}")
assert list(found.values()) == [[0.707, 0.5, 0.95], [0.667, 0.8, 0.5], [0.707, 0.5, 0.967], [0.6, 0.75, 0.6]]
PY
