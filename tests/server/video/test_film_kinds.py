"""Files with a property that public bug reports name: every frame, at its time, and no false alarm.

Each kind is made here. The files of `$SELSA_CASES` (or ../shared/cases), which others made, are read as well
where they are there.
"""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from film_kinds import (
    B_FRAMES,
    OPEN_GOP,
    X264,
    X265,
    delivered,
    encode,
    ffmpeg,
    field_coded,
    field_coded_mpeg2,
    hls_parts,
    joined,
    pixels_by_ffmpeg,
    read,
    remux,
    sent,
    with_empty_chunk,
)

from selsa_server.video.container import VideoLimits
from selsa_server.video.index import VideoIndex, index_video

ROOT = Path(__file__).parents[3]
CASES = Path(os.environ.get("SELSA_CASES", ROOT.parent / "shared" / "cases")) / "media"


def index_of(path: Path) -> VideoIndex:
    return index_video(path, VideoLimits())


def times(path: Path) -> list[float]:
    """Of all frames, which decode strictly."""
    found = [frame.time for frame in read(path)]
    assert all(time is not None for time in found)
    return [time for time in found if time is not None]


def regular(count: int, begin: float = 0.0, rate: Fraction | int = 25) -> list[float]:
    return pytest.approx([begin + number / float(rate) for number in range(count)], abs=2e-3)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 frames of H.264 with B-frames in MP4."""
    return encode(tmp_path_factory.mktemp("film") / "film.mp4", *B_FRAMES, "-movflags", "+faststart")


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("packed.avi", 40, 1.56),
        ("cra_cut.mkv", 30, 1.56),
        ("midgop.ts", 30, 1.56),
        ("paff.ts", 40, 1.56),
        ("ts_join.ts", 40, 2.96),
        ("trailer.mp4", 40, 1.56),
        ("r30.h264", 40, 1.3),
        ("mirror.mp4", 40, 1.56),
    ],
)
def test_files_of_others_have_the_frames_that_their_notes_say(name: str, count: int, last: float) -> None:
    path = CASES / name
    if not path.exists():
        pytest.skip(f"{name} is not there: set SELSA_CASES to the folder of the cases")
    found = times(path)
    assert (len(found), index_of(path).damage) == (count, None)
    assert found[-1] == pytest.approx(last, abs=1e-3)


def test_a_mirrored_film_of_others_has_the_pixels_that_ffmpeg_turned() -> None:
    if not CASES.exists():
        pytest.skip("mirror.mp4 is not there: set SELSA_CASES to the folder of the cases")
    ours, theirs = read(CASES / "mirror.mp4"), read(CASES / "up_mirror.mkv")
    for frame, upright in zip(ours, theirs, strict=False):
        assert np.abs(frame.pixels.astype(int) - upright.pixels).mean() < 2  # the other is coded once more


# Packets that are no frame, or two, or half of one


@pytest.mark.parametrize("b_frames", [1, 2, 3])
def test_packed_pictures_of_xvid_are_all_shown(tmp_path: Path, b_frames: int) -> None:
    path = encode(tmp_path / "packed.avi", "-c:v", "libxvid", "-bf", b_frames, "-g", "12", seconds=1.6)
    assert times(path) == regular(len(delivered(path)))
    assert index_of(path).damage is None


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4", "avi", "h264"])
def test_two_fields_are_one_frame(tmp_path: Path, suffix: str) -> None:
    stream = field_coded(tmp_path / "fields.h264", 12)
    through = tmp_path / "through.ts"
    ffmpeg("-fflags", "+genpts", "-r", "50", "-i", stream, "-c", "copy", through)
    path = stream if suffix == "h264" else through
    if suffix not in ("h264", "ts"):
        path = tmp_path / f"fields.{suffix}"
        ffmpeg("-i", through, "-c", "copy", path)
    index = index_of(path)
    assert times(path) == regular(12, index.times()[0])
    assert (index.duration, index.average_rate) == (pytest.approx(0.48, abs=2e-3), 25)


@pytest.mark.parametrize("suffix", ["m2v", "ts", "mkv", "mp4", "mov", "mpg", "avi"])
def test_two_fields_of_mpeg2_are_one_frame(tmp_path: Path, suffix: str) -> None:
    stream = field_coded_mpeg2(tmp_path / "fields.m2v", 12)
    path = tmp_path / f"fields.{suffix}"
    if suffix != "m2v":
        ffmpeg("-fflags", "+genpts", "-r", "25", "-i", stream, "-c", "copy", path)
    index = index_of(path)
    found = times(path)
    assert len(found) == len(delivered(path)) == 12
    assert found == regular(12, index.times()[0])
    assert (index.duration, index.average_rate, index.damage) == (pytest.approx(0.48, abs=2e-3), 25, None)
    frames = read(path)
    assert len({int(frame.pixels[0, 0, 0]) for frame in frames}) == 12  # none comes twice
    ours, theirs = np.stack([frame.pixels for frame in frames]), pixels_by_ffmpeg(path, (64, 64, 3))
    assert int(np.abs(ours.astype(int) - theirs).max()) <= 1


def test_empty_samples_are_no_frames_and_no_damage(tmp_path: Path) -> None:
    data = bytearray(encode(tmp_path / "film.mp4", *X264, "-bf", "0").read_bytes())
    # The last sample of the table loses its bytes: a recorder that repeats the picture before.
    sizes = data.index(b"stsz")
    data[sizes + 16 + 4 * 15 : sizes + 20 + 4 * 15] = bytes(4)
    path = tmp_path / "empty.mp4"
    path.write_bytes(data)
    assert len(read(path)) == len(delivered(path)) == 15


# Streams that begin at an open group of pictures, or in the middle of one


OPEN = {
    "h264": (*X264, "-x264-params", OPEN_GOP),
    "hevc": (*X265, f"log-level=none:{OPEN_GOP}"),
    "mpeg2": ("-c:v", "mpeg2video", "-g", "8", "-bf", "2"),
}


def cut_at_a_key_frame(folder: Path, codec: str, suffix: str) -> Path:
    """A second of film without its first group of pictures."""
    whole = encode(folder / "whole.ts", *OPEN[codec], seconds=1)
    with av.open(str(whole)) as container:
        keys = [number for number, packet in enumerate(container.demux(video=0)) if packet.is_keyframe]
    return remux(whole, folder / f"cut.{suffix}", skip=keys[1])


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mp4"])
@pytest.mark.parametrize("codec", OPEN)
def test_what_a_decoder_skips_at_an_open_group_of_pictures_is_no_damage(
    tmp_path: Path, codec: str, suffix: str
) -> None:
    path = cut_at_a_key_frame(tmp_path, codec, suffix)
    found = times(path)
    assert 10 < len(found) == len(delivered(path)) < 25
    assert found == regular(len(found), found[0])
    assert index_of(path).damage is None


@pytest.mark.parametrize("codec", OPEN)
def test_joined_segments_that_begin_at_open_groups_of_pictures_lose_no_frame(
    tmp_path: Path, codec: str
) -> None:
    part = cut_at_a_key_frame(tmp_path, codec, "ts")
    path = tmp_path / "joined.ts"
    path.write_bytes(part.read_bytes() * 2)
    index = index_of(path)
    assert (index.clock_jumps, index.damage) == (1, None)
    # Leading pictures of the second part may find something to refer to.
    assert 2 * len(read(part)) <= len(read(path)) <= 2 * len(read(part)) + 3


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_a_capture_that_begins_in_the_middle_of_a_group_of_pictures_is_whole(
    tmp_path: Path, codec: str
) -> None:
    whole = encode(tmp_path / "whole.mkv", "-c:v", codec, "-g", "8", "-bf", "2", "-pix_fmt", "yuv420p")
    path = remux(whole, tmp_path / "cut.ts", skip=3)
    found = times(path)
    assert 4 <= len(found) == len(delivered(path)) < 16
    assert index_of(path).damage is None
    live, counts = sent(path, "mpegts")
    assert [frame.time for frame in live] == found
    assert not counts.cut_off


# Joined streams and clocks


@pytest.mark.parametrize(
    ("offsets", "jumps"), [((0, 0.72), 0), ((0, 0), 1), ((100, 0), 1), ((0, 100, 7), 2), ((0, 0, 0), 2)]
)
def test_joined_transport_streams_keep_every_frame_in_order(
    film: Path, tmp_path: Path, offsets: tuple[float, ...], jumps: int
) -> None:
    path = joined(tmp_path, film, *offsets)
    index = index_of(path)
    assert (len(index), index.clock_jumps, index.damage) == (16 * len(offsets), jumps, None)
    frames = read(path)
    assert [frame.time for frame in frames] == regular(16 * len(offsets), index.times()[0])
    for number in range(16):
        assert np.array_equal(frames[number].pixels, frames[number - 16].pixels)
    live, counts = sent(path, "mpegts")
    assert [(frame.pts, frame.time) for frame in live] == [(frame.pts, frame.time) for frame in frames]
    assert counts.clock_jumps == jumps


def test_a_clock_of_33_bits_may_overflow_on_the_way(film: Path, tmp_path: Path) -> None:
    path = joined(tmp_path, film, (1 << 33) / 90_000 - 1.8)
    index = index_of(path)
    begin = index.times()[0]
    assert (len(index), index.clock_jumps, begin >= 0) == (16, 0, True)
    assert times(path) == regular(16, begin)
    live, _ = sent(path, "mpegts")
    assert [frame.time for frame in live] == regular(16, begin)


@pytest.mark.parametrize("inits", [1, 2])
def test_a_fragmented_mp4_whose_clock_starts_anew_keeps_every_frame(
    film: Path, tmp_path: Path, inits: int
) -> None:
    init, *parts = hls_parts(film, tmp_path / "hls")
    path = tmp_path / "saved.mp4"
    again = init if inits == 2 else b""
    path.write_bytes(init + b"".join(parts) + again + b"".join(parts) + again + parts[-1])
    last = len(read(path)) - 32
    index = index_of(path)
    assert 0 < last < 16
    assert (index.clock_jumps, index.damage) == (2, None)
    frames = read(path)
    assert [frame.time for frame in frames] == regular(32 + last, index.times()[0])
    for number in range(16):
        assert np.array_equal(frames[number].pixels, frames[number + 16].pixels)
    live, counts = sent(path, "mp4")
    assert [(frame.pts, frame.time) for frame in live] == [(frame.pts, frame.time) for frame in frames]
    assert counts.clock_jumps == 2


# Claims of headers


@pytest.mark.parametrize(
    "after", [bytes(3000), b"\xff" * 500, b"\0\0\xff\xffCAMR" + b"data" * 9, b"\x7f\0\0\0mdat"]
)
def test_bytes_after_an_mp4_file_are_no_part_of_it(film: Path, tmp_path: Path, after: bytes) -> None:
    path = tmp_path / "trailer.mp4"
    path.write_bytes(film.read_bytes() + after)
    assert (len(read(path)), index_of(path).damage) == (16, None)


@pytest.mark.parametrize("claimed", [15, 17, 40])
def test_a_count_of_frames_is_not_trusted(tmp_path: Path, claimed: int) -> None:
    path = encode(tmp_path / "film.avi", *B_FRAMES)
    data = bytearray(path.read_bytes())
    at = data.index(b"strh") + 40
    data[at : at + 4] = claimed.to_bytes(4, "little")
    path.write_bytes(data)
    assert (len(read(path)), index_of(path).damage) == (16, None)


@pytest.mark.parametrize("more", [1, 1000])
def test_a_segment_that_claims_more_bytes_than_it_has_is_not_trusted(
    film: Path, tmp_path: Path, more: int
) -> None:
    path = remux(film, tmp_path / "film.mkv")
    data = bytearray(path.read_bytes())
    at = data.index(b"\x18\x53\x80\x67") + 4
    size = int.from_bytes(data[at + 1 : at + 8], "big") + more
    data[at + 1 : at + 8] = size.to_bytes(7, "big")
    path.write_bytes(data)
    assert (len(read(path)), index_of(path).damage) == (16, None)


# Elementary streams and AVI


@pytest.mark.parametrize("suffix", ["h264", "hevc"])
@pytest.mark.parametrize("rate", ["10", "24000/1001", "30000/1001", "30", "60"])
def test_an_elementary_stream_has_the_rate_that_it_says(tmp_path: Path, suffix: str, rate: str) -> None:
    options = X264 if suffix == "h264" else (*X265, "log-level=none")
    path = encode(tmp_path / f"film.{suffix}", *options, rate=rate, seconds=0.5)
    index = index_of(path)
    assert index.average_rate == Fraction(rate)
    assert times(path) == regular(len(index), 0, Fraction(rate))
    assert index.duration == pytest.approx(len(index) / Fraction(rate), abs=1e-3)


@pytest.mark.parametrize("b_frames", [0, 1, 2, 3])
def test_h264_in_avi_is_in_order_also_when_copied_from_mp4(tmp_path: Path, b_frames: int) -> None:
    source = encode(tmp_path / "film.mp4", *X264, "-bf", b_frames, "-g", "8")
    path = tmp_path / "film.avi"
    ffmpeg("-i", source, "-c", "copy", "-bsf:v", "h264_mp4toannexb", path)
    index = index_of(path)
    assert times(path) == regular(16)
    assert (index.damage, index.average_rate, index.duration) == (None, 25, pytest.approx(0.64))


@pytest.mark.parametrize("b_frames", [0, 2, 3])
def test_a_dropped_frame_in_avi_keeps_its_gap_in_time(tmp_path: Path, b_frames: int) -> None:
    path = with_empty_chunk(encode(tmp_path / "film.avi", *X264, "-bf", b_frames, "-g", "8"), 9)
    found = times(path)
    gaps = np.diff(found)
    assert (len(found), index_of(path).damage) == (16, None)
    assert sorted(gaps) == pytest.approx([0.04] * 14 + [0.08])
    assert 4 <= int(np.argmax(gaps)) <= 9
