"""Frames that FFmpeg shrinks as they become RGB: the picture is the same as by shrinking afterwards."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from film_kinds import X264, Sent, encode, ffmpeg, read

from selsa_bundle.picture import Picture
from selsa_bundle.preprocess import PreparedFrame, Preprocess
from selsa_server.run_context import Stopwatch
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video
from selsa_server.video.live.container import LiveCounts, LiveOptions
from selsa_server.video.live.frames import prepared_live_frames
from selsa_server.video.prepared import TimedFrame, prepare_frames

AFTER = Preprocess(long_side=416, short_side=416, size_multiple=32, area_above=1.5)
AT_ONCE = AFTER.model_copy(update={"area_by": "ffmpeg"})


def prepared(path: Path, preprocess: Preprocess) -> list[PreparedFrame]:
    index = index_video(path, VideoLimits())
    frames = prepare_frames(path, index, range(len(index)), preprocess, Stopwatch(), tolerant=False)
    return [frame.prepared for frame in frames if isinstance(frame, TimedFrame)]


def prepared_live(path: Path, preprocess: Preprocess) -> Iterator[PreparedFrame]:
    options = LiveOptions(limits=VideoLimits(), tolerant=False, stride=1)
    source = Sent(path.read_bytes())
    for item in prepared_live_frames(source, "matroska", options, preprocess, Stopwatch(), LiveCounts()):
        if isinstance(item, TimedFrame):
            yield item.prepared


@pytest.mark.parametrize("turn", [0, 90], ids=["upright", "turned"])
@pytest.mark.parametrize("kind", ["yuv420p", "yuv444p", "yuv422p10le", "gray"])
def test_a_film_is_shrunk_to_the_same_picture(tmp_path: Path, kind: str, turn: int) -> None:
    film = encode(tmp_path / "film.mkv", *X264, "-pix_fmt", kind, size="1280x720", seconds=0.12)
    if turn:
        turned = tmp_path / "turned.mkv"
        change = "h264_metadata=display_orientation=insert:rotate=90"
        ffmpeg("-i", film, "-c", "copy", "-bsf:v", change, turned)
        film = turned
    after, at_once = prepared(film, AFTER), prepared(film, AT_ONCE)
    assert len(after) == len(at_once) == 3
    for one, other in zip(after, at_once, strict=True):
        assert (one.image_size, one.scale_factor) == (other.image_size, other.scale_factor)
        difference = one.picture.astype(int) - other.picture
        # Conversion at full size truncates: about one grey level of the mean.
        assert abs(float(difference.mean())) < 2
        # The film has colours that RGB does not: they are clipped before averaging, or after it.
        assert float(difference.std()) < 5
    for one, other in zip(prepared_live(film, AT_ONCE), at_once, strict=True):
        assert np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("size", [(2160, 3840), (1920, 1080), (16, 4000), (4000, 16), (1, 8192), (625, 2)])
@pytest.mark.parametrize("kind", ["yuv420p", "rgb24", "pal8", "yuva420p", "nv12"])
def test_frames_of_every_size_and_format_are_shrunk(size: tuple[int, int], kind: str) -> None:
    height, width = size
    frame = av.VideoFrame(width, height, kind)
    for plane in frame.planes:
        plane.update(np.random.default_rng(0).integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    picture = Picture(VideoLimits().max_pixels, AT_ONCE)
    pixels = picture.pixels(frame)
    assert pixels is not None
    assert (pixels.shape[:2], picture.source_size(frame)) == (AT_ONCE.resized_size(*size), size)
    shown = AT_ONCE.prepare(pixels, picture.source_size(frame))
    assert np.array_equal(shown.picture, pixels)
    assert shown.scale_factor == AFTER.prepare(np.zeros((*size, 3), np.uint8)).scale_factor


def test_one_colour_stays_that_colour() -> None:
    frame = av.VideoFrame.from_ndarray(np.full((1080, 1920, 3), (200, 100, 50), np.uint8), format="rgb24")
    pixels = Picture(VideoLimits().max_pixels, AT_ONCE).pixels(frame.reformat(format="yuv444p"))
    assert pixels is not None
    assert int(np.abs(pixels.astype(int) - (200, 100, 50)).max()) <= 2


@pytest.mark.parametrize("preprocess", [Preprocess(), AFTER], ids=["published", "averaged afterwards"])
def test_other_bundles_get_every_pixel_of_the_frame(tmp_path: Path, preprocess: Preprocess) -> None:
    film = encode(tmp_path / "film.mkv", *X264, size="1280x720", seconds=0.08)
    for frame, ready in zip(read(film), prepared(film, preprocess), strict=True):
        assert np.array_equal(preprocess.prepare(frame.pixels).pixels, ready.pixels)


def test_a_frame_that_hardly_shrinks_is_resized_as_before(tmp_path: Path) -> None:
    film = encode(tmp_path / "film.mkv", *X264, size="512x384", seconds=0.08)
    for one, other in zip(prepared(film, AFTER), prepared(film, AT_ONCE), strict=True):
        assert np.array_equal(one.pixels, other.pixels)


def test_a_smaller_size_keeps_the_ratio_of_the_sides() -> None:
    assert Preprocess().at_size(500) == Preprocess(long_side=500, short_side=300)
    assert AFTER.at_size(320).resized_size(1080, 1920) == (180, 320)
