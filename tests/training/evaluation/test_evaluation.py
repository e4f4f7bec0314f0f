"""Average precision: hand-made cases with known answers, and pycocotools wherever both define it."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selsa_training.data.building import DataSetBuilder, FoundObject
from selsa_training.data.issues import IssueLog
from selsa_training.data.motion import motion_iou, with_known_motion
from selsa_training.data.records import DEGRADED, IGNORED, DataSet
from selsa_training.evaluation.metrics.coco import evaluate_coco
from selsa_training.evaluation.metrics.detections import Detections
from selsa_training.evaluation.metrics.scores import class_table, evaluate, mode_table, write_scores
from selsa_training.evaluation.metrics.vid import average_precision, evaluate_vid

Box = tuple[float, float, float, float]
Found = list[tuple[Box, float, int]]

CLASSES = ("a", "b", "c")


def data_of(frames: list[list[FoundObject]]) -> DataSet:
    """One video of those frames."""
    log = IssueLog()
    builder = DataSetBuilder(CLASSES, log)
    builder.start_video("v", Path())
    for number, objects in enumerate(frames):
        builder.add_frame(f"{number}.jpg", (200, 200))
        for found in objects:
            builder.add_object(found, Path())
    assert not log.counts
    return builder.build(Path())


def detections_of(frames: list[Found]) -> Detections:
    return Detections.of(
        {
            number: (
                np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
                np.array([score for _, score, _ in found], np.float32),
                np.array([label for _, _, label in found], np.int64),
            )
            for number, found in enumerate(frames)
        }
    )


def at(x: float, y: float = 10, label: int = 0, **more: float) -> FoundObject:
    return FoundObject(label=label, box=(x, y, x + 20, y + 20), **more)  # type: ignore[arg-type]


def hit(x: float, score: float, label: int = 0, y: float = 10) -> tuple[Box, float, int]:
    return ((x, y, x + 20, y + 20), score, label)


def test_perfect_detections_score_100() -> None:
    data = data_of([[at(0), at(50, label=1)], [at(100)]])
    scores = evaluate_vid(data, detections_of([[hit(0, 0.5), hit(50, 0.9, 1)], [hit(100, 0.1)]]))
    assert scores.ap50["all"] == 100
    assert scores.by_class["all"]["a"] == scores.by_class["all"]["b"] == 100
    # Nothing of class c was to be found: it has no score and does not count.
    assert np.isnan(scores.by_class["all"]["c"])
    assert scores.objects["all"] == 3


def test_a_false_alarm_costs_only_detections_that_rank_below_it() -> None:
    data = data_of([[at(0), at(50)]])
    before = evaluate_vid(data, detections_of([[hit(150, 0.9), hit(0, 0.8), hit(50, 0.7)]]))
    # Precision 1/2 at recall 1/2, 2/3 at recall 1; interpolated, 2/3 from 0 on.
    assert before.ap50["all"] == pytest.approx(100 * 2 / 3)
    between = evaluate_vid(data, detections_of([[hit(0, 0.9), hit(150, 0.8), hit(50, 0.7)]]))
    assert between.ap50["all"] == pytest.approx(100 * (1 / 2 + 1 / 2 * 2 / 3))
    after = evaluate_vid(data, detections_of([[hit(0, 0.9), hit(50, 0.8), hit(150, 0.7)]]))
    assert after.ap50["all"] == 100


def test_a_second_detection_of_one_object_is_a_false_alarm() -> None:
    data = data_of([[at(0)], [at(0)]])
    scores = evaluate_vid(data, detections_of([[hit(0, 0.9), hit(1, 0.8)], [hit(0, 0.7)]]))
    assert scores.ap50["all"] == pytest.approx(100 * (1 / 2 + 1 / 2 * 2 / 3))


def test_an_iou_of_a_half_is_enough() -> None:
    data = data_of([[at(0)]])
    exactly = ((0.0, 10.0, 20.0, 20.0), 0.9, 0)
    assert evaluate_vid(data, detections_of([[exactly]])).ap50["all"] == 100
    less = ((0.0, 10.0, 20.0, 19.9), 0.9, 0)
    assert evaluate_vid(data, detections_of([[less]])).ap50["all"] == 0


def test_a_detection_of_another_class_or_in_another_frame_finds_nothing() -> None:
    data = data_of([[at(0)], []])
    assert evaluate_vid(data, detections_of([[hit(0, 0.9, 1)], []])).ap50["all"] == 0
    assert evaluate_vid(data, detections_of([[], [hit(0, 0.9)]])).ap50["all"] == 0
    assert evaluate_vid(data, detections_of([[], []])).ap50["all"] == 0


def test_objects_in_unevaluated_frames_do_not_count_as_missed() -> None:
    data = data_of([[at(0)], [at(0)]])
    assert evaluate_vid(data, detections_of([[hit(0, 0.9)]])).ap50["all"] == 100


def test_an_ignored_object_counts_neither_as_missed_nor_as_a_false_alarm() -> None:
    data = data_of([[at(0), at(50, flags=IGNORED)]])
    assert evaluate_vid(data, detections_of([[hit(0, 0.5), hit(50, 0.9), hit(51, 0.8)]])).ap50["all"] == 100
    assert evaluate_vid(data, detections_of([[hit(0, 0.5)]])).ap50["all"] == 100


def test_each_group_is_scored_without_the_others() -> None:
    """One slow object that is found, one fast one that is not, and a false alarm over the fast one."""
    frames = [[at(0, track=1), at(10 * n, 100, track=2)] for n in range(10)]
    data = data_of(frames)
    found = [[hit(0, 0.5), ((10.0 * n, 100.0, 10.0 * n + 6, 120.0), 0.9, 0)] for n in range(10)]
    scores = evaluate_vid(data, detections_of(found))
    assert scores.objects == {"all": 20, "slow": 10, "medium": 0, "fast": 10}
    assert scores.ap50["slow"] == 100
    assert scores.ap50["fast"] == 0
    assert np.isnan(scores.ap50["medium"])
    # Ten false alarms rank above ten hits out of twenty.
    assert scores.ap50["all"] == pytest.approx(100 * 0.5 * 0.5)


def test_a_false_alarm_far_from_everything_counts_by_the_group_s_share() -> None:
    frames = [[at(0, track=1), at(10 * n, 100, track=2)] for n in range(10)]
    found = [[hit(0, 0.5), hit(170, 0.9, y=170)] for _ in range(10)]
    scores = evaluate_vid(data_of(frames), detections_of(found))
    # Half of all objects are slow, so ten false alarms count as five against ten hits.
    assert scores.ap50["slow"] == pytest.approx(100 * 10 / 15)


def test_degraded_and_clear_objects_are_groups_where_any_is_marked() -> None:
    data = data_of([[at(0)], [at(0, flags=DEGRADED)]])
    scores = evaluate_vid(data, detections_of([[hit(0, 0.9)], [hit(100, 0.8)]]))
    assert scores.ap50["clear"] == 100
    assert scores.ap50["degraded"] == 0


def test_motion_iou_is_the_mean_overlap_with_itself_nearby() -> None:
    # 20 pixels wide and 5 pixels a frame: overlaps of 15/25, 10/30, 5/35, then none.
    data = data_of([[at(5 * n, track=4)] for n in range(30)])
    motion = motion_iou(data)
    one_side = 15 / 25 + 10 / 30 + 5 / 35
    assert motion[15] == pytest.approx(2 * one_side / 20)
    assert motion[0] == pytest.approx(one_side / 10)
    assert motion[3] == pytest.approx(2 * one_side / 13)


def test_motion_is_unknown_without_a_track_or_a_second_frame() -> None:
    data = data_of([[at(0, track=1), at(50)], [at(100, track=2), at(50)], *[[]] * 20, [at(0, track=1)]])
    assert np.isnan(motion_iou(data)).all()


def test_annotated_motion_is_kept() -> None:
    data = data_of([[at(0, track=1, motion=0.25)], [at(0, track=1)]])
    assert with_known_motion(data).motion.tolist() == [0.25, 1.0]


def test_tracks_of_different_videos_are_different_objects() -> None:
    builder = DataSetBuilder(CLASSES, IssueLog())
    for name in "vw":
        builder.start_video(name, Path())
        builder.add_frame("0.jpg", (200, 200))
        builder.add_object(at(0, track=1), Path())
    assert np.isnan(motion_iou(builder.build(Path()))).all()


side = st.integers(5, 40)
place = st.integers(0, 100)
# Powers of two keep every score and corner exact in single precision.
boxes = st.tuples(place, place, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
labels = st.integers(0, 2)
objects = st.lists(
    st.builds(
        FoundObject,
        label=labels,
        box=boxes.map(lambda b: tuple(map(float, b))),
        flags=st.sampled_from([0, 0, 0, IGNORED]),
    ),
    max_size=5,
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[DataSet, Detections]:
    frames = draw(st.lists(objects, min_size=1, max_size=4))
    found: list[Found] = []
    for frame in frames:
        # Some detections are objects, moved a little: chance alone would seldom hit.
        moved = [(tuple(v + draw(st.integers(-4, 4)) for v in o.box), o.label) for o in frame]
        near = [(box, label) for box, label in moved if box[2] > box[0] and box[3] > box[1]]
        far = draw(st.lists(st.tuples(boxes, labels), max_size=4))
        found.append([(box, draw(st.integers(0, 64)) / 64, label) for box, label in [*near, *far]])  # type: ignore[misc]
    return data_of(frames), detections_of(found)


@settings(max_examples=150)
@given(cases())
def test_the_101_point_variant_is_pycocotools_own(case: tuple[DataSet, Detections]) -> None:
    data, detections = case
    everything = {"all": np.ones(data.object_count, np.bool_)}
    ours = evaluate_vid(data, detections, groups=everything, interpolation="101", per_class=100)
    theirs = evaluate_coco(data, detections)
    for name in CLASSES:
        np.testing.assert_allclose(ours.by_class["all"][name], theirs.ap50_by_class[name], atol=1e-9)
    np.testing.assert_allclose(ours.ap50["all"], theirs.ap50, atol=1e-9)


def test_only_the_best_hundred_of_a_class_and_frame_count_for_coco() -> None:
    data = data_of([[at(0)]])
    found = [[*(hit(100, 0.9 - 0.001 * n) for n in range(100)), hit(0, 0.1)]]
    detections = detections_of(found)
    assert evaluate_coco(data, detections).ap50 == 0
    assert evaluate_vid(data, detections, per_class=100).ap50["all"] == 0
    assert evaluate_vid(data, detections).ap50["all"] > 0


@given(
    ranked=st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=30),
    missed=st.integers(0, 3),
)
def test_average_precision_never_falls_when_a_hit_ranks_higher(
    ranked: list[tuple[int, bool]], missed: int
) -> None:
    scores = np.array([score for score, _ in ranked], np.float32)
    right = np.array([kind for _, kind in ranked])
    positives = int(right.sum()) + missed
    value = average_precision(scores, right, (~right).astype(float), positives)
    if not positives:
        assert np.isnan(value)
        return
    assert 0 <= value <= 1
    better = average_precision(scores + 100 * right, right, (~right).astype(float), positives)
    assert better >= value
    assert better == pytest.approx(right.sum() / positives)


def test_detections_that_do_not_fit_together_are_refused() -> None:
    frames, none = np.array([0, 1]), np.zeros(0, np.int64)
    empty = Detections(frames, none, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), none)
    assert empty.rows_of(1) == slice(0, 0)
    one = (np.array([0]), np.zeros((1, 4), np.float32), np.zeros(1, np.float32), np.array([0]))
    with pytest.raises(ValueError, match="not looked at"):
        Detections(frames, np.array([2]), *one[1:])
    with pytest.raises(ValueError, match="ascend"):
        Detections(frames[::-1], *one)
    with pytest.raises(ValueError, match="finite"):
        Detections(frames, one[0], one[1] * np.nan, *one[2:])
    with pytest.raises(ValueError, match="2 detections"):
        Detections(frames, np.array([0, 0]), *one[1:])


def test_scores_become_tables_and_json(tmp_path: Path) -> None:
    data = data_of([[at(0)], [at(0, flags=DEGRADED)]])
    scores = evaluate(data, detections_of([[hit(0, 0.9)], [hit(100, 0.8)]]))
    header, sequence, _ = mode_table({"sequence": scores, "single": scores}).splitlines()
    assert header.split() == [
        "AP50",
        "all",
        "slow",
        "medium",
        "fast",
        "degraded",
        "clear",
        "COCO",
        "AP50",
        "COCO",
        "AP",
    ]
    assert sequence.split()[:6] == ["sequence", "50.0", "-", "-", "-", "0.0"]
    assert len(class_table(scores).splitlines()) == 1 + len(CLASSES)
    path = tmp_path / "scores.json"
    write_scores(path, {"single": scores}, {"data": "hand-made"})
    written = json.loads(path.read_text())
    assert written["data"] == "hand-made"
    assert written["modes"]["single"]["vid"]["ap50"] == {
        "all": 50.0,
        "slow": None,
        "medium": None,
        "fast": None,
        "degraded": 0.0,
        "clear": 100.0,
    }
    assert written["modes"]["single"]["frames"] == 2
