#!/bin/sh
# trackeval skips the first line of a seqmap, so a list without a heading loses its first video without a
# word.
#
# Ground: evaluation
# Versions: trackeval 1.3.0, MotChallenge2DBox.
# Behaviour: the first line is taken for the heading "name", whatever it says. With two videos and no heading,
# the result is that of the second alone, and still called COMBINED_SEQ.
# Seen: one video tracked perfectly, the other not at all. With heading: MOTA 0.5. Without: 0.0, from one
# video. With a single video and no heading: "No sequences are selected".
# A good guess is wrong because the file holds a name a line and nothing else.
# Product: docs/formats.md says how to lay out the folder; the client writes the rows
# (client/selsa_client/formats, tests/client/cli/test_client_formats.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check trackeval==1.3.0
"$env/bin/python" - <<'PY'
import contextlib
import io
import tempfile
from pathlib import Path

import trackeval

root = Path(tempfile.mkdtemp(dir="."))
rows = "".join(f"{frame},1,{10 * frame},0,50,50,1,{{rest}}\n" for frame in range(1, 11))
(root / "results/mine/data").mkdir(parents=True)
for name, found in (("first", rows.format(rest="-1,-1,-1")), ("second", "")):
    (root / "truth" / name / "gt").mkdir(parents=True)
    (root / "truth" / name / "gt/gt.txt").write_text(rows.format(rest="1,1"))
    (root / "truth" / name / "seqinfo.ini").write_text(f"[Sequence]\nname={name}\nseqLength=10\n")
    (root / "results/mine/data" / f"{name}.txt").write_text(found)


def evaluated(seqmap):
    (root / "seqmap.txt").write_text(seqmap)
    quiet = dict.fromkeys(
        ["USE_PARALLEL", "PRINT_RESULTS", "PRINT_CONFIG", "TIME_PROGRESS", "OUTPUT_SUMMARY", "OUTPUT_DETAILED", "PLOT_CURVES"], False
    )
    with contextlib.redirect_stdout(io.StringIO()):
        data = trackeval.datasets.MotChallenge2DBox({
            "GT_FOLDER": str(root / "truth"), "TRACKERS_FOLDER": str(root / "results"), "SKIP_SPLIT_FOL": True,
            "SEQMAP_FILE": str(root / "seqmap.txt"), "TRACKERS_TO_EVAL": ["mine"], "DO_PREPROC": False, "PRINT_CONFIG": False,
        })
        result, _ = trackeval.Evaluator(quiet).evaluate([data], [trackeval.metrics.CLEAR({"PRINT_CONFIG": False})])
    videos = result["MotChallenge2DBox"]["mine"]
    return sorted(set(videos) - {"COMBINED_SEQ"}), float(videos["COMBINED_SEQ"]["pedestrian"]["CLEAR"]["MOTA"])


with_heading, without = evaluated("name\nfirst\nsecond\n"), evaluated("first\nsecond\n")
print("with heading", *with_heading)
print("without     ", *without)
assert with_heading == (["first", "second"], 0.5)
assert without == (["second"], 0.0)
PY
