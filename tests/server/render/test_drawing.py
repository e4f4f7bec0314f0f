"""Drawn detections can be seen and read, on pictures of every size."""

import itertools

import numpy as np
import pytest

from selsa_server.render.drawing import class_colour, draw_caption, draw_detections, drawn_score
from selsa_server.schema.detect import Box, Detection, DetectParams

SIZES = [(1920, 1080), (540, 960), (320, 180), (96, 64), (16, 16), (1, 1)]


def found(x1, y1, x2, y2, class_id=0, name="dog", score=0.9):
    box = Box(x1=x1, y1=y1, x2=x2, y2=y2)
    return Detection(box=box, score=score, class_id=class_id, class_name=name)


def picture(width=320, height=180, grey=90):
    return np.full((height, width, 3), grey, np.uint8)


def where(pixels, colour, tolerance=0):
    return (np.abs(pixels.astype(int) - colour) <= tolerance).all(axis=2)


@pytest.mark.parametrize("size", SIZES)
def test_boxes_inside_across_and_outside_the_picture_are_drawn_or_cut(size):
    width, height = size
    for x1, y1, x2, y2 in [(0.1, 0.2, 0.7, 0.8), (-0.5, -0.5, 1.5, 1.5), (0.8, -0.2, 1.2, 0.3), (2, 2, 3, 3)]:
        pixels = picture(width, height)
        draw_detections(pixels, [found(x1 * width, y1 * height, x2 * width, y2 * height)])
        if x1 in (0.1, 2):
            assert (pixels != 90).any() == (x1 < 1)


def test_absurd_boxes_are_no_error():
    inf, nan = float("inf"), float("nan")
    boxes = [(nan, 0, 1, 1), (0, 0, inf, 9), (-1e30, -1e30, 1e30, 1e30), (50, 50, 10, 10)]
    pixels = picture()
    draw_detections(pixels, [found(*box) for box in boxes])


def test_the_box_lies_where_the_detection_says():
    pixels = picture(640, 480)
    draw_detections(pixels, [found(100, 200, 300, 400)])
    drawn = where(pixels, class_colour(0))
    assert drawn[300, 98:104].any()
    assert drawn[300, 296:302].any()
    assert drawn[396:402, 200].any()
    assert not drawn[300, 110:290].any()  # nothing in the middle
    assert not drawn[410:].any()


@pytest.mark.parametrize("corner", [(-20, -20), (600, 0), (0, 470), (630, 470), (300, 200)])
def test_a_label_is_whole_and_inside_the_picture(corner):
    x, y = corner
    middle = picture(640, 480)
    draw_detections(middle, [found(300, 200, 340, 240)])
    pixels = picture(640, 480)
    draw_detections(pixels, [found(x, y, x + 40, y + 40)])
    ink = where(middle, 255, 120).sum()
    assert ink > 50
    # As many pixels of ink as where there is room on all sides: nothing of it was cut off.
    assert where(pixels, 255, 120).sum() == pytest.approx(ink, rel=0.1)


def test_labels_of_boxes_on_top_of_each_other_are_all_readable():
    one = picture(640, 480)
    draw_detections(one, [found(100, 200, 300, 400)])
    both = picture(640, 480)
    draw_detections(both, [found(100, 200, 300, 400), found(100, 200, 301, 401, score=0.8)])
    assert where(both, 255, 120).sum() > 1.7 * where(one, 255, 120).sum()


def test_colours_are_the_same_at_all_times_and_far_apart_for_the_first_thirty_classes():
    colours = [class_colour(i) for i in range(30)]
    assert colours == [class_colour(i) for i in range(30)]
    assert len(set(colours)) == 30
    for first, second in itertools.pairwise(colours):
        assert sum(abs(a - b) for a, b in zip(first, second, strict=True)) > 100
    assert all(0 <= part <= 255 for i in (10**9, -5) for part in class_colour(i))


@pytest.mark.parametrize("name", ["žebra", "大熊猫", "\x1b[31m\n\t", "x" * 100, " "])
def test_any_name_can_be_drawn(name):
    pixels = picture()
    draw_detections(pixels, [found(50, 60, 200, 150, name=name)])
    assert where(pixels, 255, 120).any()


def test_lines_and_letters_grow_with_the_picture():
    def share(width, height):
        pixels = picture(width, height)
        draw_detections(pixels, [found(width * 0.2, height * 0.3, width * 0.8, height * 0.9)])
        return (pixels != 90).any(axis=2).mean()

    assert share(1920, 1080) == pytest.approx(share(3840, 2160), rel=0.5)


def test_drawings_start_at_the_page_s_score_unless_another_one_was_requested():
    assert drawn_score(DetectParams()) == 0.3
    assert drawn_score(DetectParams(score_threshold=0.05)) == 0.05
    blank = np.zeros((400, 600, 3), np.uint8)
    pixels = blank.copy()
    draw_detections(pixels, [found(100, 200, 300, 400, score=0.29)], least=0.3)
    assert (pixels == blank).all()


@pytest.mark.parametrize("size", [(320, 192), (1920, 1080), (64, 64), (16, 16)])
def test_a_caption_lies_at_the_bottom_and_fits_any_picture(size):
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    draw_caption(pixels, "Model: Synthetic sprites. Not for real footage: é\n" * 5)
    assert (pixels[: size[1] // 8] == 0).all()
    assert pixels.any()
