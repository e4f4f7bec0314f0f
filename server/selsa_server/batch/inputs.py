"""The inputs of `selsa batch` as a list of videos: files, folders, patterns, lists and fsspec addresses."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final

from selsa_server.schema.media import VIDEO_SUFFIXES

LIST_MARK: Final = "@"


class InputsError(Exception):
    """There is nothing to read under an input; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchVideo:
    """One video.

    Attributes:
        address: path or fsspec address.
        name: path of its result below the folder of results, without the format's extension.
    """

    address: str
    name: str


def find_videos(inputs: Sequence[str]) -> list[BatchVideo]:
    """The videos, each once, in the order of the inputs and by name within one.

    A folder stands for all videos below it, `@FILE` for a list with one input per line. A result is named by
    the video's path below the given folder. Results of the same name get a part of their address's hash.

    Raises:
        InputsError: an input cannot be listed, or has no video.
    """
    found = {video.address: video for text in inputs for video in _videos(text, allow_list=True)}
    count = Counter(video.name.casefold() for video in found.values())
    return [video if count[video.name.casefold()] == 1 else _with_hash(video) for video in found.values()]


def _with_hash(video: BatchVideo) -> BatchVideo:
    mark = hashlib.sha256(video.address.encode()).hexdigest()[:8]
    return replace(video, name=f"{video.name}-{mark}")


def _videos(text: str, *, allow_list: bool) -> Iterator[BatchVideo]:
    if text.startswith(LIST_MARK) and allow_list:
        lines = _read_list(text.removeprefix(LIST_MARK))
        for line in lines:
            yield from _videos(line, allow_list=False)
        return
    import fsspec.core

    try:
        files, root = fsspec.core.url_to_fs(text)
        paths = _paths(files, root)
    except InputsError:
        raise
    except Exception as error:  # exception types depend on the driver
        raise InputsError(f"{text} cannot be read: {_line(error)}") from error
    if not paths:
        raise InputsError(f"there is no video at {text}")
    for path, name in paths:
        yield BatchVideo(address=files.unstrip_protocol(path).removeprefix("file://"), name=name)


def _paths(files: Any, root: str) -> list[tuple[str, str]]:
    """Paths of videos with the names of their results."""
    if any(mark in root for mark in "*?["):
        matches = sorted(path for path in files.glob(root) if not files.isdir(path))
        found = [(path, PurePosixPath(path).name) for path in matches]
        return [(path, name) for path, name in found if not name.startswith(".")]
    if files.isdir(root):
        base = PurePosixPath(root)
        below = sorted(path for path in files.find(root) if _is_video(PurePosixPath(path), base))
        return [(path, PurePosixPath(path).relative_to(base).as_posix()) for path in below]
    # A missing file is in the list too: it fails by itself, and the others are processed.
    return [(root, PurePosixPath(root).name)]


def _is_video(path: PurePosixPath, base: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(base).parts)
    return path.suffix.lower() in VIDEO_SUFFIXES and not hidden


def _read_list(address: str) -> list[str]:
    import fsspec

    try:
        with fsspec.open(address, "r", encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except Exception as error:  # exception types depend on the driver
        raise InputsError(f"the list {address} cannot be read: {_line(error)}") from error
    return [line for line in lines if line and not line.startswith("#")]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
