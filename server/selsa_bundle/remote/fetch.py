"""Bundles by their address: downloaded once, checked, unpacked, and taken from the cache from then on."""

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from selsa_bundle.errors import BundleError, DownloadError
from selsa_bundle.files.lock import exclusive
from selsa_bundle.files.new_folder import TargetTakenError, check_target, new_folder
from selsa_bundle.files.stored_file import StoredFile, sha256_of
from selsa_bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest
from selsa_bundle.remote.addresses import shown
from selsa_bundle.remote.download import DownloadPolicy, ProgressCallback, download
from selsa_bundle.remote.packed import MAX_BUNDLE_BYTES, SUFFIX, stored_files, unpack

FORMS: Final = "https://HOST/PATH#sha256=HEX, hf://OWNER/NAME[@REVISION] or s3://BUCKET/PATH[#sha256=HEX]"
_MISSING: Final = "needs the remote extra: pip install 'selsa[remote]'"
# What is pinned by its checksum may come over http; redirects may lead to other hosts.
_PINNED: Final = DownloadPolicy(schemes=frozenset({"https", "http"}))
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """How to fetch bundles.

    Attributes:
        cache: folder of the local copies.
        say: called with sentences for the user.
        progress: called with the received bytes and the total bytes of each file.
        policy: time limits and retries.
    """

    cache: Path
    say: Callable[[str], None] = lambda _text: None
    progress: ProgressCallback = lambda _done, _total: None
    policy: DownloadPolicy = _PINNED


def fetch_bundle(address: str, fetching: Fetching) -> Path:
    """The folder of the bundle at an address, downloaded if the cache does not have it.

    Raises:
        DownloadError: the address has another form, or the bundle cannot be downloaded.
        BundleError: what is there is no bundle, or not the one that the address names.
    """
    try:
        fetching.cache.mkdir(parents=True, exist_ok=True)
        scheme, _, rest = address.partition("://")
        if scheme in ("https", "http"):
            return _fetch_packed(address, fetching)
        if scheme == "hf":
            return _fetch_repository(rest, fetching)
        if scheme == "s3":
            return _fetch_object(address, fetching)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DownloadError(f"cannot fetch {shown(address)} into {fetching.cache}: {reason}") from error
    raise DownloadError(f"{shown(address)} is no address of a bundle; allowed is {FORMS}")


def copy_bundle(folder: Path, target: Path, *, overwrite: bool) -> None:
    """Copy a bundle to a new folder.

    Raises:
        TargetTakenError: something is at `target` that may not be replaced.
        BundleError: a file of the bundle is missing or differs from its manifest.
        OSError: the folder cannot be written.
    """
    check_target(target, marker=MANIFEST_NAME, overwrite=overwrite)
    manifest = Manifest.read(folder)
    with new_folder(target, marker=MANIFEST_NAME, overwrite=overwrite) as part:
        for name in (MANIFEST_NAME, *(each.file for each in stored_files(manifest))):
            shutil.copyfile(folder / name, part / name)
        manifest.verify_files(part)


def _fetch_packed(address: str, fetching: Fetching) -> Path:
    url, digest = _pinned(address)
    if digest is None:
        raise DownloadError(
            f"{shown(address)} has no checksum; add #sha256=HEX, which `selsa pack` and `sha256sum` print"
        )

    def bring(part: Path) -> None:
        progress = _bounded(MAX_BUNDLE_BYTES, fetching.progress)
        download(url, part, fetching.policy, progress)

    return _unpacked(f"sha256-{digest}", digest, bring, shown(address), fetching)


def _fetch_object(address: str, fetching: Fetching) -> Path:
    """A packed bundle in an object store; without a checksum, known by the store's mark of its version."""
    url, digest = _pinned(address)
    try:
        import fsspec

        files = fsspec.filesystem("s3")
        about = files.info(url)
    except ImportError as error:
        raise DownloadError(f"{shown(address)} {_MISSING} ({error.name or error} is missing)") from error
    except Exception as error:  # exception types depend on the driver
        raise DownloadError(f"cannot read {shown(address)}: {_line(error)}") from error
    version = f"{url} {about.get('ETag')} {about.get('size')}"
    key = f"sha256-{digest}" if digest else f"s3-{hashlib.sha256(version.encode()).hexdigest()}"

    def bring(part: Path) -> None:
        try:
            _copy_object(files, url, version, int(about["size"]), part, fetching.progress)
        except OSError:
            raise
        except Exception as error:  # exception types depend on the driver
            raise DownloadError(f"cannot read {shown(address)}: {_line(error)}") from error

    return _unpacked(key, digest, bring, shown(address), fetching)


def _copy_object(
    files: Any, url: str, version: str, size: int, part: Path, progress: ProgressCallback
) -> None:
    """Copy an object to `part`, from where an earlier try ended if the object is the same."""
    note = part.with_name(part.name + ".version")
    if not note.exists() or note.read_text() != version:
        part.unlink(missing_ok=True)
        note.write_text(version)
    with part.open("ab") as target, files.open(url, "rb", block_size=8 * _BLOCK) as source:
        source.seek(target.tell())
        while piece := source.read(_BLOCK):
            target.write(piece)
            progress(target.tell(), size)


