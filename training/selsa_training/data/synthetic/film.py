"""A held-out synthetic clip as a video file: H.264 in MP4, and what is to be seen in it as JSON.

The clip is a function of settings, sprites and number; the encoder's bytes are not, not even from run to run.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from selsa_training.data.errors import DataError
from selsa_training.data.records import IGNORED, OCCLUDED
from selsa_training.data.synthetic.clip import ClipFrame, ClipObject, render_clip
from selsa_training.data.synthetic.settings import SyntheticSettings
from selsa_training.data.synthetic.sprites import SpriteSet

SPLIT: Final = "val"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmOptions:
    """How a clip becomes a file.

    Attributes:
        rate: frames per second, 1 to 240.
        crf: x264's constant rate factor, 0 (lossless) to 51; larger is smaller and worse.
        truth: where to write what is to be seen; None: nowhere.
        overwrite: whether older files may be replaced.
    """

    rate: int = 25
    crf: int = 23
    truth: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name, value, low, high in (("rate", self.rate, 1, 240), ("crf", self.crf, 0, 51)):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, allowed are {low} to {high}")


@dataclass(frozen=True, slots=True)
class WrittenFilm:
    """What a film shows: `frames` and how many of them are degraded, `classes`, and the file's `size`."""

    frames: int
    degraded: int
    classes: tuple[str, ...]
    size: int


def write_film(
    path: Path,
    settings: SyntheticSettings,
    sprites: SpriteSet,
    number: int,
    options: FilmOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> WrittenFilm:
    """Render clip `number` of the held-out split as an MP4 file with its index in front.

    Both files appear complete or not at all.

    Args:
        path: the file to make; its name ends in `.mp4`.
        settings: `length` frames of `width` x `height` pixels, which are even.
        sprites: of every class.
        number: of the clip, 0 or more.
        options: of the file.
        progress: told the frames that are done, and all.

    Raises:
        DataError: a value is not allowed, a file is there already, or one cannot be written.
    """
    options = options or FilmOptions()
    _check(path, settings, number, options)
    names, seen = tuple(sprites.by_class), _Seen()
    try:
        with _appearing(path) as video, _appearing(options.truth) as truth:
            _encode(video or path, settings, options, _noted(settings, sprites, number, seen, progress))
            if truth is not None:
                truth.write_text(_truth(settings, sprites, number, options, seen), encoding="utf-8")
    except (OSError, av.FFmpegError) as error:
        raise DataError(f"{path} cannot be written: {error}") from error
    labels = sorted({item.label for _, objects in seen.frames for item in objects})
    degraded = sum(hard for hard, _ in seen.frames)
    return WrittenFilm(
        len(seen.frames), degraded, tuple(names[label] for label in labels), path.stat().st_size
    )


class _Seen:
    """What the frames showed as they were rendered: degraded or not, and the objects."""

    def __init__(self) -> None:
        self.frames: list[tuple[bool, tuple[ClipObject, ...]]] = []


def _check(path: Path, settings: SyntheticSettings, number: int, options: FilmOptions) -> None:
    if path.suffix.lower() != ".mp4":
        raise DataError(f"{path} is not allowed as a film: its name must end in .mp4")
    if settings.width % 2 or settings.height % 2:
        raise DataError(f"the size is {settings.width}x{settings.height}; both must be even for H.264")
    if number < 0:
        raise DataError(f"number is {number}, allowed are 0 and more")
    for file in (path, options.truth):
        if file is None:
            continue
        if not file.parent.is_dir():
            raise DataError(f"{file} cannot be written: its folder does not exist")
        if file.exists() and not (options.overwrite and file.is_file()):
            raise DataError(f"{file} already exists; pass --overwrite to replace a file")


def _noted(
    settings: SyntheticSettings,
    sprites: SpriteSet,
    number: int,
    seen: _Seen,
    progress: Callable[[int, int], None] | None,
) -> Iterator[ClipFrame]:
    for frame in render_clip(settings, sprites, SPLIT, number):
        seen.frames.append((frame.degraded, frame.objects))
        yield frame
        if progress:
            progress(len(seen.frames), settings.length)


def _encode(
    path: Path, settings: SyntheticSettings, options: FilmOptions, frames: Iterator[ClipFrame]
) -> None:
    # bitexact: no version of the writer in the file.
    front = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=front) as container:
        quality = {"preset": "slow", "crf": str(options.crf)}
        stream = container.add_stream("libx264", rate=options.rate, options=quality)
        stream.width, stream.height, stream.pix_fmt = settings.width, settings.height, "yuv420p"
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, options.rate)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _truth(
    settings: SyntheticSettings, sprites: SpriteSet, number: int, options: FilmOptions, seen: _Seen
) -> str:
    """A frame per line, so that a difference between two films is to be read."""
    names = tuple(sprites.by_class)
    head = {
        "made_by": "selsa synthesize-film",
        "seed": settings.seed,
        "number": number,
        "width": settings.width,
        "height": settings.height,
        "rate": options.rate,
        "sprites": {"origin": sprites.origin, "sha256": sprites.sha256},
        "classes": names,
    }
    rows = (
        {
            "index": index,
            "time": round(index / options.rate, 6),
            "degraded": degraded,
            "objects": [_object(item, names) for item in objects],
        }
        for index, (degraded, objects) in enumerate(seen.frames)
    )
    lines = ",\n".join(json.dumps(row) for row in rows)
    return f'{json.dumps(head)[:-1]}, "frames": [\n{lines}\n]}}\n'


def _object(item: ClipObject, names: tuple[str, ...]) -> dict[str, Any]:
    """As the wire format writes detections: corners in pixels, and the track that they belong to."""
    corners = dict(zip(("x1", "y1", "x2", "y2"), item.box, strict=True))
    return {
        "box": corners,
        "class_id": item.label,
        "class_name": names[item.label],
        "track": item.track,
        "occluded": bool(item.flags & OCCLUDED),
        "ignore": bool(item.flags & IGNORED),
    }


@contextmanager
def _appearing(path: Path | None) -> Iterator[Path | None]:
    """A sibling of `path` that takes its place when the block ends well, and is gone when it does not."""
    if path is None:
        yield None
        return
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
