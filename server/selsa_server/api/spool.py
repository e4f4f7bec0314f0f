"""Writes the request body to temporary files, in bounded memory; they are deleted with the request."""

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar

import anyio.to_thread
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from selsa_server.api.multipart import MultipartParts, boundary_of
from selsa_server.errors import ParameterError, RequestError
from selsa_server.jobs.remote.pace import TooSlowError, paced
from selsa_server.settings import UploadSettings

WRITE_BYTES: Final = 1 << 20
MAX_JSON_BYTES: Final = 16 << 10
SUFFIX: Final = ".upload"
VIDEO: Final = "file"
RECORDS: Final = "records"
FORM: Final = "multipart/form-data"
ACCEPTED: Final = "video/*, application/octet-stream, multipart/form-data with one part `file`"


_Model = TypeVar("_Model", bound=BaseModel)


class _Unwrap(Protocol):
    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]: ...

    def finish(self) -> None: ...


class _Raw:
    """A body that is the video itself."""

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        return [(VIDEO, chunk)]

    def finish(self) -> None:
        return


def check_body(request: Request, limits: UploadSettings) -> None:
    """Refuse a request by its headers, before its body is read.

    Raises:
        RequestError: not a content type of videos, an encoded body, or too large by Content-Length.
    """
    _unwrapper(request)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise RequestError(
            "unsupported_media_type",
            f"Content-Encoding is {encoding[:100]!r}; send the video as it is.",
            parameter="Content-Encoding",
            allowed="identity",
        )
    length = request.headers.get("content-length", "")
    slack = 65536 if request.headers.get("content-type", "").startswith("multipart/") else 0
    if length.isdecimal() and int(length) > limits.max_upload_bytes + slack:
        raise _too_large(limits)
    if length == "0":
        raise _empty()


def is_json(request: Request) -> bool:
    """Whether the body is JSON by its content type."""
    return _content_type(request) == "application/json"


async def read_json(request: Request, model: type[_Model], limits: UploadSettings) -> _Model:
    """A small JSON body.

    Raises:
        RequestError: too large or too slow.
        ParameterError: it is not what `model` describes.
        ClientDisconnect: the client went away.
    """
    body = bytearray()
    async for chunk in _chunks(request, limits):
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise RequestError("body_too_large", f"The JSON is larger than {MAX_JSON_BYTES} bytes.")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "body"
        fields = ", ".join(model.model_fields)
        raise ParameterError(
            name[:100],
            f"The JSON of the body is not allowed: {name[:100]}: {str(first['msg'])[:200]}.",
            f"a JSON object with {fields}",
        ) from error


@asynccontextmanager
async def temporary_file(folder: Path) -> AsyncIterator[tuple[Path, BinaryIO]]:
    """A new file with a random name that only this process may read; deleted on leaving."""
    path, file = await anyio.to_thread.run_sync(_locked_file, folder)
    try:
        yield path, file
    finally:
        file.close()
        with suppress(FileNotFoundError):
            path.unlink()


