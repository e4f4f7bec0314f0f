"""Rescoring raises weak detections between strong ones; nothing falls, and no frame waits for long."""

import numpy as np
import pytest

from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.rescoring import SCORE_FRAMES, Rescorer
from selsa_bundle.tracks.tubes import linked_to


def seen(index, detections, *, cut=False):
    """A frame with detections (x, score, label) of 40 x 40 pixels."""
    ordered = sorted(detections, key=lambda each: -each[1])
    return Observation(
        index=index,
        time=index / 25,
        boxes=np.array([[x, 0, x + 40, 40] for x, _, _ in ordered], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in ordered], np.float32),
        labels=np.array([label for _, _, label in ordered], np.int64),
        cut=cut,
    )


def rescored(frames, look_ahead=SCORE_FRAMES):
    rescorer = Rescorer(look_ahead)
    found = [each for frame in frames for each in rescorer.add(frame)] + rescorer.rest()
    assert [each.index for each in found] == [frame.index for frame in frames]
    return found


def random_frames(count=40):
    random = np.random.default_rng(3)
    return [
        seen(i, [(200 * k + 4 * i + random.normal(0, 2), random.uniform(0.05, 1), 0) for k in range(6)])
        for i in range(count)
    ]


def test_a_weak_detection_between_strong_ones_rises_half_of_the_way():
    frames = [seen(i, [(3 * i, 0.1 if i == 10 else 0.9, 0)]) for i in range(20)]
    found = rescored(frames)
    assert found[10].scores[0] == pytest.approx(0.5, abs=1e-6)
    assert [round(float(each.scores[0]), 6) for each in found[:10]] == [0.9] * 10


@pytest.mark.parametrize("look_ahead", [0, SCORE_FRAMES])
def test_no_score_falls_and_the_best_come_first(look_ahead):
    frames = random_frames()
    for before, after in zip(frames, rescored(frames, look_ahead), strict=True):
        assert (np.sort(after.scores) >= np.sort(before.scores)).all()
        assert (np.diff(after.scores) <= 0).all()


def test_the_weaker_box_moves_to_the_line_of_its_neighbours():
    frames = [seen(i, [(5 * i + 12 * (i == 10), 0.1 if i == 10 else 0.9, 0)]) for i in range(20)]
    found = rescored(frames)
    assert found[10].boxes[0, 0] == pytest.approx(50, abs=3)
    for each in (found[3], found[17]):
        np.testing.assert_array_equal(each.boxes, frames[each.index].boxes)


def test_another_class_a_cut_and_another_place_lend_nothing():
    strong = [seen(i, [(0, 0.9, 0)]) for i in range(8)]
    for other in (seen(8, [(0, 0.1, 1)]), seen(8, [(0, 0.1, 0)], cut=True), seen(8, [(500, 0.1, 0)])):
        assert rescored([*strong, other])[8].scores[0] == np.float32(0.1)


def test_the_past_alone_counts_without_look_ahead_and_boxes_stay():
    frames = random_frames()
    causal = rescored(frames, 0)
    assert [list(each.scores) for each in rescored(frames[:20], 0)] == [
        list(each.scores) for each in causal[:20]
    ]
    for before, after in zip(frames, causal, strict=True):
        assert {tuple(box) for box in before.boxes.tolist()} == {tuple(box) for box in after.boxes.tolist()}


def test_a_frame_depends_on_no_frame_outside_its_window():
    frames = random_frames()
    whole = rescored(frames)
    part = rescored(frames[20 - SCORE_FRAMES : 21 + SCORE_FRAMES])
    # Links need one frame more: where an object was before says where it should be.
    np.testing.assert_allclose(part[SCORE_FRAMES].scores, whole[20].scores, rtol=1e-6)


def test_frames_without_detections_and_boxes_that_are_not_finite_pass():
    frames = [seen(0, [(0, 0.9, 0)]), seen(1, []), seen(2, [(float("nan"), 0.5, 0)]), seen(3, [(0, 0.9, 0)])]
    found = rescored(frames)
    assert [len(each.scores) for each in found] == [1, 0, 1, 1]
    assert float(found[2].scores[0]) == 0.5


def test_a_fast_object_is_linked_by_where_it_should_be():
    last = None
    for i in range(6):
        last = linked_to(last, seen(i, [(6 * i * i, 0.9, 0)]))
    assert last is not None
    assert last.before.tolist() == [0]
