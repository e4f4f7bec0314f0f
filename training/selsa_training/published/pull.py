"""The four published checkpoints: their addresses, and verified local copies."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from selsa_bundle.classes import IMAGENET_VID
from selsa_bundle.files.lock import exclusive
from selsa_bundle.files.stored_file import sha256_of
from selsa_training.checkpoint.errors import CheckpointFileError, ChecksumMismatchError, DownloadError
from selsa_training.published.download import DownloadPolicy, ProgressCallback, download

BASE: Final = "https://download.openmmlab.com"


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A published file.

    Attributes:
        path: its path on the server. The name ends in `-` and the first 8 hex digits of the file's sha256.
    """

    path: str

    @property
    def name(self) -> str:
        """File name."""
        return self.path.rpartition("/")[2]

    @property
    def digest(self) -> str:
        """First 8 hex digits of the file's sha256."""
        return self.name.removesuffix(".pth").rpartition("-")[2]


def _vid(config: str, stamp: str) -> PublishedFile:
    return PublishedFile(f"/mmtracking/vid/selsa/{config}/{config}_{stamp}.pth")


PUBLISHED: Final[dict[str, PublishedFile]] = {
    "r50-dc5": _vid("selsa_faster_rcnn_r50_dc5_1x_imagenetvid", "20201227_204835-2f5a4952"),
    "r50-dc5-fp16": PublishedFile(
        "/mmtracking/fp16/selsa_faster_rcnn_r50_dc5_fp16_1x_imagenetvid_20210728_193846-dce6eb09.pth"
    ),
    "r101-dc5": _vid("selsa_faster_rcnn_r101_dc5_1x_imagenetvid", "20201218_172724-aa961bcc"),
    "x101-dc5": _vid("selsa_faster_rcnn_x101_dc5_1x_imagenetvid", "20210825_205641-10252965"),
}


def published_models() -> Iterator[dict[str, Any]]:
    """The models that `selsa pull` knows; the entry point `published` of the group `selsa.models`."""
    backbones = {"r50": "ResNet-50", "r101": "ResNet-101", "x101": "ResNeXt-101"}
    for name in PUBLISHED:
        half = ", trained in fp16" if name.endswith("fp16") else ""
        yield {
            "name": name,
            "title": f"SELSA with {backbones[name.partition('-')[0]]}{half}",
            "description": "Animals and vehicles of ImageNet VID in real video; published by mmtracking.",
            "warning": None,
            "classes": len(IMAGENET_VID),
            "command": f"selsa pull {name} -o {name} && selsa export {name} -o {name}.bundle",
        }


def default_cache(environment: "dict[str, str] | os._Environ[str]") -> Path:
    """The cache folder: `SELSA_CACHE`, else `selsa` in `XDG_CACHE_HOME`, else `~/.cache/selsa`."""
    if chosen := environment.get("SELSA_CACHE"):
        return Path(chosen).expanduser()
    base = environment.get("XDG_CACHE_HOME")
    # The XDG base directory specification says to ignore a relative path.
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "selsa"


def pull(
    name: str,
    cache: Path,
    *,
    base: str = BASE,
    progress: ProgressCallback = lambda _done, _total: None,
    say: Callable[[str], None] = lambda _text: None,
) -> Path:
    """The local copy of a published checkpoint, downloaded if it is missing.

    Args:
        name: one of `PUBLISHED`.
        cache: folder of the local copies.
        base: address of the server, without the files' paths.
        progress: called with the received bytes and the total bytes.
        say: called with sentences for the user.

    Raises:
        DownloadError: the name is unknown or the file cannot be downloaded.
        ChecksumMismatchError: the downloaded file is not the published one; it was deleted.
        CheckpointFileError: the cache cannot be used.
    """
    if name not in PUBLISHED:
        raise DownloadError(f"no published checkpoint is called {name!r}; known are {', '.join(PUBLISHED)}")
    return fetch(PUBLISHED[name], cache, base=base, policy=_policy(base), progress=progress, say=say)


def fetch(
    file: PublishedFile,
    cache: Path,
    *,
    base: str,
    policy: DownloadPolicy,
    progress: ProgressCallback,
    say: Callable[[str], None],
) -> Path:
    """As `pull`, for any published file."""
    target = cache / file.name
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = cache / f".{file.name}.lock"
        with exclusive(lock, lambda: say(f"waiting for another process that downloads {file.name}")):
            if target.exists() and sha256_of(target).startswith(file.digest):
                return target
            if target.exists():
                say(f"{target} is damaged; downloading it again")
            _bring(file, target, base, policy, progress)
    except OSError as error:
        raise CheckpointFileError(f"cannot use the cache {cache}: {error.strerror or error}") from error
    return target


def _bring(
    file: PublishedFile, target: Path, base: str, policy: DownloadPolicy, progress: ProgressCallback
) -> None:
    part = target.with_name(target.name + ".part")
    version = part.with_name(part.name + ".version")
    url = base.rstrip("/") + file.path
    download(url, part, policy, progress)
    found = sha256_of(part)
    version.unlink(missing_ok=True)
    if not found.startswith(file.digest):
        part.unlink()
        raise ChecksumMismatchError(
            f"the file from {url} has sha256 {found[:8]}..., but its name says {file.digest}; "
            "it was deleted, run the command again"
        )
    part.replace(target)


def _policy(base: str) -> DownloadPolicy:
    """Allows https, and the scheme of `base` if the caller names a server with another scheme."""
    return DownloadPolicy(schemes=frozenset({"https", urlsplit(base).scheme}))
