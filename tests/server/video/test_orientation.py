"""The whole display matrix, and pixels that are not square: what a player shows."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from film_kinds import X264, encode, ffmpeg, pixels_by_ffmpeg, read, sent

from selsa_bundle.picture import Orientation
from selsa_server.render.contact_sheet import ContactSheet, open_contact_sheet
from selsa_server.render.video import open_drawn_video
from selsa_server.schema.detect import Box, Detection, DetectParams, FrameRecord
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video

# a, b, c, d of the matrix: x' = a x + c y, y' = b x + d y
MATRICES = {
    (1, 0, 0, 1): Orientation(0),
    (0, 1, -1, 0): Orientation(90),
    (-1, 0, 0, -1): Orientation(180),
    (0, -1, 1, 0): Orientation(270),
    (-1, 0, 0, 1): Orientation(0, mirrored=True),
    (0, 1, 1, 0): Orientation(90, mirrored=True),
    (1, 0, 0, -1): Orientation(180, mirrored=True),
    (0, -1, -1, 0): Orientation(270, mirrored=True),
}
ONE = 1 << 16


def with_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """A film of 96x64 in MP4 whose track has this matrix."""
    encode(path, *X264, "-movflags", "+faststart", size="96x64", seconds=0.2)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = matrix
    values = (a, b, 0, c, d, 0, 0, 0, 1 << 14)
    words = [value if place == 8 else value * ONE for place, value in enumerate(values)]
    data[at : at + 36] = b"".join(word.to_bytes(4, "big", signed=True) for word in words)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("matrix", MATRICES, ids=str)
def test_pixels_are_those_that_ffmpeg_turns(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path, expected = with_matrix(tmp_path / "film.mp4", matrix), MATRICES[matrix]
    index = index_video(path, VideoLimits())
    assert (index.orientation, (index.width, index.height)) == (expected, expected.size(96, 64))
    frames = read(path)
    assert frames[0].pixels.shape == (index.height, index.width, 3)
    theirs = pixels_by_ffmpeg(path, frames[0].pixels.shape)
    ours = np.stack([frame.pixels for frame in frames])
    assert int(np.abs(ours.astype(int) - theirs).max()) <= 1
    live, _ = sent(path, "mp4")
    assert np.array_equal(live[0].pixels, frames[0].pixels)


@pytest.mark.parametrize("flip", ["horizontal", "vertical", None])
def test_the_bitstream_says_it_too(tmp_path: Path, flip: str | None) -> None:
    film = encode(tmp_path / "film.mkv", *X264, size="96x64", seconds=0.2)
    turned = tmp_path / "turned.mkv"
    change = "rotate=90" if flip is None else f"flip={flip}"
    ffmpeg("-i", film, "-c", "copy", "-bsf:v", f"h264_metadata=display_orientation=insert:{change}", turned)
    expected = {
        "horizontal": Orientation(0, mirrored=True),
        "vertical": Orientation(180, mirrored=True),
        None: Orientation(270),
    }
    assert index_video(turned, VideoLimits()).orientation == expected[flip]
    upright, shown = read(film)[0].pixels, read(turned)[0].pixels
    assert np.array_equal(shown, expected[flip].apply(upright))


def test_what_is_drawn_on_a_mirrored_film_is_where_its_boxes_are(tmp_path: Path) -> None:
    path = with_matrix(tmp_path / "film.mp4", (0, 1, 1, 0))
    index = index_video(path, VideoLimits())
    out, sheet = tmp_path / "drawn.mp4", tmp_path / "sheet.png"
    with (
        open_drawn_video(path, out, DetectParams()) as draw,
        open_contact_sheet(path, sheet, DetectParams()) as add,
    ):
        for number, time in enumerate(index.times()):
            record = FrameRecord(index=number, pts=None, time=float(time), detections=())
            draw(record)
            add(record)
    drawn, shown = read(out), read(path)
    assert [frame.pixels.shape for frame in drawn] == [frame.pixels.shape for frame in shown]
    assert np.abs(drawn[0].pixels.astype(int) - shown[0].pixels).mean() < 8  # coded once more


@pytest.mark.parametrize(("stored", "rotate"), [("64/45", False), ("64/45", True), ("3/4", False)])
def test_pixels_that_are_not_square_are_said_and_kept(tmp_path: Path, stored: str, rotate: bool) -> None:
    path = encode(tmp_path / "wide.mp4", *X264, "-vf", f"setsar={stored}", size="96x64", seconds=0.2)
    if rotate:
        data = bytearray(path.read_bytes())
        at = data.index(b"tkhd") + 44
        data[at : at + 20] = b"".join(word.to_bytes(4, "big") for word in (0, ONE, 0, (1 << 32) - ONE, 0))
        path.write_bytes(data)
    index = index_video(path, VideoLimits())
    expected = 1 / Fraction(stored) if rotate else Fraction(stored)
    assert index.sample_aspect_ratio == expected
    out = tmp_path / "drawn.mp4"
    with open_drawn_video(path, out, DetectParams()) as draw:
        for number, time in enumerate(index.times()):
            draw(FrameRecord(index=number, pts=None, time=float(time), detections=()))
    assert index_video(out, VideoLimits()).sample_aspect_ratio == expected


def test_the_container_counts_more_than_the_bitstream(tmp_path: Path) -> None:
    film = encode(tmp_path / "film.mp4", *X264, "-vf", "setsar=2/1", size="96x64", seconds=0.2)
    path = tmp_path / "other.mkv"
    ffmpeg("-i", film, "-c", "copy", "-aspect", "2:1", path)
    assert index_video(path, VideoLimits()).sample_aspect_ratio == Fraction(4, 3)


def test_a_contact_sheet_shows_pixels_in_their_shape_and_boxes_on_them() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[10:30, 10:30] = 255
    found = Detection(box=Box(x1=10, y1=10, x2=30, y2=30), score=1.0, class_id=0, class_name="a")
    sheet = ContactSheet(2.0)
    sheet.add(pixels, FrameRecord(index=0, pts=None, time=None, detections=(found,)))
    shown = sheet.pixels()
    white = np.argwhere((shown > 250).all(axis=2))
    height, width = white.max(axis=0) - white.min(axis=0)
    assert width == pytest.approx(2 * height, rel=0.1)
