"""Decoding: every frame once, in order, upright, at its time, and the same by whatever way it was reached."""

import random
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media import frame_pixels, number_of, write_video

from selsa_server.video import decode
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import CorruptFrame, DecodedFrame, decode_frames
from selsa_server.video.index import VideoIndex, index_video

COUNT = 36
OPEN_GOP = "open-gop=1:bframes=3:keyint=10:min-keyint=10"
# name: suffix, codec, pixel format, encoder options
STRUCTURES = {
    "h264 with B-frames": ("mp4", "libx264", "yuv420p", {"bf": "3", "g": "10"}),
    "h264 open GOP in Matroska": ("mkv", "libx264", "yuv420p", {"x264-params": OPEN_GOP}),
    "h264 in a transport stream": ("ts", "libx264", "yuv420p", {"bf": "3", "g": "10"}),
    "h264 intra refresh": ("ts", "libx264", "yuv420p", {"x264-params": "intra-refresh=1:keyint=10"}),
    "h264 in AVI, no order of display": ("avi", "libx264", "yuv420p", {"bf": "3", "g": "10"}),
    "h264 without container": ("h264", "libx264", "yuv420p", {"bf": "3", "g": "10"}),
    "h265 open GOP": ("mp4", "libx265", "yuv420p", {"x265-params": f"log-level=none:{OPEN_GOP}"}),
    "h265 10 bit": ("ts", "libx265", "yuv420p10le", {"x265-params": f"log-level=none:{OPEN_GOP}"}),
    "mpeg4 with B-frames": ("mp4", "mpeg4", "yuv420p", {"g": "10", "bf": "2"}),
    "mpeg2 program stream": ("mpg", "mpeg2video", "yuv420p", {"g": "10", "bf": "2"}),
    "vp8 with hidden frames": (
        "webm",
        "libvpx",
        "yuv420p",
        {"g": "10", "auto-alt-ref": "1", "lag-in-frames": "16"},
    ),
    "vp9": ("webm", "libvpx-vp9", "yuv420p", {"g": "10", "deadline": "realtime", "cpu-used": "8"}),
    "ffv1, lossless RGB": ("mkv", "ffv1", "bgr0", {"g": "10"}),
    "mjpeg": ("avi", "mjpeg", "yuvj420p", {}),
}


def read(
    path: Path, wanted: list[int] | range | None = None, *, tolerant: bool = False
) -> list[DecodedFrame | CorruptFrame]:
    index = index_video(path, VideoLimits())
    return list(
        decode_frames(path, index, range(len(index)) if wanted is None else wanted, tolerant=tolerant)
    )


def pixels_of(frames: list[DecodedFrame | CorruptFrame]) -> list[np.ndarray]:
    return [frame.pixels for frame in frames if isinstance(frame, DecodedFrame)]


@pytest.fixture(scope="module", params=list(STRUCTURES))
def structured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    suffix, codec, pix_fmt, options = STRUCTURES[request.param]
    path = tmp_path_factory.mktemp("structures") / f"video.{suffix}"
    return write_video(path, COUNT, codec=codec, pix_fmt=pix_fmt, options=options)


def test_every_frame_comes_once_and_in_order(structured: Path) -> None:
    frames = read(structured)
    assert [frame.index for frame in frames] == list(range(COUNT))
    assert [number_of(pixels) for pixels in pixels_of(frames)] == list(range(COUNT))


def test_frames_reached_by_jumping_are_those_of_decoding_in_order(structured: Path) -> None:
    in_order = pixels_of(read(structured))
    for seed in range(12):
        chance = random.Random(seed)
        wanted = sorted(chance.sample(range(COUNT), chance.randint(1, 6)))
        got = read(structured, wanted, tolerant=seed % 2 == 0)
        assert [frame.index for frame in got] == wanted
        for number, pixels in zip(wanted, pixels_of(got), strict=True):
            np.testing.assert_array_equal(pixels, in_order[number])


def test_pixels_equal_those_of_opencv(structured: Path) -> None:
    capture = cv2.VideoCapture(str(structured), cv2.CAP_FFMPEG)
    for pixels in pixels_of(read(structured)):
        found, bgr = capture.read()
        assert found
        np.testing.assert_array_equal(pixels, bgr[:, :, ::-1])


@pytest.fixture(scope="module")
def long_gop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "video.mp4"
    return write_video(path, 120, options={"g": "12", "bf": "2"})


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.sets(st.integers(0, 119), max_size=12))
def test_any_selection_gives_exactly_the_frames_asked_for(long_gop: Path, wanted: set[int]) -> None:
    chosen = sorted(wanted)
    frames = read(long_gop, chosen)
    assert [frame.index for frame in frames] == chosen
    assert [number_of(pixels) for pixels in pixels_of(frames)] == chosen


