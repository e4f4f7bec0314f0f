"""Frames between two detected ones: objects move from one to the other and keep their tracks."""

import numpy as np
import pytest

from selsa_bundle.tracks.filling import Filler, FollowedFrame
from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.track import Track


def frame(index, detections, tracks=(), *, cut=False):
    """A frame with detections (x, score) of 40 x 40 pixels, best first."""
    boxes = np.array([[x, 0, x + 40, 40] for x, _ in detections], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in detections], np.float32)
    labels = np.zeros(len(detections), np.int64)
    seen = Observation(index=index, time=None, boxes=boxes, scores=scores, labels=labels, cut=cut)
    return FollowedFrame(seen, tracks)


def between(first, second):
    filler = Filler()
    assert list(filler.between(first, [])) == []
    return list(filler.between(second, range(first.seen.index + 1, second.seen.index)))


def track(number):
    return Track(box=np.zeros(4, np.float32), first=0, first_time=0, last=0, last_time=0, id=number)


def test_an_object_in_both_frames_moves_linearly_with_box_and_score():
    filled = between(frame(0, [(0, 0.9)]), frame(4, [(20, 0.5)]))
    assert [each.seen.index for each in filled] == [1, 2, 3]
    assert [each.seen.boxes[0, 0] for each in filled] == [5, 10, 15]
    assert [float(each.seen.scores[0]) for each in filled] == pytest.approx([0.8, 0.7, 0.6])
    assert all(each.filled and not each.tracks for each in filled)


def test_what_one_frame_has_alone_stays_with_half_of_its_score():
    filled = between(frame(0, [(0, 0.9)]), frame(2, [(300, 0.8)]))
    assert [
        (box[0], float(score)) for box, score in zip(filled[0].seen.boxes, filled[0].seen.scores, strict=True)
    ] == [
        (0, pytest.approx(0.45)),
        (300, pytest.approx(0.4)),
    ]


def test_a_track_joins_what_position_does_not_and_two_tracks_are_never_joined():
    one, other = track(1), track(2)
    (far,) = between(frame(0, [(0, 0.9)], [one]), frame(2, [(300, 0.9)], [one]))
    assert far.seen.boxes[:, 0].tolist() == [150]
    assert far.tracks == [one]
    (apart,) = between(frame(0, [(0, 0.9)], [one]), frame(2, [(2, 0.9)], [other]))
    assert set(apart.tracks) == {one, other}
    (weak,) = between(frame(0, [(0, 0.9)], [one]), frame(2, [(2, 0.2)], [None]))
    assert weak.tracks == [one]


def test_over_a_cut_a_frame_shows_the_nearer_side_only_so_no_track_is_there_twice():
    one = track(1)
    filled = between(frame(0, [(0, 0.9)], [one]), frame(5, [(20, 0.9)], [one], cut=True))
    assert [each.seen.boxes[:, 0].tolist() for each in filled] == [[0], [0], [20], [20]]
    assert [each.tracks for each in filled] == [[one]] * 4


def test_frames_without_detections_fill_with_none():
    assert [len(each.seen.scores) for each in between(frame(0, []), frame(3, []))] == [0, 0]
