#!/bin/sh
# datumaro reads a CVAT video track as its key frames only, and a box that is outside as a box.
#
# Ground: formats
# Versions: datumaro 1.13.12, format "cvat", XML "CVAT for video 1.1".
# Behaviour: CVAT shows a track's box on every frame between key frames, and none from a key frame with
# outside = 1 on. datumaro gives a box for each key frame and none between; the one with outside = 1 is an
# ordinary box with an attribute.
# Seen, key frames 0, 10 and 11 (outside): CVAT would show boxes on frames 0 to 10; datumaro has frames 0, 10
# and 11 with one box each.
# A good guess is wrong because the import succeeds and the boxes that are there are exact, so a converted
# data set looks right and lacks most of its boxes.
# Product: docs/formats.md says what datumaro's result is good for: syntax, not the boxes of a track.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check datumaro==1.13.12
"$env/bin/python" - <<'PY'
from pathlib import Path

import datumaro

box = '<box frame="{}" outside="{}" occluded="0" keyframe="1" xtl="{}" ytl="0" xbr="{}" ybr="10" z_order="0"></box>'
Path("annotations.xml").write_text(
    '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task><id>1</id><name>film</name>'
    "<size>20</size><mode>interpolation</mode><start_frame>0</start_frame><stop_frame>19</stop_frame>"
    "<labels><label><name>cat</name><attributes></attributes></label></labels>"
    "<original_size><width>100</width><height>100</height></original_size></task></meta>"
    '<track id="0" label="cat" source="manual">'
    + box.format(0, 0, 0, 10) + box.format(10, 0, 50, 60) + box.format(11, 1, 50, 60)
    + "</track></annotations>"
)
found = {
    item.attributes["frame"]: [(box.points, box.attributes["outside"]) for box in item.annotations]
    for item in datumaro.Dataset.import_from(".", "cvat")
}
for frame, boxes in found.items():
    print(frame, boxes)
filled = {frame for frame, boxes in found.items() if boxes}
assert filled == {0, 10, 11}
assert found[11] == [([50, 0, 60, 10], True)]
PY