@pytest.fixture
def decoded_packets(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts what goes through the decoder, by counting the packets that a cursor hands on."""
    count = [0]
    original = decode.Cursor._packets

    def counting(self, start):
        for packet in original(self, start):
            count[0] += packet is not None
            yield packet

    monkeypatch.setattr(decode.Cursor, "_packets", counting)
    return count


def test_a_whole_pass_decodes_each_packet_once(long_gop: Path, decoded_packets: list[int]) -> None:
    read(long_gop)
    assert decoded_packets == [120]


def test_frames_spread_over_the_video_cost_less_than_a_pass(
    long_gop: Path, decoded_packets: list[int]
) -> None:
    read(long_gop, [0, 40, 80, 119])
    assert decoded_packets[0] < 60


def test_a_late_start_does_not_decode_what_comes_before(long_gop: Path, decoded_packets: list[int]) -> None:
    read(long_gop, range(110, 120))
    assert decoded_packets[0] <= 24


def test_nothing_is_decoded_after_the_last_wanted_frame(long_gop: Path, decoded_packets: list[int]) -> None:
    read(long_gop, range(5))
    assert decoded_packets[0] < 20


def test_closing_the_iterator_releases_the_file(long_gop: Path) -> None:
    frames = decode_frames(long_gop, index_video(long_gop, VideoLimits()), range(120), tolerant=False)
    next(frames)
    frames.close()
    opened = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    assert long_gop.resolve() not in opened


def test_times_of_a_variable_frame_rate_are_the_time_stamps(tmp_path: Path) -> None:
    pts = [0, 10, 50, 51, 400, 1000, 1033]
    path = write_video(tmp_path / "vfr.mkv", len(pts), codec="ffv1", pts=pts)
    assert [round(frame.time * 1000) for frame in read(path)] == pts
    assert index_video(path, VideoLimits()).times() == pytest.approx(np.array(pts) / 1000)


def test_time_stamps_may_be_negative(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "video.mp4", 5, options={"bf": "2"}, container_options={"movflags": "negative_cts_offsets"}
    )
    index = index_video(path, VideoLimits())
    assert [number_of(pixels) for pixels in pixels_of(read(path))] == list(range(5))
    assert index.duration == pytest.approx(0.2)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_video_comes_upright(tmp_path: Path, rotation: int) -> None:
    turns = {
        90: cv2.ROTATE_90_COUNTERCLOCKWISE,
        180: cv2.ROTATE_180,
        270: cv2.ROTATE_90_CLOCKWISE,
    }
    path = write_video(
        tmp_path / "phone.mp4",
        4,
        size=(48, 64) if rotation != 180 else (64, 48),
        rotation=rotation,
        picture=lambda number: np.ascontiguousarray(cv2.rotate(frame_pixels(number), turns[rotation])),
    )
    index = index_video(path, VideoLimits())
    assert (index.width, index.height, index.orientation.rotation) == (64, 48, rotation)
    assert [number_of(pixels) for pixels in pixels_of(read(path))] == [0, 1, 2, 3]


def test_odd_sizes_keep_their_size(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd.mkv", 3, codec="ffv1", pix_fmt="bgr0", size=(61, 43))
    assert [pixels.shape for pixels in pixels_of(read(path))] == [(43, 61, 3)] * 3


@pytest.mark.parametrize("pix_fmt", ["gray", "bgra", "yuva420p", "gray16le", "yuv444p"])
def test_gray_and_alpha_become_rgb(tmp_path: Path, pix_fmt: str) -> None:
    path = write_video(tmp_path / "video.mkv", 3, codec="ffv1", pix_fmt=pix_fmt)
    pixels = pixels_of(read(path))
    assert [p.shape for p in pixels] == [(48, 64, 3)] * 3
    assert [number_of(p) for p in pixels] == [0, 1, 2]


def test_a_size_that_changes_on_the_way_gives_each_frame_its_own(tmp_path: Path) -> None:
    first = write_video(tmp_path / "a.h264", 5, size=(64, 48))
    second = write_video(tmp_path / "b.h264", 5, size=(96, 64))
    both = tmp_path / "both.h264"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    frames = read(both)
    assert [pixels.shape[:2] for pixels in pixels_of(frames)] == [(48, 64)] * 5 + [(64, 96)] * 5


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        art = container.add_stream("png", rate=1)
        art.width, art.height, art.pix_fmt = 64, 48, "rgb24"
        art.disposition = av.stream.Disposition.attached_pic
        film = container.add_stream("mpeg4", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        picture = av.VideoFrame.from_ndarray(frame_pixels(200), format="rgb24")
        picture.pts = 0
        container.mux(art.encode(picture))
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(frame_pixels(number), format="rgb24").reformat(
                format="yuv420p"
            )
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(film.encode(frame))
        container.mux(film.encode(None))
    assert [number_of(pixels) for pixels in pixels_of(read(path))] == [0, 1, 2, 3]


def test_the_index_takes_nine_bytes_a_frame(long_gop: Path) -> None:
    index: VideoIndex = index_video(long_gop, VideoLimits())
    assert index.pts.nbytes + index.keyframe.nbytes == 9 * len(index)
