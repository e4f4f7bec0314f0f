"""The inputs of `selsa detect` as a list of videos: files, folders, patterns, stdin, addresses, cameras."""

import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from selsa_client.wire.address import without_secrets
from selsa_server.schema.media import VIDEO_SUFFIXES

InputKind = Literal["file", "stdin", "web", "rtsp", "camera"]

_SCHEMES: Final[dict[str, InputKind]] = {"http": "web", "https": "web", "rtsp": "rtsp", "rtsps": "rtsp"}
_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CAMERA: Final = "camera:"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInput:
    """One video.

    Attributes:
        kind: kind of source.
        address: the path, the address or the camera's name; `-` for stdin.
        name: name for messages, without passwords.
        stem: name of its result files without extension; unique among the inputs.
        problem: why it cannot be read, if known.
    """

    kind: InputKind
    address: str
    name: str
    stem: str
    problem: str | None = None

    @property
    def endless(self) -> bool:
        """Whether it has no end, so that it must be streamed live."""
        return self.kind in ("rtsp", "camera")

    @property
    def may_go_on(self) -> bool:
        """Whether, streamed live, it may continue until the user ends it."""
        return self.endless or self.kind == "stdin"


def find_inputs(arguments: Sequence[str]) -> list[VideoInput]:
    """The videos that the arguments name, in order; those of a folder or pattern sorted by name.

    A missing file is in the list, too: it fails in its turn and does not stop the others.

    Raises:
        ValueError: an argument is no valid input, or stdin is named twice.
    """
    if sum(argument == "-" for argument in arguments) > 1:
        raise ValueError("'-' is given more than once; stdin can be read only once")
    found = [each for argument in arguments for each in _videos(argument)]
    return _with_unique_stems(found)


def _videos(argument: str) -> Iterable[VideoInput]:
    if argument == "-":
        return [VideoInput(kind="stdin", address="-", name="stdin", stem="stdin")]
    path = Path(argument)
    if _is_folder(path):
        return _of_folder(path)
    if argument.startswith(_CAMERA) or _is_camera(path):
        device = argument.removeprefix(_CAMERA)
        if not device:
            raise ValueError(f"{argument!r} names no camera; expected one like camera:0 or /dev/video0")
        stem = f"camera-{PurePosixPath(device).name}"
        return [VideoInput(kind="camera", address=device, name=argument, stem=stem)]
    scheme = _ADDRESS.match(argument)
    if scheme is not None:
        return [_of_address(argument, scheme[1].lower())]
    if not os.path.exists(path) and glob.has_magic(argument):  # noqa: PTH110 - as in _is_folder
        # Not `Path.glob`: a pattern may be absolute or start with a drive.
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207
        if matches:
            return [_file(Path(match)) for match in matches if not _is_folder(Path(match))]
    return [_file(path)]


def _is_folder(path: Path) -> bool:
    # Unlike `Path.is_dir`, this never raises; a name that is too long fails later, when the file is read.
    return os.path.isdir(path)  # noqa: PTH112


def _of_folder(folder: Path) -> list[VideoInput]:
    try:
        inside = sorted(each for each in folder.iterdir() if _is_video(each))
    except OSError as error:
        problem = f"Cannot read the folder {folder}: {error.strerror or error}"
    else:
        if inside:
            return [_file(each) for each in inside]
        problem = f"There is no video in the folder {folder}; name its files if they have unusual extensions"
    return [replace(_file(folder), problem=problem)]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _is_camera(path: Path) -> bool:
    try:
        return path.name.startswith("video") and stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False


def _of_address(address: str, scheme: str) -> VideoInput:
    kind = _SCHEMES.get(scheme)
    parts = urlsplit(address)
    if kind is None or not parts.hostname:
        allowed = ", ".join(f"{each}://" for each in _SCHEMES)
        raise ValueError(f"{without_secrets(address)!r} is not supported; addresses start with {allowed}")
    last = PurePosixPath(unquote(parts.path)).stem
    stem = re.sub(r"[^\w.-]+", "_", last) or parts.hostname
    return VideoInput(kind=kind, address=address, name=without_secrets(address), stem=stem)


def _file(path: Path) -> VideoInput:
    return VideoInput(kind="file", address=str(path), name=str(path), stem=path.stem or path.name or "video")


def _with_unique_stems(found: list[VideoInput]) -> list[VideoInput]:
    """`clip`, `clip-2`, `clip-3`: result files never share a name, even if the file system ignores case."""
    seen: Counter[str] = Counter()
    taken = {each.stem.casefold() for each in found}
    result = []
    for each in found:
        seen[each.stem.casefold()] += 1
        number, stem = seen[each.stem.casefold()], each.stem
        if number > 1:
            stem = f"{each.stem}-{number}"
            while stem.casefold() in taken:
                number += 1
                stem = f"{each.stem}-{number}"
            taken.add(stem.casefold())
        result.append(replace(each, stem=stem))
    return result
