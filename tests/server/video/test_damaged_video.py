"""Damaged and hostile files: a named error or, when asked for, the frames that are left."""

import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media import audio_only, damage_packet, number_of, png, write_video

from selsa_server.errors import VideoError
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import CorruptFrame, DecodedFrame, decode_frames
from selsa_server.video.index import index_video

LIMITS = VideoLimits()
FRONT = {"movflags": "faststart"}


def strict(path: Path, limits: VideoLimits = LIMITS) -> list[DecodedFrame | CorruptFrame]:
    index = index_video(path, limits)
    return list(decode_frames(path, index, range(len(index)), tolerant=False))


def refusal(path: Path, limits: VideoLimits = LIMITS) -> VideoError:
    with pytest.raises(VideoError) as raised:
        strict(path, limits)
    return raised.value


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write_video(tmp_path / "video.mp4", 40, codec="mpeg4", options={"g": "8"}, container_options=FRONT)


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "mpeg4"), ("mkv", "mpeg4"), ("avi", "mjpeg")])
def test_a_file_that_is_cut_off_is_refused_before_any_frame(tmp_path: Path, suffix: str, codec: str) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_video(
        tmp_path / f"video.{suffix}", 40, codec=codec, pix_fmt=pix_fmt, container_options=FRONT
    )
    index = index_video(cut(path, 0.7), LIMITS)
    with pytest.raises(VideoError, match="decode=tolerant") as raised:
        next(decode_frames(path, index, range(len(index)), tolerant=False))
    assert raised.value.code == "truncated"


def test_what_is_left_of_a_cut_off_file_is_decoded_when_asked_for(whole: Path) -> None:
    index = index_video(cut(whole, 0.7), LIMITS)
    frames = list(decode_frames(whole, index, range(len(index)), tolerant=True))
    numbers = [number_of(frame.pixels) for frame in frames if isinstance(frame, DecodedFrame)]
    assert 10 < len(numbers) < 40
    assert numbers == list(range(len(numbers)))
    assert isinstance(frames[-1], CorruptFrame)  # the packet in which the file ends


def test_an_mp4_whose_index_is_missing_is_named_so(tmp_path: Path) -> None:
    error = refusal(cut(write_video(tmp_path / "video.mp4", 40), 0.5))
    assert error.code == "truncated"
    assert "moov" in error.detail


def test_an_mp4_whose_index_is_at_the_end_works(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", 10)
    data = path.read_bytes()
    assert data.index(b"mdat") < data.index(b"moov")
    assert len(strict(path)) == 10


def test_a_damaged_frame_is_an_error_or_one_corrupt_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.avi", 30, codec="mjpeg", pix_fmt="yuvj420p")
    clean = [frame.pixels for frame in strict(path) if isinstance(frame, DecodedFrame)]
    damage_packet(path, 12)
    assert "Frame 12 of 30" in refusal(path).detail
    index = index_video(path, LIMITS)
    frames = list(decode_frames(path, index, range(30), tolerant=True))
    assert [frame.index for frame in frames if isinstance(frame, CorruptFrame)] == [12]
    for frame in frames:
        if isinstance(frame, DecodedFrame):
            np.testing.assert_array_equal(frame.pixels, clean[frame.index])


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mp4", "mpeg4"), ("ts", "mpeg2video")])
def test_a_strict_reader_does_not_pass_over_damage(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_video(tmp_path / f"video.{suffix}", 30, codec=codec, container_options=FRONT)
    damage_packet(path, 12)
    assert refusal(path).code in {"undecodable", "truncated"}


def test_frames_before_the_damage_are_not_held_up(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.avi", 30, codec="mjpeg", pix_fmt="yuvj420p")
    damage_packet(path, 25)
    index = index_video(path, LIMITS)
    assert len(list(decode_frames(path, index, range(20), tolerant=False))) == 20


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    assert refusal(audio_only(tmp_path / "sound.m4a")).code == "no_video_stream"


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tiff"])
def test_a_still_image_is_no_video(tmp_path: Path, suffix: str) -> None:
    assert refusal(png(tmp_path / f"image.{suffix}")).code == "not_a_video"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Just some text.\n" * 50,
        "ffconcat version 1.0\nfile '{other}'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{other}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
        "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'></svg>",
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "m3u8"])
def test_text_that_names_other_files_is_no_video(tmp_path: Path, text: str, suffix: str) -> None:
    other = write_video(tmp_path / "other.ts", 3)
    path = tmp_path / f"upload.{suffix}"
    path.write_text(text.format(other=other))
    assert refusal(path).code == "not_a_video"


def test_a_file_name_that_reads_as_an_address_is_only_a_file_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_video(tmp_path / "x.mp4", 3).rename(tmp_path / "concat:a%03d.mp4")
    assert len(strict(Path(path.name))) == 3


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mkv", "mpeg4"), ("webm", "libvpx")])
def test_a_video_without_frames_is_named_so(tmp_path: Path, suffix: str, codec: str) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"} if suffix == "mp4" else None
    path = write_video(tmp_path / f"video.{suffix}", 0, codec=codec, container_options=options)
    assert refusal(path).code == "no_frames"


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (VideoLimits(max_frames=39), "too_many_frames"),
        (VideoLimits(max_duration=1.5), "video_too_long"),
        (VideoLimits(max_pixels=64 * 48 - 1), "frame_too_large"),
    ],
)
def test_each_limit_is_a_named_refusal(whole: Path, limits: VideoLimits, code: str) -> None:
    error = refusal(whole, limits)
    assert error.code == code


