"""A selsa server as Python objects: `Client`, and `AsyncClient` for asynchronous code.

with Client("http://127.0.0.1:8000") as client:
    for frame in client.detect("a.mp4", score_threshold=0.5):
        print(frame.index, frame.detections)
"""

from http import HTTPStatus
from types import TracebackType
from typing import Final, Self, Unpack

import httpx
from pydantic import ValidationError

from selsa_client.errors import WireFormatError
from selsa_client.protocol import DEFAULT_SERVER, DetectOptions, RetryPolicy, error_from_response
from selsa_client.stream import AsyncDetectionStream, DetectionStream
from selsa_client.transport import DEFAULT_TIMEOUT, DetectionCall, client_settings, sending
from selsa_client.upload import AsyncVideoSource, UploadProgress, UploadSource, VideoSource
from selsa_server.schema import DetectParams, ModelInfo

__all__ = ["AsyncClient", "Client"]

_READY_STATUSES: Final = (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE)


class Client:
    """A connection to one server. Threads may share it; a stream belongs to one thread.

    `timeout` is in seconds (see `DEFAULT_TIMEOUT`). A busy server is asked again up to `retries` times, at
    the time it names, when the source can be sent twice. `transport` takes the network's place in tests.

    Raises:
        ValueError: `base_url` is not an http(s) address.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        timeout: httpx.Timeout | float | None = DEFAULT_TIMEOUT,
        retries: int = 0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(transport=transport, **client_settings(base_url, timeout))
        self._retry = RetryPolicy(retries=retries)

    def detect(
        self,
        source: VideoSource,
        *,
        on_upload: UploadProgress | None = None,
        **options: Unpack[DetectOptions],
    ) -> DetectionStream:
        """The detections of a video: a path, bytes, a binary file object or an iterable of bytes.

        `options` are the fields of `DetectParams`. Nothing is sent before the stream is opened; then, or
        while it is read, these are raised:

        Raises:
            pydantic.ValidationError: an option has a value that is not allowed (raised at once).
            InputError: the file cannot be read.
            ServerUnreachableError: no server answers.
            RejectedError, BusyError, ServerFailureError: the server's answer is an error.
            DetectionFailedError: detection failed after it began.
            IncompleteError, WireFormatError: the answer is cut off or is not one of a selsa server.
        """
        return DetectionStream(self._http, _call(source, on_upload, self._retry, options))

    def model(self) -> ModelInfo:
        """The model that the server runs.

        Raises:
            ServerUnreachableError, ResponseError, WireFormatError: as `detect`.
        """
        return _model(self._get("/model"))

    def ready(self) -> bool:
        """Whether the server takes videos now; False while it starts or drains.

        Raises:
            ServerUnreachableError, ResponseError: no server answers, or one that has no `/readyz`.
        """
        return _ready(self._get("/readyz"))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, path: str) -> httpx.Response:
        with sending(self._http.base_url):
            return self._http.get(path)


class AsyncClient:
    """`Client` for asynchronous code, on asyncio or trio; the same arguments, methods and errors."""

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        timeout: httpx.Timeout | float | None = DEFAULT_TIMEOUT,
        retries: int = 0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(transport=transport, **client_settings(base_url, timeout))
        self._retry = RetryPolicy(retries=retries)

    def detect(
        self,
        source: AsyncVideoSource,
        *,
        on_upload: UploadProgress | None = None,
        **options: Unpack[DetectOptions],
    ) -> AsyncDetectionStream:
        """As `Client.detect`, for `async for`; the source may also be an asynchronous iterable of bytes."""
        return AsyncDetectionStream(self._http, _call(source, on_upload, self._retry, options))

    async def model(self) -> ModelInfo:
        """The model that the server runs; raises as `Client.model`."""
        return _model(await self._get("/model"))

    async def ready(self) -> bool:
        """Whether the server takes videos now; raises as `Client.ready`."""
        return _ready(await self._get("/readyz"))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _get(self, path: str) -> httpx.Response:
        with sending(self._http.base_url):
            return await self._http.get(path)


def _call(
    source: AsyncVideoSource, on_upload: UploadProgress | None, retry: RetryPolicy, options: DetectOptions
) -> DetectionCall:
    params = DetectParams.model_validate(options)
    return DetectionCall(source=UploadSource(source, on_upload), params=params, retry=retry)


def _model(response: httpx.Response) -> ModelInfo:
    if response.status_code != HTTPStatus.OK:
        raise error_from_response(response.status_code, response.headers, response.content)
    try:
        return ModelInfo.model_validate_json(response.content)
    except ValidationError as error:
        raise WireFormatError(f"{response.url} describes no model; is this a selsa server?") from error


def _ready(response: httpx.Response) -> bool:
    if response.status_code not in _READY_STATUSES:
        raise error_from_response(response.status_code, response.headers, response.content)
    return response.status_code == HTTPStatus.OK
