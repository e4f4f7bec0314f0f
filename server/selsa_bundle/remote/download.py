"""Download one large file over an unreliable connection: resume, retry, and never mix two versions."""

import contextlib
import errno
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import httpx

from selsa_bundle.errors import DownloadError

# Called with the received bytes and the total bytes; the total is None if the server does not send it.
ProgressCallback = Callable[[int, int | None], None]

PASSING_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadPolicy:
    """Time limits and retries of a download.

    Attributes:
        attempts: number of consecutive tries without a new byte after which the download fails.
        first_pause: seconds before the second try; doubled each time, at most `longest_pause`.
        longest_pause: seconds.
        timeout: seconds without a connection or without a byte after which a try fails.
        schemes: allowed URL schemes, also for redirects.
    """

    attempts: int = 5
    first_pause: float = 1.0
    longest_pause: float = 30.0
    timeout: float = 30.0
    schemes: frozenset[str] = frozenset({"https"})


class _TryFailedError(Exception):
    """A try failed, and another try may succeed; the message is the reason."""


def download(
    url: str,
    part: Path,
    policy: DownloadPolicy,
    progress: ProgressCallback,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Download `url` into the file `part`, continuing after the bytes that `part` already has.

    `headers` go along, but an Authorization header is left out of redirects to other hosts. The file's
    version on the server is kept in `part` + `.version`. If the file changed on the server, the download
    starts again.

    Raises:
        DownloadError: the server refuses, the connection keeps failing, an address is not allowed, or the
            disk is full or not writable. Received bytes stay for the next attempt.
    """
    pause, failures, before = policy.first_pause, 0, _size(part)
    with _client(policy, headers) as client:
        while True:
            try:
                _attempt(client, url, part, progress)
            except (httpx.TransportError, _TryFailedError) as error:
                reason = str(error) or type(error).__name__
            except httpx.HTTPError as error:
                raise DownloadError(f"cannot download {url}: {error}") from error
            except OSError as error:
                raise DownloadError(_disk_message(part, error)) from error
            else:
                return
            size = _size(part)
            failures, pause = (failures + 1, pause) if size <= before else (1, policy.first_pause)
            before = size
            if failures >= policy.attempts:
                raise DownloadError(
                    f"cannot download {url}: {reason} (tried {failures} times); "
                    f"run the command again to continue from byte {size}"
                )
            time.sleep(pause)
            pause = min(2 * pause, policy.longest_pause)


def _client(policy: DownloadPolicy, headers: Mapping[str, str]) -> httpx.Client:
    def check(request: httpx.Request) -> None:
        # httpx calls this for every request, redirects included, before it is sent.
        if request.url.scheme not in policy.schemes:
            allowed = " or ".join(sorted(policy.schemes))
            raise DownloadError(f"refused to download from {request.url}: only {allowed} is allowed")

    return httpx.Client(
        headers=dict(headers),
        timeout=policy.timeout,
        follow_redirects=True,
        event_hooks={"request": [check]},
    )


def _attempt(client: httpx.Client, url: str, part: Path, progress: ProgressCallback) -> None:
    """One request, from where `part` ends to the end of the file."""
    version = part.with_name(part.name + ".version")
    offset = _size(part)
    # With a compressed transfer, byte positions would not be positions in the file.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        with contextlib.suppress(FileNotFoundError):
            headers["If-Range"] = version.read_text(encoding="latin-1")
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            if response.headers.get("Content-Range") == f"bytes */{offset}":
                return
            _forget(part, version)
            raise _TryFailedError("the server has a shorter file than before")
        _check_status(response)
        start, total = _span(response, offset, part, version)
        if not start:
            _remember(response, version)
        _receive(response, part, start, total, progress)


def _check_status(response: httpx.Response) -> None:
    code = response.status_code
    if code in PASSING_STATUSES:
        raise _TryFailedError(f"the server answered {code} {response.reason_phrase}")
    if code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise DownloadError(
            f"cannot download {response.request.url}: the server answered {code} {response.reason_phrase}"
        )


def _span(response: httpx.Response, offset: int, part: Path, version: Path) -> tuple[int, int | None]:
    """Where the bytes of this response begin, and the file's size if known."""
    if response.status_code == httpx.codes.OK:
        # The server ignores ranges, or its file has changed: start from the beginning.
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != offset or not offset:
        _forget(part, version)
        raise _TryFailedError("the server sent a different range than the requested one")
    return offset, None if match[2] == "*" else int(match[2])


def _receive(
    response: httpx.Response, part: Path, start: int, total: int | None, progress: ProgressCallback
) -> None:
    done = start
    with part.open("ab") as file:
        if file.tell() > start:
            file.truncate(start)
        progress(done, total)
        for chunk in _raw(response):
            file.write(chunk)
            done += len(chunk)
            progress(done, total)
    if total is not None and done < total:
        raise _TryFailedError(f"the connection ended at byte {done} of {total}")


def _raw(response: httpx.Response) -> Iterator[bytes]:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(f"{response.request.url}: the server compressed the file, which was not allowed")
    # Chunks as they arrive. With larger chunks, the last bytes before a broken connection would be lost.
    return response.iter_raw()


def _remember(response: httpx.Response, version: Path) -> None:
    """Store what identifies this version of the file. A weak ETag does not (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    strong = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    if strong:
        version.write_text(strong, encoding="latin-1")
    else:
        version.unlink(missing_ok=True)


def _forget(part: Path, version: Path) -> None:
    part.unlink(missing_ok=True)
    version.unlink(missing_ok=True)


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _disk_message(part: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left in {part.parent}; free some space, then run the command again"
    return f"cannot write {part}: {error.strerror or error}"
