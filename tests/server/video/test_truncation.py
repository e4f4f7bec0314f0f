"""Missing data is reported, and only missing data: an error in strict mode, damage in tolerant mode."""

from pathlib import Path

import pytest
from film_kinds import B_FRAMES, encode, joined, read, sent

from selsa_server.errors import VideoError
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 frames of H.264 with B-frames in MP4."""
    return encode(tmp_path_factory.mktemp("film") / "film.mp4", *B_FRAMES, "-movflags", "+faststart")


def damage_of(path: Path) -> str | None:
    index = index_video(path, VideoLimits())
    if index.damage is None:
        read(path)
    else:
        with pytest.raises(VideoError) as raised:
            read(path)
        assert raised.value.code == "truncated"
    return index.damage


def test_a_transport_stream_that_ends_inside_a_packet_is_truncated(film: Path, tmp_path: Path) -> None:
    path = joined(tmp_path, film, 0)
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    assert "last packet" in (damage_of(path) or "")
    with pytest.raises(VideoError, match="middle of a part"):
        sent(path, "mpegts")
    _, counts = sent(path, "mpegts", tolerant=True)
    assert counts.cut_off


@pytest.mark.parametrize("change", ["lost", "foreign", "out of a frame"])
def test_a_transport_stream_that_lost_bytes_is_truncated(tmp_path: Path, change: str) -> None:
    film = encode(tmp_path / "film.mp4", *B_FRAMES, size="320x240")
    path = joined(tmp_path, film, 0)
    data = path.read_bytes()
    middle = len(data) // 188 // 3 * 188
    cut = {"lost": (middle + 40, b""), "foreign": (middle, bytes(57)), "out of a frame": (middle + 376, b"")}
    begin, new = cut[change]
    path.write_bytes(data[:middle] + new + data[begin:])
    assert damage_of(path) is not None


@pytest.mark.parametrize("stride", [192, 204])
def test_transport_packets_may_have_other_bytes_around_them(film: Path, tmp_path: Path, stride: int) -> None:
    data = joined(tmp_path, film, 0).read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    path = tmp_path / "packets.ts"
    extra = bytes(stride - 188)
    path.write_bytes(b"".join(extra + each if stride == 192 else each + extra for each in packets))
    assert (len(read(path)), index_video(path, VideoLimits()).damage) == (16, None)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mkv", ()),
        ("webm", ()),
        ("webm", ("-live", "1")),
        ("mp4", ("-movflags", "+faststart")),
        ("mp4", ("-movflags", "frag_keyframe+empty_moov+default_base_moof")),
        ("avi", ()),
    ],
    ids=str,
)
@pytest.mark.parametrize("share", [0.5, 0.75, 0.9])
def test_a_file_that_is_cut_has_damage(
    tmp_path: Path, suffix: str, options: tuple[str, ...], share: float
) -> None:
    codec = ("-c:v", "libvpx") if suffix == "webm" else ("-c:v", "mpeg4", "-q:v", "2")
    path = encode(tmp_path / f"film.{suffix}", *codec, "-g", "8", *options, size="160x120")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert damage_of(path) is not None
    if suffix in ("mkv", "webm"):
        _, counts = sent(path, "matroska", tolerant=True)
        assert counts.cut_off


@pytest.mark.parametrize("name", [b"mvhd", b"mdhd"])
def test_a_time_scale_of_0_is_an_error(film: Path, tmp_path: Path, name: bytes) -> None:
    data = bytearray(film.read_bytes())
    at = data.index(name) + 4
    data[at + 12 : at + 16] = bytes(4)
    path = tmp_path / "no-time.mp4"
    path.write_bytes(data)
    with pytest.raises(VideoError, match="time scale of 0") as raised:
        index_video(path, VideoLimits())
    assert raised.value.code == "undecodable"
    with pytest.raises(VideoError, match="time scale of 0"):
        sent(path, "mp4")


@pytest.mark.parametrize("length", [1 << 55, (1 << 56) - 2])
@pytest.mark.parametrize("number", [b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\xec"])
def test_lengths_near_2_to_the_56_are_video_errors(tmp_path: Path, length: int, number: bytes) -> None:
    head = number + b"\x01" + length.to_bytes(7, "big")
    begin = b"" if number == b"\x1a\x45\xdf\xa3" else b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff"
    path = tmp_path / "head.mkv"
    path.write_bytes((begin + head).ljust(76, b"\0"))
    with pytest.raises(VideoError):
        index_video(path, VideoLimits())
