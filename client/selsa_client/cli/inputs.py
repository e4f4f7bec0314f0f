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

InputKind = Literal["file", "stdin", "web", "rtsp", "camera", "pictures"]

# Pictures that are taken as a video of one frame, or from a folder as a sequence.
PICTURE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})

_SCHEMES: Final[dict[str, InputKind]] = {"http": "web", "https": "web", "rtsp": "rtsp", "rtsps": "rtsp"}
_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CAMERA: Final = "camera:"
# FFmpeg's name for numbered pictures: frames/%06d.png.
_NUMBERED: Final = re.compile(r"%(?:0(\d{1,2}))?d")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInput:
    """One video.

    Attributes:
        address: the path, the address or the camera's name; `-` for stdin.
        name: name for messages, without passwords.
        stem: name of its result files without extension; unique among the inputs.
        problem: why it cannot be read, if known.
        pictures: the files of kind `pictures`, in the order of their frames.
    """

    kind: InputKind
    address: str
    name: str
    stem: str
    problem: str | None = None
    pictures: tuple[Path, ...] = ()

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

    A missing file is in the list too: it fails later, when its turn comes, and does not stop the others.

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
    if not os.path.exists(path) and _NUMBERED.search(path.name):  # noqa: PTH110 - as in _is_folder
        return [_numbered(path)]
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
        files = sorted(each for each in folder.iterdir() if each.is_file() and not each.name.startswith("."))
        inside = [each for each in files if each.suffix.lower() in VIDEO_SUFFIXES]
        pictures = [each for each in files if each.suffix.lower() in PICTURE_SUFFIXES]
    except OSError as error:
        problem = f"Cannot read the folder {folder}: {error.strerror or error}"
    else:
        if inside:
            return [_file(each) for each in inside]
        if pictures:
            return [_pictures(folder, pictures, folder.name)]
        problem = f"There is no video in the folder {folder}; name its files if they have unusual extensions"
    return [replace(_file(folder), problem=problem)]


def _numbered(pattern: Path) -> VideoInput:
    """The pictures of a pattern such as `frames/%06d.png`, by number."""
    before, after = _NUMBERED.split(pattern.name, maxsplit=1)[::2]
    width = _NUMBERED.search(pattern.name)
    digits = r"\d+" if width is None or width[1] is None else rf"\d{{{int(width[1])},}}"
    name = re.compile(re.escape(before) + f"({digits})" + re.escape(after))
    try:
        found = [
            (int(match[1]), each) for each in pattern.parent.iterdir() if (match := name.fullmatch(each.name))
        ]
    except OSError as error:
        return replace(_file(pattern), problem=f"Cannot read {pattern.parent}: {error.strerror or error}")
    if not found:
        return replace(_file(pattern), problem=f"No file is named like {pattern}")
    return _pictures(pattern, [each for _, each in sorted(found)], pattern.parent.name)


def _pictures(path: Path, pictures: Sequence[Path], stem: str) -> VideoInput:
    return replace(_file(path), kind="pictures", stem=stem or "pictures", pictures=tuple(pictures))


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
    picture = path.suffix.lower() in PICTURE_SUFFIXES
    kind: InputKind = "pictures" if picture else "file"
    stem = path.stem or path.name or "video"
    pictures = (path,) if picture else ()
    return VideoInput(kind=kind, address=str(path), name=str(path), stem=stem, pictures=pictures)


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
