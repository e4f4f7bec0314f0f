"""A selsa server as Python objects: `Client`, and `AsyncClient` for asynchronous code.

with Client("http://127.0.0.1:8000") as client:
    for frame in client.detect("a.mp4", score_threshold=0.5):
        print(frame.index, frame.detections)
"""

from types import TracebackType
from typing import Self, Unpack

import httpx

from selsa_client.http.async_drivers import AsyncDriver
from selsa_client.http.detecting import DetectionCall, detection
from selsa_client.http.drivers import Driver
from selsa_client.http.model_requests import is_ready, model_info
from selsa_client.http.patience import Patience, RetryPolicy
from selsa_client.http.protocol import DEFAULT_SERVER, DetectOptions
from selsa_client.http.transport import DEFAULT_TIMEOUT, client_settings
from selsa_client.http.upload import AsyncVideoSource, UploadProgress, UploadSource, VideoSource
from selsa_client.jobs import AsyncJobs, Jobs
from selsa_client.live.async_stream import AsyncLiveStream
from selsa_client.live.link import LiveAddress
from selsa_client.live.protocol import LiveOptions, live_start
from selsa_client.live.source import AsyncLiveSource, LiveSource
from selsa_client.live.stream import LiveStream
from selsa_client.models import AsyncModels, Models
from selsa_client.stream import AsyncDetectionStream, DetectionStream
from selsa_client.wire.records import RecordReader
from selsa_server.schema.detect import DetectParams, ModelInfo
from selsa_server.schema.stream import LiveContainer


class Client:
    """A connection to one server. Threads may share it; a stream belongs to one thread.

    `timeout` is in seconds (see `DEFAULT_TIMEOUT`). A busy server is asked again up to `retries` times, at
    the time it names, and what broke is tried again, if the source can be read twice: see `detecting`.
    `transport` takes the network's place in tests.

    Attributes:
        jobs: long videos, whose results wait for the client.
        models: the models of the server.

    Raises:
        ValueError: `base_url` is not an http(s) address, or `api_key` cannot be a key.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        api_key: str | None = None,
        timeout: httpx.Timeout | float | None = DEFAULT_TIMEOUT,
        retries: int = 0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(transport=transport, **client_settings(base_url, timeout, api_key))
        self._driver = Driver(self._http)
        self._retry = RetryPolicy(retries=retries)
        self._live = LiveAddress(base_url, api_key)
        self.jobs = Jobs(self._driver, self._patience)
        self.models = Models(self._driver, self._patience)

    def detect(
        self,
        source: VideoSource,
        *,
        on_upload: UploadProgress | None = None,
        **options: Unpack[DetectOptions],
    ) -> DetectionStream:
        """The detections of a video: a path, bytes, a binary file, a `WebVideo` or an iterable of bytes.

        `options` are the fields of `DetectParams`. Nothing is sent before the stream is opened; then, or
        while it is read, these are raised:

        Raises:
            pydantic.ValidationError: an option has a value that is not allowed (raised at once).
            InputError: the video cannot be read.
            ServerUnreachableError: no server answers.
            RejectedError, BusyError, ServerFailureError: the server's answer is an error.
            DetectionFailedError: detection failed after it began.
            IncompleteError, WireFormatError: the answer is cut off or is not one of a selsa server.
        """
        reader = RecordReader()
        call = _call(source, on_upload, self._patience(), options)
        return DetectionStream(self._driver.run(detection(call, reader)), reader)

    def stream(
        self, source: LiveSource | None = None, *, container: LiveContainer, **options: Unpack[LiveOptions]
    ) -> LiveStream:
        """The detections of a video that is still arriving, over `WS /stream`.

        `source` is sent in the background; without one, call the stream's `send` and `end`. `container` says
        what the bytes are: `mp4`, `mpegts`, `matroska` or `jpeg`, one image per piece.

        Raises:
            pydantic.ValidationError: an option has a value that is not allowed (raised at once).
            SelsaError: as `detect`, while the stream is open.
        """
        return LiveStream(self._live, live_start(container, options), source)

    def model(self) -> ModelInfo:
        """The model that the server runs by default.

        Raises:
            ServerUnreachableError, ResponseError, WireFormatError: as `detect`.
        """
        return self._driver.ask(model_info(self._patience()))

    def ready(self) -> bool:
        """Whether the server takes videos now; False while it starts or drains.

        Raises:
            ServerUnreachableError, ResponseError: no server answers, or one that has no `/readyz`.
        """
        return self._driver.ask(is_ready(self._patience()))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _patience(self) -> Patience:
        return Patience(self._retry)


class AsyncClient:
    """`Client` for asynchronous code, on asyncio or trio; the same arguments, methods and errors.

    `stream` needs asyncio.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        api_key: str | None = None,
        timeout: httpx.Timeout | float | None = DEFAULT_TIMEOUT,
        retries: int = 0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(transport=transport, **client_settings(base_url, timeout, api_key))
        self._driver = AsyncDriver(self._http)
        self._retry = RetryPolicy(retries=retries)
        self._live = LiveAddress(base_url, api_key)
        self.jobs = AsyncJobs(self._driver, self._patience)
        self.models = AsyncModels(self._driver, self._patience)

    def detect(
        self,
        source: AsyncVideoSource,
        *,
        on_upload: UploadProgress | None = None,
        **options: Unpack[DetectOptions],
    ) -> AsyncDetectionStream:
        """As `Client.detect`, for `async for`; the source may also be an asynchronous iterable of bytes."""
        reader = RecordReader()
        call = _call(source, on_upload, self._patience(), options)
        return AsyncDetectionStream(self._driver.run(detection(call, reader)), reader)

    def stream(
        self,
        source: AsyncLiveSource | None = None,
        *,
        container: LiveContainer,
        **options: Unpack[LiveOptions],
    ) -> AsyncLiveStream:
        """As `Client.stream`, for `async for`; the source may also be an asynchronous iterable."""
        return AsyncLiveStream(self._live, live_start(container, options), source)

    async def model(self) -> ModelInfo:
        """The model that the server runs by default; raises as `Client.model`."""
        return await self._driver.ask(model_info(self._patience()))

    async def ready(self) -> bool:
        """Whether the server takes videos now; raises as `Client.ready`."""
        return await self._driver.ask(is_ready(self._patience()))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _patience(self) -> Patience:
        return Patience(self._retry)


def _call(
    source: AsyncVideoSource, on_upload: UploadProgress | None, patience: Patience, options: DetectOptions
) -> DetectionCall:
    params = DetectParams.model_validate(options)
    return DetectionCall(source=UploadSource(source, on_upload), params=params, patience=patience)
