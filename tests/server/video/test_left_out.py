"""Pictures that nobody needs are not decoded, and nothing else changes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from media import damage_packet, write_video

from selsa_server.errors import VideoError
from selsa_server.video.container import VideoLimits
from selsa_server.video.cursor import Cursor
from selsa_server.video.decode import DecodedFrame, decode_frames
from selsa_server.video.index import VideoIndex, index_video

COUNT = 40
GOP = "keyint=12:min-keyint=12:scenecut=0:bframes=3:b-adapt=0"
H265 = f"log-level=none:{GOP}:b-pyramid=1"
# name: suffix, codec, parameters of the encoder, whether pictures are left out
STREAMS = {
    "b-pyramid": ("mp4", "libx264", f"{GOP}:b-pyramid=normal", True),
    "strict b-pyramid": ("mkv", "libx264", f"{GOP}:b-pyramid=strict", True),
    "open GOP": ("mkv", "libx264", f"{GOP}:open-gop=1", True),
    "transport stream": (
        "ts",
        "libx264",
        f"{GOP}:open-gop=1:nal-hrd=vbr:vbv-maxrate=500:vbv-bufsize=500",
        True,
    ),
    "several slices": ("mp4", "libx264", f"{GOP}:slices=3", True),
    "weighted, several references": ("mp4", "libx264", f"{GOP}:ref=5:weightb=1:weightp=2", True),
    "one group of pictures": ("mp4", "libx264", "keyint=infinite:bframes=3:b-adapt=0", True),
    "no B-frames": ("mp4", "libx264", "keyint=12:bframes=0", False),
    "interlaced": ("mp4", "libx264", f"{GOP}:interlaced=1", False),
    "AVI, frames are counted": ("avi", "libx264", GOP, False),
    "H.265": ("mp4", "libx265", f"{H265}:open-gop=0", True),
    "H.265, open GOP": ("mkv", "libx265", f"{H265}:open-gop=1", True),
    "H.265, temporal layers": ("mp4", "libx265", f"{H265}:temporal-layers=3", False),
    "H.265 without configuration record": ("ts", "libx265", H265, False),
}


@pytest.fixture(scope="module", params=list(STREAMS))
def stream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bool]:
    suffix, codec, parameters, left_out = STREAMS[request.param]
    path = tmp_path_factory.mktemp("streams") / f"video.{suffix}"
    name = {"libx264": "x264-params", "libx265": "x265-params"}[codec]
    return write_video(path, COUNT, codec=codec, options={name: parameters}), left_out


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Time stamps of the packets that go to the decoder."""
    stamps: list[int | None] = []
    original = Cursor._packets

    def noting(self: Cursor, start: int | None):
        for packet in original(self, start):
            stamps.append(packet.pts)
            yield packet

    monkeypatch.setattr(Cursor, "_packets", noting)
    return stamps


def decoded(path: Path, wanted: Sequence[int], *, tolerant: bool = False) -> dict[int, np.ndarray]:
    frames = list(decode_frames(path, index_video(path, VideoLimits()), wanted, tolerant=tolerant))
    assert [frame.index for frame in frames] == list(wanted)
    return {frame.index: frame.pixels for frame in frames if isinstance(frame, DecodedFrame)}


@pytest.mark.parametrize("tolerant", [False, True])
def test_wanted_frames_are_those_of_decoding_everything(stream: tuple[Path, bool], tolerant: bool) -> None:
    path, _ = stream
    whole = decoded(path, range(COUNT))
    assert len(whole) == COUNT
    for first, stride in ((0, 2), (0, 3), (1, 3), (2, 3), (5, 4), (14, 7), (0, 30), (39, 1)):
        got = decoded(path, range(first, COUNT, stride), tolerant=tolerant)
        assert len(got) == len(range(first, COUNT, stride))
        for index, pixels in got.items():
            np.testing.assert_array_equal(pixels, whole[index])


def test_pictures_without_use_are_left_out_where_the_stream_tells_them(
    stream: tuple[Path, bool], fed: list[int | None]
) -> None:
    path, left_out = stream
    decoded(path, range(0, COUNT, 3))
    assert (len(fed) < COUNT - COUNT // 6) == left_out
    fed.clear()
    decoded(path, range(COUNT))
    assert len(fed) == COUNT


@pytest.fixture
def film(tmp_path: Path) -> Path:
    options = {"x264-params": f"{GOP}:b-pyramid=none:threads=1"}
    return write_video(tmp_path / "film.mp4", COUNT, size=(320, 240), options=options)


def place_of(path: Path, wanted: Callable[[str], bool], index: VideoIndex) -> tuple[int, int]:
    """The first packet, by place in the file and index of its frame, whose frame is of such a kind."""
    with av.open(str(path)) as container:
        kinds = {frame.pts: PictureType(frame.pict_type).name for frame in container.decode(video=0)}
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.size]
    place = next(i for i, pts in enumerate(stamps) if i > 1 and wanted(kinds[pts]))
    return place, int(np.searchsorted(index.pts, stamps[place]))


def test_damage_in_a_picture_without_use_does_not_concern_the_others(film: Path) -> None:
    clean, index = decoded(film, range(COUNT)), index_video(film, VideoLimits())
    place, damaged = place_of(film, lambda kind: kind == "B", index)
    damage_packet(film, place)
    others = [i for i in range(COUNT) if i != damaged]
    for index_, pixels in decoded(film, others).items():
        np.testing.assert_array_equal(pixels, clean[index_])
    with pytest.raises(VideoError, match=f"Frame {damaged} of {COUNT}"):
        decoded(film, range(COUNT))
    assert damaged not in decoded(film, range(COUNT), tolerant=True)


def test_damage_in_a_reference_of_a_wanted_frame_is_an_error(film: Path) -> None:
    place, damaged = place_of(film, lambda kind: kind == "P", index_video(film, VideoLimits()))
    damage_packet(film, place)
    with pytest.raises(VideoError, match=f"of {COUNT}"):
        decoded(film, [i for i in range(COUNT) if i != damaged])


def test_counted_frames_are_all_decoded(film: Path, fed: list[int | None]) -> None:
    index = replace(index_video(film, VideoLimits()), by_pts=False)
    frames = list(decode_frames(film, index, range(0, COUNT, 3), tolerant=False))
    assert [frame.index for frame in frames] == list(range(0, COUNT, 3))
    assert len(fed) == COUNT
