"""Frames of a video file are the server's: the same numbers and pixels, in whatever order they are read."""

from pathlib import Path

import av
import numpy as np
import pytest
from media import audio_only, write_video

from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import decode_frames
from selsa_server.video.index import index_video as index_for_server
from selsa_training.data.errors import ImageError
from selsa_training.data.images import image_size, read_image, verify_image
from selsa_training.data.video_frames import frames_in_order, index_video

B_FRAMES = {"bf": "2", "g": "10", "crf": "12"}


def as_the_server_decodes(path: Path) -> list[np.ndarray]:
    index = index_for_server(path, VideoLimits())
    return [frame.pixels for frame in decode_frames(path, index, range(len(index)), tolerant=False)]


@pytest.mark.parametrize(
    ("name", "codec", "options", "pts"),
    [
        ("a.mp4", "libx264", B_FRAMES, None),
        ("a.mkv", "libx264", B_FRAMES, None),
        ("a.avi", "libx264", B_FRAMES, None),
        ("a.h264", "libx264", B_FRAMES, None),
        ("a.webm", "libvpx-vp9", {"g": "10"}, None),
        ("a.mp4", "mpeg4", {"bf": "2", "g": "10"}, None),
        ("a.mkv", "libx264", B_FRAMES, [0, 40, 41, 300, *range(400, 800, 10)]),
    ],
)
def test_frames_read_in_any_order_are_those_of_the_server(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], pts: list[int] | None
) -> None:
    path = write_video(tmp_path / name, 40, codec=codec, options=options, pts=pts and pts[:40])
    expected = as_the_server_decodes(path)
    assert index_video(path).count == len(expected) == 40
    for frame in (39, 0, 38, 20, 21, 19, 5, 33, 11, 10, 9, 39):
        assert np.array_equal(read_image(path / f"{frame:06d}"), expected[frame]), frame
    assert all(np.array_equal(a, b) for a, b in zip(frames_in_order(path), expected, strict=True))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_frames_are_as_displayed(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "a.mp4", 2, rotation=rotation)
    expected = as_the_server_decodes(path)[1]
    assert np.array_equal(read_image(path / "1"), expected)
    assert image_size(path / "1") == verify_image(path / "1") == expected.shape[:2]


def test_a_changed_video_is_read_anew(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 4)
    assert index_video(path).count == 4
    write_video(path, 7)
    assert index_video(path).count == 7
    assert read_image(path / "6").shape == (48, 64, 3)


@pytest.mark.parametrize("name", ["4", "-1", "x", "1e3", "9" * 30])
def test_a_frame_that_is_not_there_is_an_error(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / "a.mp4", 4)
    for read in (read_image, image_size):
        with pytest.raises(ImageError, match=r"a\.mp4"):
            read(path / name)


def test_a_file_that_is_no_video_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 100)
    for path in (tmp_path / "a.mp4", audio_only(tmp_path / "b.mp4")):
        with pytest.raises(ImageError, match=path.name):
            index_video(path)
    with pytest.raises(ImageError, match="No such file"):
        index_video(tmp_path / "c.mp4")


def test_a_video_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 40, options={"g": "10"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=r"a\.mkv.*cut off"):
        index_video(path)


def placed(path: Path, number: int) -> tuple[int, int]:
    """Position of a packet in the file, and its size."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
    return packet.pos or 0, packet.size


@pytest.mark.parametrize("number", [0, 5, 20, 39])
def test_a_frame_that_does_not_decode_is_an_error(tmp_path: Path, number: int) -> None:
    path = write_video(tmp_path / "a.mkv", 40, options={"g": "10"})
    position, size = placed(path, number)
    data = bytearray(path.read_bytes())
    data[position + 4 : position + size] = b"\xff" * (size - 4)
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.mkv.*repair"):
        index_video(path)


def test_a_recording_of_a_running_stream_is_whole(tmp_path: Path) -> None:
    """Before the first key frame nothing decodes; several threads report that at packets behind it."""
    film = write_video(tmp_path / "film.mkv", 40, codec="libvpx", options={"g": "10"})
    path = tmp_path / "a.mkv"
    with av.open(str(film)) as source, av.open(str(path), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size and number >= 6:
                packet.stream = copy
                target.mux(packet)
    assert index_video(path).count == len(as_the_server_decodes(path)) == 30


@pytest.mark.parametrize("number", [0, 5, 20, 39])
def test_a_frame_whose_head_is_damaged_is_missing_and_an_error(tmp_path: Path, number: int) -> None:
    path = write_video(tmp_path / "a.mkv", 40, options={"g": "10"})
    position, _ = placed(path, number)
    data = bytearray(path.read_bytes())
    data[position - 3 : position] = b"\xff" * 3
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.mkv.*gap"):
        index_video(path)
    with pytest.raises(ImageError, match=r"a\.mkv.*gap"):
        next(frames_in_order(path))
