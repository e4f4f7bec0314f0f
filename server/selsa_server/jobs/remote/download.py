"""A video by its address, into a file: resumed after a failure or a restart, in bounded time and size."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import anyio
import anyio.to_thread
from pydantic import BaseModel, ValidationError

from selsa_server.errors import RequestError
from selsa_server.jobs.remote.addresses import RemoteAddress, RemoteError
from selsa_server.jobs.remote.connection import Answer, RemoteConnection, RemoteHosts, TransferError
from selsa_server.jobs.remote.pace import TooSlowError, paced
from selsa_server.jobs.remote.playlist import MAGIC, MAX_PLAYLIST_BYTES, Segment, best_variant, segments_of

PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
WRITE_BYTES: Final = 1 << 20
CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadLimits:
    """Bounds of one download.

    Attributes:
        max_bytes: of the video.
        window: seconds without a byte after which a try fails, also before the first one.
        rate: bytes a second, averaged over `window`.
        total: seconds for everything.
        pauses: seconds between two tries without a new byte; one try more than these.
    """

    max_bytes: int
    window: float
    rate: float
    total: float
    pauses: tuple[float, ...] = PAUSES


class _Note(BaseModel):
    """What is known of the file in progress; kept beside it.

    Attributes:
        validator: identifies the version of what is downloaded (strong ETag or Last-Modified).
        playlist: identifies the list of segments, if it is a playlist.
        segments: how many are complete.
        size: bytes of these.
    """

    validator: str | None = None
    playlist: str | None = None
    segments: int = 0
    size: int = 0


# Called with the bytes that are there now, now and then; may raise.
Arrived = Callable[[int], Awaitable[None]]


async def download_video(
    hosts: RemoteHosts, address: RemoteAddress, part: Path, limits: DownloadLimits, arrived: Arrived
) -> None:
    """Download a video into the file `part`; continues with what an earlier call left there.

    A finished HLS playlist is downloaded as the file that its segments make.

    Raises:
        RemoteError: an address is not allowed, it does not give a video, or it takes too long.
        RequestError: the video is too large.
        OSError: the file cannot be written.
    """
    try:
        with anyio.fail_after(limits.total):
            async with hosts.connect() as connection:
                await _Download(hosts, connection, part, limits, arrived).run(address)
    except TimeoutError:
        raise RemoteError(
            "download_timeout", f"{address} was not complete after {limits.total:g} s, the server's limit."
        ) from None


def drop_part(part: Path) -> None:
    """Delete all files of a download in progress."""
    for path in part.parent.glob(f"{part.name}*"):
        path.unlink(missing_ok=True)


class _Download:
    """One download of one video."""

    def __init__(
        self,
        hosts: RemoteHosts,
        connection: RemoteConnection,
        part: Path,
        limits: DownloadLimits,
        arrived: Arrived,
    ) -> None:
        self._rules = hosts.rules
        self._connection = connection
        self._limits = limits
        self._arrived = arrived
        self._part = part
        self._note_file = part.with_name(part.name + ".note")
        self._segments_file = part.with_name(part.name + ".segments")

    async def run(self, address: RemoteAddress) -> None:
        final = await self._persist(lambda: self._whole(address), self._part, address)
        with self._part.open("rb") as file:
            head = file.read(len(MAGIC))
        if head == MAGIC:
            await self._join(final)
        elif not head:
            raise RemoteError("download_failed", f"{address} is empty.")
        self._note_file.unlink(missing_ok=True)

    async def _persist(
        self, work: Callable[[], Awaitable[RemoteAddress]], file: Path, address: RemoteAddress
    ) -> RemoteAddress:
        """Do `work` until it succeeds, or until several tries in a row bring no new byte."""
        failures, before = 0, _size(file)
        while True:
            try:
                return await work()
            except (TransferError, TooSlowError) as error:
                reason = str(error)
            size = _size(file)
            failures, before = (1 if size > before else failures + 1), size
            if failures > len(self._limits.pauses):
                raise RemoteError(
                    "download_failed", f"{address} could not be downloaded: {reason} ({failures} tries)."
                )
            await anyio.sleep(self._limits.pauses[failures - 1])

    async def _whole(self, address: RemoteAddress) -> RemoteAddress:
        """One try at all that is missing; returns the address after redirects."""
        note, offset = self._read_note(), _size(self._part)
        headers = {}
        if offset and note.validator is not None:
            headers = {"Range": f"bytes={offset}-", "If-Range": note.validator}
        async with self._connection.get(address, self._limits.window, headers) as answer:
            if answer.status == 416 and headers:
                if answer.headers.get("content-range") == f"bytes */{offset}":
                    return answer.address
                self._part.unlink()
                raise TransferError("it has a shorter file than before")
            self._check(answer)
            start = self._start(answer, offset if headers else 0)
            if not start:
                self._write_note(note.model_copy(update={"validator": _validator(answer)}))
            await self._receive(answer, self._part, start, self._limits.max_bytes)
            return answer.address

    async def _join(self, base: RemoteAddress) -> None:
        """Replace the playlist in the file by the video that its segments make."""
        if _size(self._part) > MAX_PLAYLIST_BYTES:
            raise RemoteError(
                "unsupported_playlist", f"The playlist {base} is larger than {MAX_PLAYLIST_BYTES} bytes."
            )
        text = self._part.read_bytes()
        # In a thread: a playlist may list thousands of addresses.
        variant = await anyio.to_thread.run_sync(best_variant, text, base, self._rules)
        if variant is not None:
            text, base = await self._playlist(variant)
        segments = await anyio.to_thread.run_sync(segments_of, text, base, self._rules)
        digest = hashlib.sha256("\n".join(map(str, segments)).encode()).hexdigest()
        note = self._read_note()
        if note.playlist != digest or _size(self._segments_file) < note.size:
            note = note.model_copy(update={"playlist": digest, "segments": 0, "size": 0})
        for number in range(note.segments, len(segments)):
            segment, size = segments[number], note.size

            async def fetch(segment: Segment = segment, size: int = size) -> RemoteAddress:
                return await self._segment(segment, size)

            await self._persist(fetch, self._segments_file, segment.address)
            note = note.model_copy(update={"segments": number + 1, "size": _size(self._segments_file)})
            self._write_note(note)
        self._segments_file.replace(self._part)

    async def _playlist(self, address: RemoteAddress) -> tuple[bytes, RemoteAddress]:
        scratch = self._segments_file.with_name(self._segments_file.name + ".m3u8")

        async def fetch() -> RemoteAddress:
            async with self._connection.get(address, self._limits.window) as answer:
                self._check(answer)
                await self._receive(answer, scratch, 0, MAX_PLAYLIST_BYTES)
                return answer.address

        try:
            final = await self._persist(fetch, scratch, address)
            return scratch.read_bytes(), final
        finally:
            scratch.unlink(missing_ok=True)

    async def _segment(self, segment: Segment, size: int) -> RemoteAddress:
        """One try at a segment, after the `size` bytes of those before it."""
        first, length = segment.span or (0, None)
        headers = {} if length is None else {"Range": f"bytes={first}-{first + length - 1}"}
        async with self._connection.get(segment.address, self._limits.window, headers) as answer:
            self._check(answer)
            if headers and (answer.status != 206 or self._start(answer, first) != first):
                raise RemoteError("download_failed", f"{answer.address} does not give ranges of bytes.")
            await self._receive(answer, self._segments_file, size, self._limits.max_bytes)
            if length is not None and _size(self._segments_file) != size + length:
                raise TransferError("it sent another number of bytes than the playlist says")
            return answer.address

    def _check(self, answer: Answer) -> None:
        """Refuse a response that is no part of a video."""
        status, kind = answer.status, answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if status in TRANSIENT:
            raise TransferError(f"it answered {status}")
        if status not in (200, 206):
            raise RemoteError("download_failed", f"{answer.address} answered {status}.")
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise RemoteError(
                "download_failed", f"{answer.address} gave a compressed response that was not asked for."
            )
        if kind in ("text/html", "application/xhtml+xml"):
            raise RemoteError("download_failed", f"{answer.address} gave a page ({kind}), not a video.")

    def _start(self, answer: Answer, asked: int) -> int:
        """The position in the file at which this response begins."""
        if answer.status == 200:
            return 0
        found = CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if found is None or int(found[1]) != asked:
            raise TransferError("it sent another range than the one that was asked for")
        return asked

    async def _receive(self, answer: Answer, path: Path, start: int, most: int) -> None:
        """Write a response at `start`, where the file then ends."""
        length = answer.headers.get("content-length", "")
        if length.isdecimal() and start + int(length[:19]) > most:
            raise _too_large(answer.address, most)
        size, pending = start, bytearray()
        with path.open("ab", buffering=0) as file:
            file.truncate(start)
            try:
                async for chunk in paced(answer.body, self._limits.window, self._limits.rate):
                    size += len(chunk)
                    if size > most:
                        raise _too_large(answer.address, most)
                    pending += chunk
                    if len(pending) >= WRITE_BYTES:
                        await anyio.to_thread.run_sync(_write, file, pending)
                        await self._arrived(size)
            finally:
                # What has arrived is kept for the next try.
                _write(file, pending)
        await self._arrived(size)

    def _read_note(self) -> _Note:
        with suppress(FileNotFoundError, ValidationError):
            return _Note.model_validate_json(self._note_file.read_bytes())
        return _Note()

    def _write_note(self, note: _Note) -> None:
        scratch = self._note_file.with_name(self._note_file.name + ".new")
        scratch.write_text(note.model_dump_json())
        scratch.replace(self._note_file)


def _write(file: BinaryIO, pending: bytearray) -> None:
    while pending:
        del pending[: file.write(pending)]


def _validator(answer: Answer) -> str | None:
    """What identifies this version of the file. A weak ETag does not (RFC 9110, section 13.1.5)."""
    etag = answer.headers.get("etag", "")
    strong = etag if etag and not etag.startswith("W/") else answer.headers.get("last-modified", "")
    return strong or None


def _too_large(address: RemoteAddress, most: int) -> RequestError:
    return RequestError("body_too_large", f"{address} is larger than {most} bytes; send a smaller video.")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
