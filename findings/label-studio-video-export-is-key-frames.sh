#!/bin/sh
# label-studio-sdk's converters export a video track as its key frames, with the ones that end it among the
# boxes.
#
# Ground: formats
# Versions: label-studio-sdk 2.1.2, VideoRectangle.
# Behaviour: the editor shows a box on every frame between two key frames and none after one with enabled =
# false. Converter writes the sequence as it is stored, in JSON, JSON_MIN and CSV: key frames only, percent
# units, frames from 1. The package has a function that fills the gaps, extract_key_frames, which no converter
# calls; it keeps the disabled key frame as an entry, and fills from the last key frame to framesCount.
# Seen, key frames 1, 5, 7 (disabled) and 10 of 12 frames: JSON_MIN has 1, 5, 7, 10. extract_key_frames has 1
# to 7 and 10 to 12, with 7 not enabled.
# A good guess is wrong because the export is offered for training and has a box for every entry, which for
# most frames is no entry.
# Product: docs/formats.md says so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check label-studio-sdk==2.1.2
"$env/bin/python" - <<'PY'
import json

from label_studio_sdk._extensions.label_studio_tools.postprocessing.video import extract_key_frames
from label_studio_sdk.converter import Converter
from label_studio_sdk.converter.converter import Format

keys = [(1, True, 0), (5, True, 40), (7, False, 60), (10, True, 0)]
sequence = [
    {"frame": f, "enabled": on, "x": x, "y": 0, "width": 10, "height": 10, "rotation": 0, "time": f / 30}
    for f, on, x in keys
]
value = {"framesCount": 12, "duration": 0.4, "sequence": sequence, "labels": ["cat"]}
result = [{"id": "track", "type": "videorectangle", "from_name": "box", "to_name": "film", "value": value}]
task = {"id": 1, "data": {"video": "film.mp4"}, "annotations": [{"id": 1, "completed_by": 1, "result": result}]}
with open("task.json", "w") as file:
    json.dump([task], file)
view = (
    '<View><Labels name="label" toName="film"><Label value="cat"/></Labels>'
    '<Video name="film" value="$video" framerate="30"/><VideoRectangle name="box" toName="film"/></View>'
)
Converter(view, project_dir=".", upload_dir=".").convert("task.json", "out", Format.JSON_MIN, is_dir=False)
with open("out/result.json") as file:
    exported = json.load(file)[0]["box"][0]["sequence"]
filled = extract_key_frames(result)[0]["value"]["sequence"]
print("exported:", [(each["frame"], each["enabled"], each["x"]) for each in exported])
print("filled:  ", [(each["frame"], each["enabled"], each["x"]) for each in filled])
assert [(each["frame"], each["enabled"], each["x"]) for each in exported] == keys
assert [each["frame"] for each in filled] == [1, 2, 3, 4, 5, 6, 7, 10, 11, 12]
assert [each["frame"] for each in filled if not each["enabled"]] == [7]
PY
