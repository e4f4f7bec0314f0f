"""A selsa server as Python objects: `Client`, and `AsyncClient` for asynchronous code.

with Client("http://127.0.0.1:8000") as client:
    for frame in client.detect("a.mp4", score_threshold=0.5):
        print(frame.index, frame.detections)
"""

from http import HTTPStatus
from types import TracebackType
from typing import Self, Unpack

import httpx

from selsa_client.http.asking import ask, parsed
from selsa_client.http.detecting import detection
from selsa_client.http.link import (
    DEFAULT_TIMEOUT,
    AsyncHttp,
    BlockingHttp,
    Call,
    Http,
    Request,
    client_settings,
    run,
)
from selsa_client.http.protocol import DEFAULT_SERVER, DetectOptions, LiveOptions
from selsa_client.http.upload import AsyncVideoSource, UploadProgress, UploadSource, VideoSource
from selsa_client.jobs import AsyncJobs, Jobs
from selsa_client.live.async_stream import AsyncLiveStream
from selsa_client.live.link import LiveAddress
from selsa_client.live.protocol import live_start
from selsa_client.live.source import AsyncLiveSource, LiveSource
from selsa_client.live.stream import LiveStream
from selsa_client.models import AsyncModels, Models
from selsa_client.stream import AsyncDetectionStream, DetectionStream
from selsa_client.wire.records import RecordReader
from selsa_server.schema.detect import DetectParams, ModelInfo
from selsa_server.schema.stream import LiveContainer


class Client:
    """A connection to one server. Threads may share it; use each stream in one thread at a time.

    `timeout` is in seconds (see `DEFAULT_TIMEOUT`). `retries` is how often a request is repeated when the
    server is busy or the connection breaks; a source that can be read only once is never sent again.
    `transport` replaces the network in tests.

    Attributes:
        jobs: long videos, whose results the server keeps.
        models: the models of the server.

    Raises:
        ValueError: `base_url` is not an http(s) address, or `api_key` is not a valid key.

    Example:
        client = Client("http://127.0.0.1:8000", retries=3)
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
        settings = client_settings(base_url, timeout, api_key)
        self._http = BlockingHttp(httpx.Client(transport=transport, **settings), retries)
        self._live = LiveAddress(base_url, api_key)
        self.jobs = Jobs(AsyncJobs(self._http))
        self.models = Models(AsyncModels(self._http))

    def detect(
        self,
        source: VideoSource,
        *,
        on_upload: UploadProgress | None = None,
        **options: Unpack[DetectOptions],
    ) -> DetectionStream:
        """Detect on a video: a path, bytes, a binary file, a `WebVideo` or an iterable of bytes.

        `options` are the fields of `DetectParams`. The video is sent when the stream is opened. All errors
        but the first are raised then, or while the stream is read:

        Raises:
            pydantic.ValidationError: an option has an invalid value (raised at once).
            InputError: the video cannot be read.
            ServerUnreachableError: no server answers.
            RejectedError, BusyError, ServerFailureError: the server answers with an error.
            DetectionFailedError: detection failed after the first record.
            IncompleteError, WireFormatError: the answer is cut off or does not come from a selsa server.

        Example:
            for frame in client.detect("video.mp4", classes=["dog"]):
                print(frame.time, len(frame.detections))
        """
        return DetectionStream(_detect(self._http, source, on_upload, options))

    def stream(
        self, source: LiveSource | None = None, *, container: LiveContainer, **options: Unpack[LiveOptions]
    ) -> LiveStream:
        """Detect on a video while it arrives, over `WS /stream`.

        `source` is sent in the background; without one, call the stream's `send` and `end`. `container` is
        the format of the bytes: `mp4`, `mpegts`, `matroska` or `jpeg` (one image per piece).

        Raises:
            pydantic.ValidationError: an option has an invalid value (raised at once).
            SelsaError: as `detect`, while the stream is open.

        Example:
            with client.stream("video.mkv", container="matroska") as live:
                for frame in live:
                    print(frame.time, len(frame.detections))
        """
        return LiveStream(self._live, live_start(container, options), source)

    def model(self) -> ModelInfo:
        """The server's default model.

        Raises:
            ServerUnreachableError, ResponseError, WireFormatError: as `detect`.
        """
        return run(_model(self._http))

    def ready(self) -> bool:
        """Whether the server accepts videos now; False while it starts or shuts down.

        Raises:
            ServerUnreachableError, ResponseError: no server answers, or it has no `/readyz`.
        """
        return run(_ready(self._http))

    def close(self) -> None:
        """Close the connections."""
        run(self._http.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
        settings = client_settings(base_url, timeout, api_key)
        self._http = AsyncHttp(httpx.AsyncClient(transport=transport, **settings), retries)
        self._live = LiveAddress(base_url, api_key)
        self.jobs = AsyncJobs(self._http)
        self.models = AsyncModels(self._http)

    def detect(
        self,
        source: AsyncVideoSource,
        *,
        on_upload: UploadProgress | None = None,
        **options: Unpack[DetectOptions],
    ) -> AsyncDetectionStream:
        """As `Client.detect`, for `async for`; the source may also be an asynchronous iterable of bytes."""
        return _detect(self._http, source, on_upload, options)

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
        """As `Client.model`."""
        return await _model(self._http)

    async def ready(self) -> bool:
        """As `Client.ready`."""
        return await _ready(self._http)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _detect(
    http: Http, source: AsyncVideoSource, on_upload: UploadProgress | None, options: DetectOptions
) -> AsyncDetectionStream:
    params = DetectParams.model_validate(options)
    reader = RecordReader()
    return AsyncDetectionStream(
        detection(Call(http), UploadSource(source, on_upload), params, reader), reader
    )


async def _model(http: Http) -> ModelInfo:
    answer = await ask(Call(http), Request(method="GET", path="/model"))
    return parsed(ModelInfo, answer.body)


async def _ready(http: Http) -> bool:
    request = Request(method="GET", path="/readyz")
    answer = await ask(Call(http), request, allowed=(HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE))
    return answer.status == HTTPStatus.OK
