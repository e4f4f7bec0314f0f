"""Perfect detections of objects that stay apart are linked perfectly; trackeval says so."""

from dataclasses import replace

import numpy as np
import pytest
from evaluated import read_set, write_set

from selsa_training.data.records import DataSet
from selsa_training.evaluation.errors import EvaluationError
from selsa_training.evaluation.metrics.detections import Detections
from selsa_training.evaluation.metrics.tracking import evaluate_tracks, track_table

pytest.importorskip("trackeval")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return read_set(write_set(tmp_path_factory.mktemp("synthetic") / "set"))


def perfect(data: DataSet) -> Detections:
    frames = range(data.frame_count)
    objects = [data.objects(frame) for frame in frames]
    found = {
        frame: (each.boxes, np.full(len(each.labels), 0.99, np.float32), each.labels)
        for frame, each in zip(frames, objects, strict=True)
    }
    return Detections.of(found)


def test_perfect_detections_score_as_such_and_none_score_nothing(data: DataSet) -> None:
    scores = evaluate_tracks(data, perfect(data))
    assert scores.idf1 > 85
    assert scores.mota > 85
    nothing = Detections.of(
        {0: (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))}
    )
    assert evaluate_tracks(data, nothing).idf1 == 0
    assert "switches" in track_table({"sequence": scores})


def test_data_without_tracks_is_refused(data: DataSet) -> None:
    unknown = replace(data, tracks=np.full_like(data.tracks, -1))
    with pytest.raises(EvaluationError, match="every object has a track"):
        evaluate_tracks(unknown, perfect(data))
