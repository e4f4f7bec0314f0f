"""Result formats match the records when common tools read them back."""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from selsa_client.cli.output import open_output
from selsa_client.formats import FORMATS, default_suffix, encoder, format_of
from selsa_client.wire.errors import OutputError
from selsa_server.schema.detect import (
    Box,
    Detection,
    DetectionDocument,
    FrameRecord,
    SummaryRecord,
    TrackedDetection,
    VideoRecord,
    parse_record,
)

CLASSES = ("dog", "žebra, striped")
SIZE = (64, 48)


def detection(x1, y1, x2, y2, score=0.875, class_id=1):
    return Detection(
        box=Box(x1=x1, y1=y1, x2=x2, y2=y2), score=score, class_id=class_id, class_name=CLASSES[class_id]
    )


def tracked(found, number):
    """The detection with the number of an object, or none."""
    return TrackedDetection(**dict(found) | {"track_id": number})


def records_of(frames, samples, aliases=None):
    """A whole response: `frames` maps source indices to detections, with tracks or without."""
    with_tracks = any(isinstance(each, TrackedDetection) for found in frames.values() for each in found)
    video = samples.video | {"frame_count": 9, "model": samples.video["model"] | {"classes": CLASSES}}
    video |= {"look_ahead": 8} if with_tracks else {}
    yield VideoRecord.model_validate(video)
    for index, detections in frames.items():
        yield FrameRecord(index=index, pts=index, time=index / 3, detections=tuple(detections))
    objects = {"aliases": aliases or {}, "objects": ()} if with_tracks else {}
    yield SummaryRecord.model_validate(samples.summary | {"emitted": len(frames)} | objects)


FRAMES = {
    0: [detection(1.5, 2.0, 30.25, 40.0), detection(5, 5, 20, 20.125, 0.5, 0)],
    3: [],
    6: [detection(2.5, 2.0, 31.25, 40.0, 0.75)],
}


# The second object has no number in its first frame, and another one in its last.
TRACKED = {
    0: [tracked(FRAMES[0][0], 1), tracked(FRAMES[0][1], None)],
    3: [],
    6: [tracked(FRAMES[6][0], 1)],
    7: [tracked(FRAMES[0][1], 2), tracked(FRAMES[6][0], 3)],
}


def file_of(name, frames, samples, aliases=None):
    encode = encoder(name)
    return b"".join(piece for record in records_of(frames, samples, aliases) for piece in encode(record))


def test_the_longest_matching_end_of_a_name_selects_the_format(tmp_path):
    for name, ends in FORMATS.items():
        for end in ends:
            assert format_of(tmp_path / f"a.b{end.upper()}") == name
        assert default_suffix(name) in ends
    with pytest.raises(ValueError, match=r"\.coco\.json.*--format"):
        format_of(tmp_path / "a.yaml")


@pytest.mark.parametrize("frames", [FRAMES, {0: []}], ids=["some", "none"])
def test_json_and_ndjson_read_back_as_the_records(samples, frames):
    records = list(records_of(frames, samples))
    lines = file_of("ndjson", frames, samples).splitlines()
    assert [parse_record(line) for line in lines] == records
    document = DetectionDocument.model_validate_json(file_of("json", frames, samples))
    assert [document.video, *document.frames, document.summary] == records


def test_csv_reads_back_as_the_detections(samples):
    rows = list(csv.DictReader(io.StringIO(file_of("csv", FRAMES, samples).decode(), newline="")))
    found = [(i, each) for i, detections in FRAMES.items() for each in detections]
    assert len(rows) == len(found)
    for row, (index, each) in zip(rows, found, strict=True):
        assert int(row["index"]) == index
        assert float(row["time"]) == index / 3
        assert [float(row[k]) for k in ("x1", "y1", "x2", "y2")] == list(each.box.model_dump().values())
        assert float(row["score"]) == each.score
        assert (int(row["class_id"]), row["class_name"]) == (each.class_id, each.class_name)


