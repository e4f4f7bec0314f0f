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
    VideoRecord,
    parse_record,
)

CLASSES = ("dog", "žebra, striped")
SIZE = (64, 48)


def detection(x1, y1, x2, y2, score=0.875, class_id=1):
    return Detection(
        box=Box(x1=x1, y1=y1, x2=x2, y2=y2), score=score, class_id=class_id, class_name=CLASSES[class_id]
    )


def records_of(frames, samples):
    """A whole response: `frames` maps source indices to detections."""
    video = samples.video | {"frame_count": 9, "model": samples.video["model"] | {"classes": CLASSES}}
    yield VideoRecord.model_validate(video)
    for index, detections in frames.items():
        yield FrameRecord(index=index, pts=index, time=index / 3, detections=tuple(detections))
    yield SummaryRecord.model_validate(samples.summary | {"emitted": len(frames)})


FRAMES = {
    0: [detection(1.5, 2.0, 30.25, 40.0), detection(5, 5, 20, 20.125, 0.5, 0)],
    3: [],
    6: [detection(2.5, 2.0, 31.25, 40.0, 0.75)],
}


def file_of(name, frames, samples):
    encode = encoder(name)
    return b"".join(piece for record in records_of(frames, samples) for piece in encode(record))


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
    rows = np.loadtxt(io.BytesIO(file_of("mot", FRAMES, samples)), delimiter=",")
    assert rows.shape == (3, 10)
    assert rows[:, 0].tolist() == [1, 1, 7]
    assert (rows[:, [1, 7, 8, 9]] == -1).all()
    # Its kit takes 1 from the corner.
    boxes = np.concatenate([rows[:, 2:4] - 1, rows[:, 2:4] - 1 + rows[:, 4:6]], axis=1)
    expected = [list(each.box.model_dump().values()) for found in FRAMES.values() for each in found]
    assert np.allclose(boxes, expected, atol=1e-3)
    assert rows[:, 6].tolist() == [0.875, 0.5, 0.75]


def test_youtube_vis_has_a_box_or_null_per_object_and_frame(samples):
    document = json.loads(file_of("youtube-vis", FRAMES, samples))
    (video,) = document["videos"]
    assert (video["width"], video["height"], video["length"]) == (*SIZE, 3)
    assert video["frame_ids"] == [0, 3, 6]
    assert [each["name"] for each in document["categories"]] == list(CLASSES)
    for each in document["annotations"]:
        assert len(each["bboxes"]) == len(each["areas"]) == len(each["scores"]) == 3
        assert [box is None for box in each["bboxes"]] == [area is None for area in each["areas"]]
    found = [
        (each["category_id"] - 1, position, tuple(box))
        for each in document["annotations"]
        for position, box in enumerate(each["bboxes"])
        if box is not None
    ]
    expected = [
        (d.class_id, position, (d.box.x1, d.box.y1, d.box.x2 - d.box.x1, d.box.y2 - d.box.y1))
        for position, detections in enumerate(FRAMES.values())
        for d in detections
    ]
    assert sorted(found) == sorted(expected)


def test_youtube_vis_links_an_object_only_while_it_overlaps(samples):
    def at(x, class_id=0, score=0.5):
        return detection(x, 0, x + 10, 10, score, class_id)

    frames = {
        0: [at(0), at(50, score=0.9)],
        1: [at(49, score=0.8), at(2)],
        2: [at(4, class_id=1), at(48, score=0.7)],  # another class is another object
        3: [],
        4: [at(48)],  # after a gap too
    }
    found = json.loads(file_of("youtube-vis", frames, samples))["annotations"]
    ways = sorted(
        [None if box is None else box[0] for box in each["bboxes"]] for each in found if each["bboxes"][0]
    )
    assert ways == [[0, 2, None, None, None], [50, 49, 48, None, None]]
    assert len(found) == 4
    assert next(each for each in found if each["bboxes"][0] and each["bboxes"][0][0])["score"] == 0.8


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_any_format_appears_only_when_it_is_complete(samples, tmp_path, name):
    path = tmp_path / f"out{default_suffix(name)}"
    records = list(records_of(FRAMES, samples))
    with contextlib.suppress(RuntimeError), open_output(path, name) as write:
        write(records[0])
        write(records[1])
        assert not path.exists()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with open_output(path, name) as write:
        for record in records:
            write(record)
    assert path.read_bytes() == file_of(name, FRAMES, samples)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["coco", "youtube-vis", "cvat", "label-studio"])
def test_a_number_that_json_cannot_represent_is_an_error(samples, tmp_path, name):
    bad = {0: [detection(float("nan"), 0, 1, 1)]}
    with pytest.raises(OutputError, match="Cannot write"), open_output(tmp_path / "o", name) as write:
        for record in records_of(bad, samples):
            write(record)
    assert list(tmp_path.iterdir()) == []


GROWTH = """
import resource, sys
from selsa_client.formats import encoder
from selsa_server.schema.detect import FrameRecord, Detection, Box
found = tuple(
    Detection(box=Box(x1=1, y1=2, x2=3, y2=4), score=0.5, class_id=0, class_name="dog") for _ in range(20)
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
