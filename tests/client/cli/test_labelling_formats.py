"""CVAT, Label Studio and Parquet files hold the detections: this project and the tools' own code read them.

The tools' packages need an older OpenCV than this project's tests, so they run in an environment of their
own: SELSA_LABEL_TOOLS is its Python, with datumaro and label-studio-sdk installed.
"""

import io
import json
import os
import random
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest
from media import write_video

from selsa_client.formats import encoder
from selsa_client.formats.thinned_tracks import MAX_ERROR, thinned
from selsa_server.schema.detect import Box, FrameRecord, SummaryRecord, TrackedDetection, VideoRecord
from selsa_training.data.formats.open_data import DataSource, open_data
from selsa_training.data.issues import IssueLog

CLASSES = ("dog", 'ž & "striped" <b>')
FRAMES = 30
SIZE = (320, 240)


def moving(frame, track, label):
    """An object that moves at constant speed with a little noise, as a detector gives it."""
    noise = random.Random(frame * 100 + track)
    x, y = 10 + 3.1 * frame + 40 * track, 20 + 1.7 * frame + noise.uniform(-0.2, 0.2)
    box = Box(x1=x, y1=y, x2=x + 60 + noise.uniform(-0.2, 0.2), y2=y + 50)
    return TrackedDetection(
        box=box, score=0.5 + track / 10, class_id=label, class_name=CLASSES[label], track_id=track + 1
    )


def detections(*, tracks):
    """Frame -> detections. Object 2 is gone from frame 10 to 14."""
    found = {}
    for frame in range(FRAMES):
        objects = [moving(frame, 0, 0)] + ([moving(frame, 1, 1)] if not 10 <= frame < 15 else [])
        found[frame] = [each if tracks else each.model_copy(update={"track_id": None}) for each in objects]
    return found


def write(path, found, samples, name, *, frames=None):
    tracked = any(each.track_id is not None for objects in found.values() for each in objects)
    changes = {"width": SIZE[0], "height": SIZE[1], "frame_count": FRAMES, "average_rate": "25/1"}
    changes |= {"look_ahead": 8} if tracked else {}
    model = samples.video["model"] | {"classes": CLASSES}
    records = [VideoRecord.model_validate(samples.video | changes | {"model": model})]
    for index in frames or range(FRAMES):
        objects = tuple(found[index])
        records.append(
            FrameRecord.model_construct(
                type="frame", index=index, pts=index, time=index / 25, detections=objects
            )
        )
    records.append(SummaryRecord.model_validate(samples.summary))
    encode = encoder(name, "clip.mp4")
    path.write_bytes(b"".join(piece for record in records for piece in encode(record)))
    return path


def read_back(path, classes=None):
    log = IssueLog()
    data = open_data(DataSource(path=path, classes=classes, held_out=0), "train", log)
    assert not log.counts
    return data


def rows_of(data):
    """(frame, class, box) of every object, in order."""
    return sorted(
        (int(data.frame_names[frame]), data.classes[label], *map(float, box))
        for frame in range(data.frame_count)
        for label, box in zip(data.objects(frame).labels, data.objects(frame).boxes, strict=True)
    )


def expected_rows(found):
    pairs = ((frame, each) for frame in found for each in found[frame])
    return sorted((frame, each.class_name, *each.box.model_dump().values()) for frame, each in pairs)


def largest_difference(rows, others):
    return np.abs(np.array([row[2:] for row in rows]) - np.array([row[2:] for row in others])).max()


@pytest.mark.parametrize(
    ("name", "end", "precision"), [("cvat", ".xml", 0.005), ("label-studio", ".labelstudio.json", 0.0005)]
)
@pytest.mark.parametrize("tracks", [True, False], ids=["tracks", "no tracks"])
def test_what_is_written_reads_back_as_the_detections(samples, tmp_path, name, end, precision, tracks):
    write_video(tmp_path / "clip.mp4", FRAMES, size=SIZE)
    found = detections(tracks=tracks)
    path = write(tmp_path / f"clip{end}", found, samples, name)
    data = read_back(path)
    rows, expected = rows_of(data), expected_rows(found)
    assert [row[:2] for row in rows] == [row[:2] for row in expected]
    error = largest_difference(rows, expected)
    # Without tracks every box is a key frame of its own.
    assert error <= precision + (MAX_ERROR if tracks else 0) + 1e-4
    if tracks:
        assert len(set(zip(data.labels.tolist(), data.tracks.tolist(), strict=True))) == 2
        # Constant speed within the allowed error: two key frames for each of three runs.
        written = path.read_text()
        assert written.count('outside="0"' if name == "cvat" else '"enabled"') == 6


def test_mot_reads_back_as_the_detections_of_one_class(samples, tmp_path):
    write_video(tmp_path / "clip.mp4", FRAMES, size=SIZE)
    found = {frame: objects[:1] for frame, objects in detections(tracks=True).items()}
    data = read_back(write(tmp_path / "clip.txt", found, samples, "mot"), classes=("dog",))
    assert largest_difference(rows_of(data), expected_rows(found)) <= 0.0015


def test_every_nth_frame_stays_every_nth_frame_in_cvat(samples, tmp_path):
    write_video(tmp_path / "clip.mp4", FRAMES, size=SIZE)
    found, frames = detections(tracks=True), range(3, 28, 4)
    data = read_back(write(tmp_path / "clip.xml", found, samples, "cvat", frames=frames))
    assert [int(data.frame_names[i]) for i in range(data.frame_count)] == list(frames)
    assert [row[:2] for row in rows_of(data)] == [
        row[:2] for row in expected_rows({i: found[i] for i in frames})
    ]