def coco_vid():
    """A CocoVID data set of the video, whose annotations are FRAMES' own boxes."""
    images = [
        {"id": i + 1, "video_id": 1, "frame_id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48}
        for i in range(9)
    ]
    annotations = []
    for index, detections in FRAMES.items():
        for each in detections:
            box = each.box
            size = (box.x2 - box.x1, box.y2 - box.y1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "video_id": 1,
                    "category_id": each.class_id + 1,
                    "bbox": [box.x1, box.y1, *size],
                    "area": size[0] * size[1],
                    "iscrowd": 0,
                    "instance_id": 1,
                }
            )
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    data = COCO()
    data.dataset = {
        "videos": [{"id": 1, "name": "v"}],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    data.createIndex()
    return data


def test_pycocotools_loads_and_scores_the_coco_results_on_a_coco_vid_data_set(samples, tmp_path):
    path = tmp_path / "r.coco.json"
    path.write_bytes(file_of("coco", FRAMES, samples))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_vid()
        results = truth.loadRes(str(path))
        judged = COCOeval(truth, results, "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    assert [(r["image_id"], r["category_id"], r["bbox"]) for r in results.dataset["annotations"]] == [
        (1, 2, [1.5, 2.0, 28.75, 38.0]),
        (1, 1, [5, 5, 15, 15.125]),
        (7, 2, [2.5, 2.0, 28.75, 38.0]),
    ]
    assert judged.stats[0] == pytest.approx(1.0)


def test_mot_text_loads_as_the_benchmark_reads_it(samples):
    rows = np.loadtxt(io.BytesIO(file_of("mot", TRACKED, samples)), delimiter=",")
    assert rows.shape == (4, 10)
    assert rows[:, 0].tolist() == [1, 7, 8, 8]
    assert rows[:, 1].tolist() == [1, 1, 2, 3]
    # Its kit takes 1 from the corner.
    boxes = np.concatenate([rows[:, 2:4] - 1, rows[:, 2:4] - 1 + rows[:, 4:6]], axis=1)
    expected = [list(d.box.model_dump().values()) for found in TRACKED.values() for d in found if d.track_id]
    assert np.allclose(boxes, expected, atol=1e-3)
    assert rows[:, 6].tolist() == [0.875, 0.75, 0.5, 0.75]


def test_aliases_of_the_summary_are_applied_to_every_frame_of_a_file(samples):
    aliased = {3: 1}
    rows = np.loadtxt(io.BytesIO(file_of("mot", TRACKED, samples, aliased)), delimiter=",")
    assert rows[:, 1].tolist() == [1, 1, 2, 1]
    document = DetectionDocument.model_validate_json(file_of("json", TRACKED, samples, aliased))
    assert [[d.track_id for d in frame.detections] for frame in document.frames] == [
        [1, None],
        [],
        [1],
        [2, 1],
    ]
    lines = list(csv.DictReader(io.StringIO(file_of("csv", TRACKED, samples, aliased).decode(), newline="")))
    assert [line["track_id"] for line in lines] == ["1", "", "1", "2", "1"]
    assert b'"instance_id":3' not in file_of("coco", TRACKED, samples, aliased)
    # The stream of records stays what was sent.
    assert b'"track_id":3' in file_of("ndjson", TRACKED, samples, aliased)


@pytest.mark.parametrize("name", ["mot", "youtube-vis"])
def test_a_format_of_objects_refuses_records_without_tracks(samples, tmp_path, name):
    with pytest.raises(OutputError, match="--tracks true"), open_output(tmp_path / "o", name) as write:
        for record in records_of(FRAMES, samples):
            write(record)
    assert list(tmp_path.iterdir()) == []


def test_youtube_vis_has_a_box_or_null_per_object_and_frame(samples):
    document = json.loads(file_of("youtube-vis", TRACKED, samples))
    (video,) = document["videos"]
    assert (video["width"], video["height"], video["length"]) == (*SIZE, 4)
    assert video["frame_ids"] == [0, 3, 6, 7]
    assert [each["name"] for each in document["categories"]] == list(CLASSES)
    lefts = {
        each["id"]: [None if box is None else box[0] for box in each["bboxes"]]
        for each in document["annotations"]
    }
    assert lefts == {1: [1.5, None, 2.5, None], 2: [None, None, None, 5], 3: [None, None, None, 2.5]}
    for each in document["annotations"]:
        assert [box is None for box in each["bboxes"]] == [area is None for area in each["areas"]]
        assert len(each["scores"]) == 4
    assert document["annotations"][0]["score"] == 0.8125


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_any_format_appears_only_when_it_is_complete(samples, tmp_path, name):
    path = tmp_path / f"out{default_suffix(name)}"
    records = list(records_of(TRACKED, samples))
    with contextlib.suppress(RuntimeError), open_output(path, name) as write:
        write(records[0])
        write(records[1])
        assert not path.exists()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with open_output(path, name) as write:
        for record in records:
            write(record)
    assert path.read_bytes() == file_of(name, TRACKED, samples)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["coco", "youtube-vis", "cvat", "label-studio"])
def test_a_number_that_json_cannot_represent_is_an_error(samples, tmp_path, name):
    bad = {0: [tracked(detection(float("nan"), 0, 1, 1), 1)]}
    with pytest.raises(OutputError, match="Cannot write"), open_output(tmp_path / "o", name) as write:
        for record in records_of(bad, samples):
            write(record)
    assert list(tmp_path.iterdir()) == []


GROWTH = """
import resource, sys
from selsa_client.formats import encoder
from selsa_server.schema.detect import FrameRecord, TrackedDetection, Box
found = tuple(
    TrackedDetection(box=Box(x1=1, y1=2, x2=3, y2=4), score=0.5, class_id=0, class_name="dog", track_id=1)
    for _ in range(20)
)
encode = encoder(sys.argv[1])
def run(count):
    for index in range(count):
        for piece in encode(FrameRecord(index=index, pts=index, time=0.0, detections=found)):
            pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = run(200)
print(run(3000) - before)
"""


@pytest.mark.parametrize("name", ["json", "csv", "coco", "mot"])
def test_memory_does_not_grow_with_the_video(name):
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, name], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    unit = 1024 if sys.platform == "darwin" else 1
    assert int(done.stdout) / unit < 4096, "KiB"