def _locked_file(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file that is locked as long as it is open, which tells `sweep` that it is in use."""
    handle, name = tempfile.mkstemp(".new", "selsa-", folder)
    file = os.fdopen(handle, "wb", buffering=0)
    _try_lock(file)
    # `sweep` deletes no file under its first name, so it cannot come between creation and lock.
    return Path(name).rename(Path(name).with_suffix(SUFFIX)), file


def sweep(folder: Path) -> int:
    """Delete the files of killed servers; returns how many. Files of other running servers are locked."""
    deleted = 0
    for path in folder.glob(f"selsa-*{SUFFIX}"):
        # Another user's file, or deleted meanwhile.
        with suppress(OSError), path.open("rb") as file:
            if _try_lock(file):
                path.unlink()
                deleted += 1
    return deleted


@asynccontextmanager
async def spool_body(
    request: Request, folder: Path, limits: UploadSettings, arrived: Callable[[int], None] = lambda _: None
) -> AsyncIterator[Path]:
    """The video of a request as a file, inside the context.

    Args:
        request: its body is read.
        folder: where the file is made.
        limits: of size and of time.
        arrived: called with the number of bytes before they are written; may raise.

    Raises:
        RequestError: empty, malformed, too large or too slow.
        ClientDisconnect: the client went away.
    """
    unwrap = _unwrapper(request)
    async with temporary_file(folder) as (path, file):
        await _write(request, {VIDEO: file}, unwrap, limits, arrived)
        yield path


@asynccontextmanager
async def spool_records_and_video(
    request: Request, folder: Path, limits: UploadSettings
) -> AsyncIterator[tuple[Path, Path]]:
    """The parts `records` and `file` of a form as two files, as long as the context lasts.

    Raises:
        RequestError: no form, or as `spool_body`.
        ClientDisconnect: the client went away.
    """
    content_type, name = request.headers.get("content-type", ""), _content_type(request)
    if name != FORM:
        raise RequestError(
            "unsupported_media_type",
            f"Content-Type is {name[:100]!r}; send a form ({FORM}) with the parts {RECORDS!r} and {VIDEO!r}.",
            parameter="Content-Type",
            allowed=FORM,
        )
    unwrap = MultipartParts(boundary_of(content_type), (RECORDS, VIDEO))
    async with AsyncExitStack() as stack:
        records, records_file = await stack.enter_async_context(temporary_file(folder))
        video, video_file = await stack.enter_async_context(temporary_file(folder))
        await _write(request, {RECORDS: records_file, VIDEO: video_file}, unwrap, limits)
        yield records, video


async def _chunks(request: Request, limits: UploadSettings) -> AsyncIterator[bytes]:
    """The body, at the least rate or faster.

    Raises:
        RequestError: no byte arrived for `upload_timeout`, or too few in such a window of time.
    """
    try:
        async for chunk in paced(request.stream(), limits.upload_timeout, limits.min_upload_rate):
            yield chunk
    except TooSlowError as slow:
        raise RequestError(
            "request_timeout",
            f"{slow.arrived} bytes of the upload arrived in {slow.window:g} s; allowed are {slow.enough:g} "
            f"or more and no pause of that length. Send it again.",
        ) from slow


async def _write(
    request: Request,
    files: Mapping[str, BinaryIO],
    unwrap: _Unwrap,
    limits: UploadSettings,
    arrived: Callable[[int], None] = lambda _: None,
) -> None:
    pending = {name: bytearray() for name in files}
    total = 0
    async for chunk in _chunks(request, limits):
        arrived(len(chunk))
        for name, data in unwrap.feed(chunk):
            total += len(data)
            if total > limits.max_upload_bytes:
                raise _too_large(limits)
            pending[name] += data
            if len(pending[name]) >= WRITE_BYTES:
                await _flush(files[name], pending[name])
    unwrap.finish()
    if total == 0:
        raise _empty()
    for name, file in files.items():
        await _flush(file, pending[name])


async def _flush(file: BinaryIO, pending: bytearray) -> None:
    view = memoryview(bytes(pending))
    while view:
        view = view[await anyio.to_thread.run_sync(file.write, view) :]
    pending.clear()


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _unwrapper(request: Request) -> _Unwrap:
    content_type, name = request.headers.get("content-type", ""), _content_type(request)
    if name == FORM:
        return MultipartParts(boundary_of(content_type), (VIDEO,))
    if name in ("", "application/octet-stream") or name.startswith("video/"):
        return _Raw()
    raise RequestError(
        "unsupported_media_type",
        f"Content-Type is {name[:100]!r}; send the video as one of {ACCEPTED}.",
        parameter="Content-Type",
        allowed=ACCEPTED,
    )


def _too_large(limits: UploadSettings) -> RequestError:
    return RequestError(
        "body_too_large",
        f"The upload is larger than {limits.max_upload_bytes} bytes; send a smaller or shorter video.",
    )


def _empty() -> RequestError:
    return RequestError("empty_body", "The request has no video in its body; send the file's bytes.")


if sys.platform == "win32":

    def _try_lock(file: BinaryIO) -> bool:
        """Windows refuses to delete a file that is open, so no lock is needed."""
        del file
        return True

else:
    import fcntl

    def _try_lock(file: BinaryIO) -> bool:
        """Lock an open file; False if another process has locked it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