def _fetch_repository(name: str, fetching: Fetching) -> Path:
    """The bundle in a repository of the Hugging Face Hub, by the commit of its revision.

    The repository holds the files of a bundle, or one packed bundle.
    """
    found = re.fullmatch(r"([A-Za-z0-9._-]{1,96}/[A-Za-z0-9._-]{1,96})(?:@([A-Za-z0-9._/-]{1,200}))?", name)
    if found is None:
        raise DownloadError(f"hf://{name[:200]} is no address of a bundle; allowed is {FORMS}")
    repository, revision = found[1], found[2]
    try:
        from huggingface_hub import HfApi, get_token, hf_hub_url

        about = HfApi().model_info(repository, revision=revision, files_metadata=True)
        commit, files = str(about.sha), {each.rfilename: each.lfs for each in about.siblings or ()}
        base = hf_hub_url(repository, MANIFEST_NAME, revision=commit).removesuffix(MANIFEST_NAME)
        token = get_token()
    except ImportError as error:
        raise DownloadError(f"hf://{name} {_MISSING} ({error.name or error} is missing)") from error
    except Exception as error:  # its exceptions have several bases
        raise DownloadError(f"cannot read hf://{name}: {_line(error)}") from error
    packed = [file for file in files if file.endswith(SUFFIX)]
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit) or (MANIFEST_NAME not in files and len(packed) != 1):
        raise DownloadError(f"hf://{name} has neither a {MANIFEST_NAME} nor exactly one file *{SUFFIX}")
    key = f"hf-{repository.replace('/', '--')}-{commit}"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    policy = _of_scheme(fetching.policy, base)

    def bring(part: Path) -> None:
        progress = _bounded(MAX_BUNDLE_BYTES, fetching.progress)
        download(base + quote(packed[0]), part, policy, progress, headers)

    def fill(parts: Path) -> None:
        _bring_files(base, headers, parts, target, replace(fetching, policy=policy))

    if MANIFEST_NAME not in files:
        stored = files[packed[0]]
        return _unpacked(key, None if stored is None else stored.sha256, bring, f"hf://{name}", fetching)
    target = fetching.cache / "bundles" / key
    return _kept(target, fill, f"hf://{name}", fetching)


def _bring_files(
    base: str, headers: Mapping[str, str], parts: Path, target: Path, fetching: Fetching
) -> None:
    """Download manifest and files to `parts`, check them, and move them to the new folder `target`."""
    policy = fetching.policy
    raw_manifest = parts / f"{MANIFEST_NAME}.part"
    raw_manifest.unlink(missing_ok=True)
    download(base + MANIFEST_NAME, raw_manifest, policy, _bounded(MAX_MANIFEST_BYTES), headers)
    manifest = Manifest.parse(raw_manifest.read_bytes(), Path(base) / MANIFEST_NAME)
    stored = stored_files(manifest)
    for each in stored:
        progress = _bounded(each.bytes, fetching.progress)
        if not (parts / each.file).exists():
            download(base + each.file, parts / f"{each.file}.part", policy, progress, headers)
            _take(parts / f"{each.file}.part", each)
    with new_folder(target, marker=MANIFEST_NAME, overwrite=False) as folder:
        raw_manifest.rename(folder / MANIFEST_NAME)
        for each in stored:
            (parts / each.file).rename(folder / each.file)


def _take(part: Path, stored: StoredFile) -> None:
    """Give a complete file its name if it is the right one, else delete it."""
    part.with_name(part.name + ".version").unlink(missing_ok=True)
    if part.stat().st_size != stored.bytes or sha256_of(part) != stored.sha256:
        part.unlink()
        raise DownloadError(f"{stored.file} is not the file that the manifest describes; it was deleted")
    part.rename(part.with_name(stored.file))


def _unpacked(
    key: str, digest: str | None, bring: Callable[[Path], None], named: str, fetching: Fetching
) -> Path:
    target = fetching.cache / "bundles" / key

    def fill(parts: Path) -> None:
        part = parts / "packed.part"
        bring(part)
        try:
            found = sha256_of(part)
            if digest is not None and found != digest:
                raise DownloadError(f"{named} has sha256 {found}, its address says {digest}; it was deleted")
            unpack(part, target)
        except BundleError:
            shutil.rmtree(parts)
            raise

    return _kept(target, fill, named, fetching)


def _kept(target: Path, fill: Callable[[Path], None], named: str, fetching: Fetching) -> Path:
    """The folder `target`, which `fill` makes if it is not there; one process at a time does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.parent / f".{target.name}.lock"
    with exclusive(lock, lambda: fetching.say(f"waiting for another process that fetches {named}")):
        if target.is_dir():
            if _is_whole(target):
                return target
            fetching.say(f"{target} is damaged; fetching it again")
            shutil.rmtree(target)
        fetching.say(f"fetching {named}")
        parts = target.parent / f".{target.name}.parts"
        parts.mkdir(exist_ok=True)
        try:
            fill(parts)
        except TargetTakenError as error:
            raise DownloadError(str(error)) from error
        shutil.rmtree(parts)
    return target


def _is_whole(folder: Path) -> bool:
    try:
        Manifest.read(folder).verify_files(folder)
    except BundleError:
        return False
    return True


def _pinned(address: str) -> tuple[str, str | None]:
    url, mark, fragment = address.partition("#")
    found = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if mark and found is None:
        raise DownloadError(f"{shown(address)}: allowed after # is sha256= and 64 hexadecimal digits")
    return url, None if found is None else found[1].lower()


def _bounded(most: int, progress: ProgressCallback = lambda _done, _total: None) -> ProgressCallback:
    """Ends a download that brings more than `most` bytes."""

    def check(done: int, total: int | None) -> None:
        if done > most:
            raise DownloadError(f"the file is larger than {most} bytes, which the manifest allows")
        progress(done, total)

    return check


def _of_scheme(policy: DownloadPolicy, base: str) -> DownloadPolicy:
    """https only, for a token may go along, unless the hub itself is set to an http address."""
    return policy if base.startswith("http://") else replace(policy, schemes=frozenset({"https"}))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
