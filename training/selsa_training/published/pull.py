"""The four published checkpoints: their addresses, and verified local copies."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from selsa_bundle.classes import IMAGENET_VID
from selsa_bundle.errors import DownloadError as FileDownloadError
from selsa_bundle.files.lock import exclusive
from selsa_bundle.files.stored_file import sha256_of
from selsa_bundle.remote.download import DownloadPolicy, ProgressCallback, download
from selsa_training.checkpoint.errors import CheckpointFileError, ChecksumMismatchError, DownloadError

# Tried in this order until one gives the file; each file's checksum is in its name.
MIRRORS: Final = ("https://download.openmmlab.com",)


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


def pull(
    name: str,
    cache: Path,
    *,
    mirrors: Sequence[str] = MIRRORS,
    progress: ProgressCallback = lambda _done, _total: None,
    say: Callable[[str], None] = lambda _text: None,
) -> Path:
    """The local copy of a published checkpoint, downloaded if it is missing.

    Args:
        name: one of `PUBLISHED`.
        cache: folder of the local copies.
        mirrors: addresses of servers, without the files' paths; tried in order.
        progress: called with the received bytes and the total bytes.
        say: called with sentences for the user.

    Raises:
        DownloadError: the name is unknown or the file cannot be downloaded.
        ChecksumMismatchError: the downloaded file is not the published one; it was deleted.
        CheckpointFileError: the cache cannot be used.
    """
    if name not in PUBLISHED:
        raise DownloadError(f"no published checkpoint is called {name!r}; known are {', '.join(PUBLISHED)}")
    policy = DownloadPolicy(schemes=frozenset({"https", *(urlsplit(base).scheme for base in mirrors)}))
    return fetch(PUBLISHED[name], cache, mirrors=mirrors, policy=policy, progress=progress, say=say)


def fetch(
    file: PublishedFile,
    cache: Path,
    *,
    mirrors: Sequence[str],
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
            _bring(file, target, mirrors, policy, progress, say)
    except OSError as error:
        raise CheckpointFileError(f"cannot use the cache {cache}: {error.strerror or error}") from error
    return target


def _bring(
    file: PublishedFile,
    target: Path,
    mirrors: Sequence[str],
    policy: DownloadPolicy,
    progress: ProgressCallback,
    say: Callable[[str], None],
) -> None:
    """Download from the first server that gives the right file; the last error if none does."""
    part = target.with_name(target.name + ".part")
    version = part.with_name(part.name + ".version")
    for number, base in enumerate(mirrors, 1):
        try:
            _bring_from(base.rstrip("/") + file.path, part, file.digest, policy, progress)
        except (DownloadError, ChecksumMismatchError) as error:
            if number == len(mirrors):
                raise
            say(f"{error}; trying {mirrors[number]}")
            # All have the same file, so another server may continue it; the checksum decides in the end.
            version.unlink(missing_ok=True)
        else:
            break
    version.unlink(missing_ok=True)
    part.replace(target)


def _bring_from(
    url: str, part: Path, digest: str, policy: DownloadPolicy, progress: ProgressCallback
) -> None:
    try:
        download(url, part, policy, progress)
    except FileDownloadError as error:
        raise DownloadError(str(error)) from error
    found = sha256_of(part)
    if not found.startswith(digest):
        part.unlink()
        part.with_name(part.name + ".version").unlink(missing_ok=True)
        raise ChecksumMismatchError(
            f"the file from {url} has sha256 {found[:8]}..., but its name says {digest}; "
            "it was deleted, run the command again"
        )