@pytest.mark.parametrize("claimed", [2_100_000, 30_000_000, 170_000_000, 2**32 - 1])
def test_a_small_file_that_claims_many_frames_costs_nothing(tmp_path: Path, claimed: int) -> None:
    path = write_video(tmp_path / "video.mp4", 20, codec="mpeg4", container_options=FRONT)
    data, count = bytearray(path.read_bytes()), claimed.to_bytes(4, "big")
    sizes, chunks, times = (data.index(name) for name in (b"stsz", b"stsc", b"stts"))
    data[sizes + 8 : sizes + 16] = (1).to_bytes(4, "big") + count
    data[chunks + 16 : chunks + 20] = data[times + 12 : times + 16] = count
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(path).code == "too_many_frames"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


def test_exactly_at_the_limits_is_taken(whole: Path) -> None:
    limits = VideoLimits(max_frames=40, max_duration=1.6, max_pixels=64 * 48)
    assert len(strict(whole, limits)) == 40


def test_a_later_frame_over_the_limit_is_not_decoded(tmp_path: Path) -> None:
    small = write_video(tmp_path / "a.h264", 5, size=(64, 48))
    large = write_video(tmp_path / "b.h264", 5, size=(640, 480))
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    limits = VideoLimits(max_pixels=64 * 48)
    assert refusal(both, limits).code in {"undecodable", "frame_too_large"}


def test_errors_do_not_tell_where_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "secret-name.mp4"
    path.write_bytes(b"\0" * 500)
    assert "secret" not in refusal(path).detail


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sample") / "video.mp4"
    return write_video(path, 20, options={"g": "5"}, container_options=FRONT).read_bytes()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=20),
    tolerant=st.booleans(),
)
def test_any_change_of_bytes_gives_frames_or_a_video_error(
    sample: bytes, tmp_path: Path, changes: list[tuple[int, int]], tolerant: bool
) -> None:
    data = bytearray(sample)
    for position, value in changes:
        data[position % len(data)] = value
    path = tmp_path / "changed.mp4"
    path.write_bytes(data)
    limits = VideoLimits(max_frames=100, max_pixels=640 * 480)
    try:
        index = index_video(path, limits)
        frames = list(decode_frames(path, index, range(len(index)), tolerant=tolerant))
    except VideoError:
        return
    assert [frame.index for frame in frames] == list(range(len(index)))
