"""Objects keep their numbers through motion, crossings, gaps and cuts; position alone survives no cut."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from selsa_bundle.tracks.appearance import unit
from selsa_bundle.tracks.cuts import CutDetector
from selsa_bundle.tracks.objects import MOST_OBJECTS
from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.tracker import Tracker, TrackerOptions

WIDTH = 16
LOOKS = unit(np.random.default_rng(0).normal(size=(300, WIDTH)).astype(np.float32))


def seen(index, objects, *, looks=True, cut=False, score=0.99):
    """A frame with objects {who: (x, y)} of 40 x 40 pixels and class 0."""
    corners = np.array([[x, y, x + 40, y + 40] for x, y in objects.values()], np.float32).reshape(-1, 4)
    return Observation(
        index=index,
        time=index / 25,
        boxes=corners,
        scores=np.full(len(objects), score, np.float32),
        labels=np.zeros(len(objects), np.int64),
        looks=LOOKS[list(objects)] if looks else None,
        cut=cut,
    )


def numbers(tracker, frame):
    return [track.id if track else None for track in tracker.update(frame)]


@pytest.mark.parametrize("looks", [True, False], ids=["appearance", "position"])
def test_an_object_that_moves_keeps_its_number(looks):
    tracker = Tracker()
    found = [numbers(tracker, seen(i, {0: (9 * i, 0), 1: (300, 8 * i)}, looks=looks)) for i in range(30)]
    assert found == [[1, 2]] * 30


def test_objects_that_cross_keep_their_numbers_by_appearance():
    tracker = Tracker()
    for i in range(41):
        assert numbers(tracker, seen(i, {0: (5 * i, 0), 1: (200 - 5 * i, 0)})) == [1, 2]


def test_an_object_is_found_again_by_appearance_after_a_long_gap_elsewhere():
    tracker = Tracker()
    for i in range(10):
        numbers(tracker, seen(i, {0: (0, 0), 1: (200, 0)}))
    for i in range(10, 80):
        numbers(tracker, seen(i, {1: (200, 0)}))
    assert numbers(tracker, seen(80, {0: (400, 300), 1: (200, 0)})) == [1, 2]


def test_an_object_at_the_place_of_another_after_a_cut_is_a_new_one():
    for looks in (True, False):
        tracker = Tracker()
        for i in range(10):
            numbers(tracker, seen(i, {0: (0, 0)}, looks=looks))
        after = numbers(tracker, seen(10, {1: (0, 0)}, looks=looks, cut=True))
        assert after == [2], looks


def test_an_object_that_is_on_both_sides_of_a_cut_keeps_its_number_by_appearance_only():
    for looks, number in ((True, 1), (False, 2)):
        tracker = Tracker()
        for i in range(10):
            numbers(tracker, seen(i, {0: (0, 0), 5: (500, 0)}, looks=looks))
        assert numbers(tracker, seen(10, {0: (300, 100)}, looks=looks, cut=True))[0] == (
            number if looks else 3
        )


def test_an_object_that_looks_somewhat_like_a_lost_one_is_the_same_in_its_scene_and_another_after_a_cut():
    other = unit((LOOKS[7] - LOOKS[7] @ LOOKS[0] * LOOKS[0])[None])
    similar = 0.74 * LOOKS[:1] + np.float32(np.sqrt(1 - 0.74**2)) * other
    for cut, number in ((False, 1), (True, 3)):
        tracker = Tracker()
        for i in range(10):
            numbers(tracker, seen(i, {0: (0, 0), 1: (200, 0)}))
        for i in range(10, 40):
            numbers(tracker, seen(i, {1: (200, 0)}))
        frame = replace(seen(40, {0: (400, 300)}, cut=cut), looks=similar)
        assert numbers(tracker, frame) == [number]


def test_a_low_score_continues_a_track_and_begins_none():
    tracker = Tracker()
    assert numbers(tracker, seen(0, {0: (0, 0)}, score=0.4)) == [None]
    for i in range(1, 6):
        numbers(tracker, seen(i, {0: (0, 0)}))
    assert numbers(tracker, seen(6, {0: (2, 0)}, score=0.4)) == [1]


def test_a_detection_that_does_not_stay_gets_no_number():
    tracker = Tracker()
    frames = [seen(0, {0: (0, 0)}, score=0.6), *(seen(i, {}) for i in range(1, 5))]
    tracks = [tracker.update(frame) for frame in frames]
    assert tracks[0][0] is not None
    assert tracks[0][0].id is None
    assert tracker.gallery.objects({}) == []


def test_one_thing_under_two_classes_is_one_object():
    tracker = Tracker()
    frame = seen(0, {0: (0, 0), 1: (1, 1)})
    two = Observation(
        **{name: getattr(frame, name) for name in frame.__slots__} | {"labels": np.array([0, 1])}
    )
    assert numbers(tracker, two) == [1, None]


def test_two_numbers_of_one_object_become_aliases_only_if_they_never_meet():
    tracker = Tracker(TrackerOptions(by_look=5))
    for i in range(60):
        objects = {2: (500, 300)} | ({0: (0, 0)} if i < 20 or i >= 40 else {})
        numbers(tracker, seen(i, objects))
    assert tracker.gallery.total == 3
    assert tracker.aliases() == {3: 2}
    first, second = tracker.gallery.objects(tracker.aliases())
    assert (first["track_id"], first["frames"], second["frames"]) == (1, 60, 40)
    assert (second["first_index"], second["last_index"], second["last_time"]) == (0, 59, 59 / 25)


def test_tracks_that_meet_on_a_filled_frame_only_are_no_aliases():
    for gap, joined in ((3, {}), (6, {3: 2})):
        tracker = Tracker(TrackerOptions(by_look=0, steps=0))
        for i in range(0, 60, 3):
            # The first object disappears, and appears elsewhere `gap` frames later, blurred at first.
            first = {0: (0, 0)} if i < 30 else {0: (400, 0)} if i >= 27 + gap else {}
            frame = seen(i, {2: (500, 300)} | first)
            if i == 27 + gap:
                frame.looks[1] = LOOKS[7]
            numbers(tracker, frame)
        assert tracker.gallery.total == 3
        assert tracker.aliases() == {3: 2}
        assert tracker.aliases(filled=True) == joined


def test_many_tracks_of_equal_appearance_become_one_object():
    tracker = Tracker(TrackerOptions(by_look=0, steps=0, by_position=0))
    for i in range(0, 4 * 600, 4):
        for frame in range(i, i + 3):
            numbers(tracker, seen(frame, {0: (0, 0)}, cut=frame == i))
        numbers(tracker, seen(i + 3, {}))
    assert tracker.gallery.total == 600
    assert set(tracker.aliases().values()) == {1}


def test_new_objects_have_numbers_after_any_number_of_cuts():
    tracker = Tracker(TrackerOptions(most=50))
    for shot in range(12):
        objects = {20 * shot + i: (60 * i, 0) for i in range(20)}
        for i in range(3):
            found = numbers(tracker, seen(3 * shot + i, objects, looks=False, cut=i == 0 and shot > 0))
            assert found == list(range(20 * shot + 1, 20 * shot + 21))


def test_an_appearance_of_zeros_says_nothing_about_an_object():
    tracker = Tracker()
    for i in range(12):
        frame = seen(i, {0: (3 * i, 0), 1: (300, 3 * i)})
        if i in (0, 4, 5):
            frame.looks[0] = 0
        assert numbers(tracker, frame) == [1, 2]
    assert numbers(tracker, seen(40, {0: (400, 400)})) == [1]


def test_frames_without_detections_and_a_single_frame_are_no_problem():
    tracker = Tracker()
    assert numbers(tracker, seen(0, {})) == []
    assert tracker.aliases() == {}
    assert numbers(tracker, seen(7, {0: (0, 0)})) == [1]
    assert [each["frames"] for each in tracker.gallery.objects({})] == [1]


def test_boxes_that_are_no_numbers_belong_to_no_object():
    tracker = Tracker()
    assert numbers(tracker, seen(0, {0: (np.nan, 0), 1: (0, np.inf)})) == [None, None]


def test_two_hundred_objects_a_frame_are_followed():
    tracker = Tracker()
    places = {i: (60.0 * (i % 20), 60.0 * (i // 20)) for i in range(200)}
    for i in range(10):
        found = numbers(tracker, seen(i, {who: (x + 3 * i, y) for who, (x, y) in places.items()}))
        assert found == list(range(1, 201))


def test_memory_does_not_depend_on_how_many_objects_there_were():
    tracker = Tracker(TrackerOptions(by_look=3, by_position=3))
    for i in range(MOST_OBJECTS + 50):
        who = i % 300
        numbers(tracker, seen(5 * i, {who: (200 * (i % 7), 0)}, looks=False))
    assert len(tracker.gallery.tracks) == MOST_OBJECTS
    assert tracker.gallery.left_out == 50


def test_a_cut_is_a_large_change_that_is_unusual_or_another_size():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 255, (2, 96, 160, 3), np.uint8)
    cuts = CutDetector()
    assert [cuts.is_cut(pixels) for pixels in (one, one, other, other)] == [False, False, True, False]
    assert cuts.is_cut(other[:20, :20])
    moving = CutDetector()
    # What changes all the time is no cut.
    noise = [moving.is_cut(rng.integers(0, 255, (96, 160, 3), np.uint8)) for _ in range(10)]
    assert sum(noise) <= 2


@pytest.mark.parametrize("damage", ["dark", "blurred", "few pixels", "black", "white"])
def test_damage_and_black_frames_are_no_cuts(damage: str) -> None:
    cells = np.random.default_rng(1).integers(0, 255, (8, 12, 3), np.uint8)
    scene = cv2.resize(cells, (192, 128), interpolation=cv2.INTER_LINEAR)
    worse = {
        "dark": (scene * 0.1).astype(np.uint8),
        "blurred": cv2.GaussianBlur(scene, (0, 0), 6),
        "few pixels": cv2.resize(cv2.resize(scene, (24, 16)), (192, 128)),
        "black": np.zeros_like(scene),
        "white": np.full_like(scene, 255),
    }[damage]
    cuts = CutDetector()
    assert not any(cuts.is_cut(pixels) for pixels in (scene, scene, worse, worse, scene))


@pytest.mark.parametrize("stride", [1, 2, 3, 8, 21, 60, 400])
@pytest.mark.parametrize("looks", [True, False], ids=["appearance", "position"])
def test_objects_keep_their_numbers_at_any_stride(stride: int, looks: bool) -> None:
    tracker = Tracker()
    found = [
        numbers(tracker, seen(stride * i, {0: (9 * i, 0), 1: (300, 8 * i)}, looks=looks)) for i in range(12)
    ]
    assert found == [[1, 2]] * 12


@pytest.mark.parametrize("stride", [1, 3, 30])
def test_a_track_that_is_not_confirmed_yet_survives_one_detected_frame_without_it(stride: int) -> None:
    tracker = Tracker()
    frames = [seen(stride * i, {0: (5 * i, 0)} if i != 1 else {}, score=0.6, looks=False) for i in range(7)]
    tracks = [track for frame in frames for track in tracker.update(frame)]
    assert {id(track) for track in tracks} == {id(tracks[0])}
    assert tracks[0].id == 1