def test_thinned_places_are_off_by_no_more_than_allowed():
    noise = random.Random(3)
    for _ in range(20):
        x = 0.0
        places = []
        for frame in range(0, 2 * noise.randint(1, 400), 2):
            x += noise.uniform(-3, 3)
            places.append((frame, Box(x1=x, y1=0, x2=x + 9, y2=9)))
        kept = thinned(places)
        way = np.interp([f for f, _ in places], [f for f, _ in kept], [box.x1 for _, box in kept])
        assert np.abs(way - [box.x1 for _, box in places]).max() <= MAX_ERROR + 1e-9
        assert (kept[0], kept[-1]) == (places[0], places[-1])


@pytest.mark.parametrize("tracks", [True, False], ids=["tracks", "no tracks"])
def test_parquet_reads_back_exactly(samples, tmp_path, tracks):
    found = detections(tracks=tracks)
    path = write(tmp_path / "clip.parquet", found, samples, "parquet")
    table = pyarrow.parquet.read_table(path)
    rows = table.to_pylist()
    expected = [(frame, each) for frame in found for each in found[frame]]
    assert len(rows) == len(expected)
    for row, (frame, each) in zip(rows, expected, strict=True):
        assert row == {
            "index": frame,
            "pts": frame,
            "time": frame / 25,
            **each.box.model_dump(),
            "score": each.score,
            "class_id": each.class_id,
            "class_name": each.class_name,
            "track_id": each.track_id,
        }
    assert json.loads(table.schema.metadata[b"selsa.video"])["width"] == SIZE[0]


def test_parquet_without_detections_is_a_table_without_rows(samples):
    encode = encoder("parquet")
    video, summary = VideoRecord.model_validate(samples.video), SummaryRecord.model_validate(samples.summary)
    data = b"".join(piece for record in (video, summary) for piece in encode(record))
    assert pyarrow.parquet.read_table(io.BytesIO(data)).num_rows == 0


@pytest.fixture
def label_tools():
    """A Python that has the tools' packages."""
    python = os.environ.get("SELSA_LABEL_TOOLS")
    if python is None:
        pytest.skip("SELSA_LABEL_TOOLS is not set to a Python with datumaro and label-studio-sdk")
    return python


def run(python, code, *arguments):
    done = subprocess.run(
        [python, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


DATUMARO = """
import json, sys
from datumaro.components.dataset import Dataset
data = Dataset.import_from(sys.argv[1], "cvat")
rows = [
    [item.attributes["frame"], data.categories()[list(data.categories())[0]][each.label].name, *each.points]
    for item in data for each in item.annotations
    if not each.attributes.get("outside")
]
print(json.dumps(sorted(rows)))
"""


def test_datumaro_reads_the_cvat_file(samples, tmp_path, label_tools):
    found = detections(tracks=False)
    path = write(tmp_path / "annotations.xml", found, samples, "cvat")
    rows = run(label_tools, DATUMARO, path)
    expected = expected_rows(found)
    assert [tuple(row[:2]) for row in rows] == [row[:2] for row in expected]
    assert largest_difference(rows, expected) <= 0.0051


STUDIO = """
import json, sys
from label_studio_sdk._extensions.label_studio_tools.core.label_config import parse_config
from label_studio_sdk._extensions.label_studio_tools.postprocessing.video import extract_key_frames
from label_studio_sdk.label_interface import LabelInterface
config = '''<View><Labels name="label" toName="video">%s</Labels>
<Video name="video" value="$video"/><VideoRectangle name="box" toName="video"/></View>'''
names = json.loads(sys.argv[2])
from xml.sax.saxutils import quoteattr
config = config % "".join("<Label value=" + quoteattr(name) + "/>" for name in names)
task = json.load(open(sys.argv[1]))[0]
interface = LabelInterface(config)
interface.validate()
parse_config(config)
results = task["predictions"][0]["result"]
rows = []
for result in extract_key_frames(results):
    value = result["value"]
    for each in value["sequence"]:
        rows.append([each["frame"], value["labels"][0], *(each[k] for k in ("x", "y", "width", "height"))])
print(json.dumps(sorted(rows)))
"""


def test_label_studio_interpolates_the_file_to_the_detections(samples, tmp_path, label_tools):
    found = detections(tracks=True)
    path = write(tmp_path / "clip.labelstudio.json", found, samples, "label-studio")
    rows = run(label_tools, STUDIO, path, json.dumps(CLASSES))
    expected = expected_rows(found)
    assert [(row[0] - 1, row[1]) for row in rows] == [row[:2] for row in expected]
    scale = np.array([SIZE[0], SIZE[1]] * 2) / 100
    sizes = np.array([row[2:] for row in rows]) * scale
    boxes = np.concatenate([sizes[:, :2], sizes[:, :2] + sizes[:, 2:]], axis=1)
    assert np.abs(boxes - np.array([row[2:] for row in expected])).max() <= MAX_ERROR + 0.001


def test_parquet_needs_nothing_before_it_is_asked_for():
    code = "import sys, selsa_client.formats; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_written_files_are_the_same_every_time(samples, tmp_path):
    found = detections(tracks=True)
    for name in ("cvat", "label-studio", "parquet"):
        first, second = (write(tmp_path / each, found, samples, name).read_bytes() for each in ("a", "b"))
        assert first == second
