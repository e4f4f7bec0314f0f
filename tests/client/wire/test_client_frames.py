"""Frames as arrays and as supervision's detections match the records."""

import json
import subprocess
import sys

import numpy as np
import pytest

from selsa_client import Frame, FrameRecord, MissingPackageError
from selsa_client.wire.records import RecordReader


def frames_of(samples):
    return [record for record in RecordReader().feed(samples.whole) if isinstance(record, Frame)]


def test_arrays_have_the_detections_in_their_order(samples):
    frame = frames_of(samples)[2]
    arrays = frame.to_numpy()
    assert arrays.boxes.dtype == arrays.scores.dtype == np.float32
    assert arrays.class_ids.dtype == np.int64
    np.testing.assert_array_equal(arrays.boxes, [[1.5, 2, 30.25, 40]] * 2)
    np.testing.assert_array_equal(arrays.scores, [0.875] * 2)
    assert arrays.class_ids.tolist() == [1, 1]
    assert arrays.class_names.tolist() == ["žebra"] * 2


def test_a_frame_without_detections_gives_empty_arrays(samples):
    arrays = frames_of(samples)[0].to_numpy()
    assert arrays.boxes.shape == (0, 4)
    assert [len(array) for array in arrays[:4]] == [0, 0, 0, 0]
    assert arrays.track_ids is None


def test_supervision_takes_the_detections(samples):
    supervision = pytest.importorskip("supervision")
    found = frames_of(samples)[2].to_supervision()
    assert isinstance(found, supervision.Detections)
    assert len(found) == 2
    assert found["class_name"].tolist() == ["žebra"] * 2
    assert found[found.confidence > 0.9].xyxy.shape == (0, 4)
    empty = frames_of(samples)[0].to_supervision()
    assert len(supervision.Detections.merge([found, empty])) == 2


def test_a_frame_is_still_the_record_of_the_wire(samples):
    frame = frames_of(samples)[1]
    assert isinstance(frame, FrameRecord)
    assert json.loads(frame.model_dump_json()) == samples.frames[1]


@pytest.mark.parametrize(("method", "package"), [("to_numpy", "numpy"), ("to_supervision", "supervision")])
def test_without_the_package_the_error_has_the_install_command(samples, monkeypatch, method, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match="pip install") as caught:
        getattr(frames_of(samples)[0], method)()
    assert caught.value.package == package


def test_numpy_and_supervision_are_imported_on_first_use():
    code = "import selsa_client, sys; selsa_client.Frame; print({'numpy', 'supervision'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
