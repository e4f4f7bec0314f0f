"""A contact sheet shows evenly chosen frames with what was detected on them."""

import av
import numpy as np
import pytest
from media import write_video

from selsa_server.errors import VideoError
from selsa_server.render.contact_sheet import CAPTION, GAP, open_contact_sheet
from selsa_server.render.drawing import class_colour
from selsa_server.schema.detect import Box, Detection, DetectParams, FrameRecord


def record(index, time=0.0):
    box = Box(x1=10, y1=10, x2=50, y2=40)
    found = Detection(box=box, score=0.9, class_id=0, class_name="dog")
    return FrameRecord(index=index, pts=None, time=time, detections=(found,))


def sheet_of(source, count, **params):
    out = source.with_suffix(".png")
    with open_contact_sheet(source, out, DetectParams(**params)) as write:
        for index in range(count):
            write(record(index, index / 25))
    with av.open(str(out)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def red(pixels):
    return (np.abs(pixels.astype(int) - class_colour(0)).sum(axis=2) < 60).any()


@pytest.mark.parametrize(("count", "grid"), [(1, (1, 1)), (5, (2, 3)), (12, (3, 4)), (100, (3, 4))])
def test_every_cell_has_a_frame_with_its_box(tmp_path, count, grid):
    pixels = sheet_of(write_video(tmp_path / "a.mp4", count, size=(128, 72)), count)
    columns, rows = grid
    width, height = 400, 225 + CAPTION
    assert pixels.shape == (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3)
    cells = min(count, 12)
    for place in range(cells):
        x, y = GAP + place % columns * (width + GAP), GAP + place // columns * (height + GAP)
        cell = pixels[y : y + height, x : x + width]
        assert red(cell[:225])
        assert cell[225:].max() > 150  # the time


def test_the_first_and_the_last_frame_are_chosen(tmp_path):
    pixels = sheet_of(
        write_video(tmp_path / "a.mp4", 40, picture=lambda i: np.full((48, 64, 3), 6 * i, np.uint8)), 40
    )
    assert pixels[GAP + 280, GAP + 350].max() < 20
    columns = (pixels.shape[1] - GAP) // (400 + GAP)
    last = pixels[-CAPTION - GAP - 20, GAP + (11 % columns) * (400 + GAP) + 380]
    assert last.min() > 220


def test_a_rotated_video_is_upright(tmp_path):
    source = write_video(tmp_path / "a.mp4", 3, size=(128, 72), rotation=90)
    pixels = sheet_of(source, 3)
    assert (pixels.shape[0] - GAP) % (400 + CAPTION + GAP) == 0


def test_without_a_frame_there_is_no_sheet(tmp_path):
    source = write_video(tmp_path / "a.mp4", 3)
    with pytest.raises(VideoError, match="no frame"):
        sheet_of(source, 0)
    assert not source.with_suffix(".png").exists()
