"""Files that were whole once: cut off, or with bytes changed on the way."""

import random
from collections.abc import Callable
from pathlib import Path

from case import Case, Refused
from media import damage_packet, write_video

__all__ = ["DAMAGED"]

FRONT = {"movflags": "faststart"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
TRUNCATED = Refused.with_code(422, "truncated")
DAMAGE = Refused.with_code(422, "undecodable", "truncated")
# Shares of a file with its index in front: in the head, in the index, in the pictures, before the last byte.
SHARES = (0.002, 0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.999)
LENGTH = 60
# Of that file, about.
INDEX_SHARE = 0.34


def long(folder: Path, suffix: str, codec: str, container_options: dict[str, str] | None = None) -> Path:
    return write_video(
        folder / f"video.{suffix}",
        LENGTH,
        codec=codec,
        pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p",
        options={"g": "8"} if codec != "mjpeg" else None,
        container_options=container_options,
    )


def cut(
    share: float, suffix: str, codec: str = "mpeg4", container_options: dict[str, str] | None = None
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = long(folder, suffix, codec, container_options)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        return path

    return make


def damaged(suffix: str, codec: str, packet: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = long(folder, suffix, codec, FRONT if suffix == "mp4" else None)
        damage_packet(path, packet)
        return path

    return make


def flipped(suffix: str, codec: str, seed: int) -> Callable[[Path], Path]:
    """Every hundredth byte of the second half changed."""

    def make(folder: Path) -> Path:
        path = long(folder, suffix, codec, FRONT if suffix == "mp4" else None)
        data, chance = bytearray(path.read_bytes()), random.Random(seed)
        for position in range(len(data) // 2, len(data), 100):
            data[position] ^= chance.randrange(1, 256)
        path.write_bytes(data)
        return path

    return make


def lost_middle(folder: Path) -> Path:
    """Transport packets that never arrived."""
    path = long(folder, "ts", "mpeg2video")
    data = path.read_bytes()
    first, last = len(data) // 188 * 4 // 10 * 188, len(data) // 188 * 6 // 10 * 188
    path.write_bytes(data[:first] + data[last:])
    return path


def broken(
    name: str,
    make: Callable[[Path], Path],
    refused: Refused = DAMAGE,
    tolerant: tuple[int | None, int] | None = None,
) -> Case:
    return Case(name=name, make=make, refused=refused, tolerant=tolerant)


def cut_mp4(share: float) -> Case:
    lowest = int(LENGTH * (share - INDEX_SHARE) / (1 - INDEX_SHARE)) - 3
    make = cut(share, "mp4", container_options=FRONT)
    return broken(f"MP4 cut at {share:.1%}", make, TRUNCATED, (None, lowest) if share > INDEX_SHARE else None)


DAMAGED = [
    *map(cut_mp4, SHARES),
    broken("MP4 cut, index at the end", cut(0.9, "mp4"), TRUNCATED),
    broken("fragmented MP4 cut", cut(0.6, "mp4", container_options=FRAGMENTED), TRUNCATED, (None, 20)),
    broken("Matroska cut", cut(0.6, "mkv"), TRUNCATED, (None, 20)),
    broken("Matroska cut in its head", cut(0.08, "mkv"), TRUNCATED),
    broken("WebM cut", cut(0.6, "webm", "libvpx"), TRUNCATED, (None, 10)),
    broken("AVI cut", cut(0.6, "avi", "mjpeg"), TRUNCATED, (None, 20)),
    broken("AVI cut in its head", cut(0.01, "avi", "mjpeg"), TRUNCATED),
    broken("one packet damaged in MP4", damaged("mp4", "libx264", 20), tolerant=(60, 50)),
    broken("one packet damaged in Matroska", damaged("mkv", "mpeg4", 20), tolerant=(60, 50)),
    broken("one picture damaged in AVI", damaged("avi", "mjpeg", 20), tolerant=(60, 59)),
    broken("first packet damaged", damaged("mp4", "mpeg4", 0), tolerant=(60, 50)),
    broken("last packet damaged", damaged("mp4", "libx264", 59), tolerant=(60, 55)),
    broken("bytes flipped in MP4", flipped("mp4", "libx264", 1), tolerant=(60, 15)),
    broken("bytes flipped in Matroska", flipped("mkv", "mpeg4", 2), tolerant=(None, 15)),
    broken("bytes flipped in MPEG-TS", flipped("ts", "mpeg2video", 3), tolerant=(None, 15)),
    broken("bytes flipped in the index of AVI", flipped("avi", "mjpeg", 4), tolerant=(None, 1)),
    broken("packets of MPEG-TS lost", lost_middle, tolerant=(None, 30)),
]
