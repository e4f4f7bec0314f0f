"""Request bodies of the mixed load: good videos of several sizes, damaged videos and other files."""

from dataclasses import dataclass
from pathlib import Path

from selsa_server.bench.sample_video import write_sample_video

__all__ = ["Film", "bad_films", "good_films"]

# (width, height, frames)
GOOD = ((64, 48, 10), (320, 192, 16), (192, 320, 8), (640, 360, 12), (1280, 720, 4))


@dataclass(frozen=True, slots=True)
class Film:
    """A request's body and the correct response.

    Attributes:
        body: the file's bytes.
        frames: frames of the video; 0 if the server must refuse it.
        codes: allowed problem codes if the server must refuse it.
    """

    body: bytes
    frames: int
    codes: frozenset[str] = frozenset()


def good_films(folder: Path) -> list[Film]:
    """Complete videos."""
    films = []
    for width, height, frames in GOOD:
        path = folder / f"{width}x{height}.mp4"
        write_sample_video(path, frames, width=width, height=height)
        films.append(Film(path.read_bytes(), frames))
    return films


def bad_films(good: list[Film]) -> list[Film]:
    """Bodies that the server must refuse."""
    whole = good[1].body
    flipped = bytearray(whole)
    media = flipped.index(b"mdat") + 8
    for position in range(media + 1500, flipped.index(b"moov"), 40):
        flipped[position] ^= 0x5A
    damaged = frozenset({"undecodable", "truncated"})
    return [
        Film(b"no video at all\n" * 100, 0, frozenset({"not_a_video"})),
        Film(bytes(100_000), 0, frozenset({"not_a_video"})),
        Film(whole[: len(whole) // 2], 0, frozenset({"truncated"})),
        Film(bytes(flipped), 0, damaged),
    ]
