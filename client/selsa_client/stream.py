"""The records of one video as they arrive, for plain and for asynchronous code.

Nothing is sent before the stream is opened: by `with`, by `open()` or by the first step of a loop.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from itertools import chain
from types import TracebackType
from typing import Self

import anyio
import httpx

from selsa_client.errors import BusyError
from selsa_client.protocol import ERROR_BODY_LIMIT, error_from_response, is_record_stream
from selsa_client.records import RecordReader, StreamRecord
from selsa_client.transport import DetectionCall, receiving, sending
from selsa_server.schema import DetectionDocument, FrameRecord, SummaryRecord, VideoRecord

__all__ = ["AsyncDetectionStream", "DetectionStream"]


class _Progress:
    """What is known of a stream so far; the same for both kinds."""

    def __init__(self) -> None:
        self._reader = RecordReader()
        self._video_given = False

    @property
    def video(self) -> VideoRecord:
        """The video record; known once the stream is open."""
        if self._reader.video is None:
            raise RuntimeError("the video is not known before the stream is open: use `with` or a loop")
        return self._reader.video

    @property
    def summary(self) -> SummaryRecord:
        """The summary record; known once every frame has been read."""
        if self._reader.summary is None:
            raise RuntimeError("the summary is not known before the last frame has been read")
        return self._reader.summary


class DetectionStream(_Progress):
    """The detections of one video; iterating gives a `FrameRecord` per frame. Not for use by two threads."""

    def __init__(self, http: httpx.Client, call: DetectionCall) -> None:
        super().__init__()
        self._http = http
        self._call = call
        self._received = self._receive()

    def open(self) -> VideoRecord:
        """Send the video if that is yet to be done, and wait for the first record.

        Raises:
            SelsaError: see `Client.detect`.
        """
        if self._reader.video is None:
            next(self._received, None)
        return self.video

    def records(self) -> Iterator[StreamRecord]:
        """Every record in order: the video, the frames, the summary. Opens the stream."""
        video = self.open()
        if self._video_given:
            return self._received
        self._video_given = True
        # Not a generator: leaving a loop half way must not close what a second loop goes on reading.
        return chain((video,), self._received)

    def __iter__(self) -> Iterator[FrameRecord]:
        return (record for record in self.records() if isinstance(record, FrameRecord))

    def collect(self) -> DetectionDocument:
        """All of it as one document, held in memory."""
        with self:
            frames = tuple(self)
            return DetectionDocument(video=self.video, frames=frames, summary=self.summary)

    def close(self) -> None:
        """Drop the connection if it is still in use; the server then stops working on the video."""
        self._received.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self) -> Generator[StreamRecord, None, None]:
        response = self._answer()
        try:
            with receiving(self._reader):
                for chunk in response.iter_bytes():
                    yield from self._reader.feed(chunk)
                yield from self._reader.finish()
        finally:
            response.close()

    def _answer(self) -> httpx.Response:
        attempt = 0
        while True:
            try:
                return self._attempt()
            except BusyError as error:
                delay = self._call.wait(attempt, error)
            time.sleep(delay)
            attempt += 1

    def _attempt(self) -> httpx.Response:
        with self._call.source.attempt() as upload, sending(self._http.base_url):
            response = self._http.send(self._call.request(self._http, upload), stream=True)
            if is_record_stream(response.status_code, response.headers):
                return response
            try:
                body = b""
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) >= ERROR_BODY_LIMIT:
                        break
            finally:
                response.close()
        raise error_from_response(response.status_code, response.headers, body)


class AsyncDetectionStream(_Progress):
    """`DetectionStream` for `async for` and `async with`. Not for use by two tasks."""

    def __init__(self, http: httpx.AsyncClient, call: DetectionCall) -> None:
        super().__init__()
        self._http = http
        self._call = call
        self._received = self._receive()

    async def open(self) -> VideoRecord:
        """Send the video if that is yet to be done, and wait for the first record.

        Raises:
            SelsaError: see `Client.detect`.
        """
        if self._reader.video is None:
            await anext(self._received, None)
        return self.video

    async def records(self) -> AsyncIterator[StreamRecord]:
        """Every record in order: the video, the frames, the summary."""
        video = await self.open()
        if not self._video_given:
            self._video_given = True
            yield video
        async for record in self._received:
            yield record

    def __aiter__(self) -> AsyncIterator[FrameRecord]:
        return (record async for record in self.records() if isinstance(record, FrameRecord))

    async def collect(self) -> DetectionDocument:
        """All of it as one document, held in memory."""
        async with self:
            frames = tuple([frame async for frame in self])
            return DetectionDocument(video=self.video, frames=frames, summary=self.summary)

    async def close(self) -> None:
        """Drop the connection if it is still in use; the server then stops working on the video."""
        await self._received.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _receive(self) -> AsyncGenerator[StreamRecord, None]:
        response = await self._answer()
        try:
            with receiving(self._reader):
                async for chunk in response.aiter_bytes():
                    for record in self._reader.feed(chunk):
                        yield record
                for record in self._reader.finish():
                    yield record
        finally:
            await response.aclose()

    async def _answer(self) -> httpx.Response:
        attempt = 0
        while True:
            try:
                return await self._attempt()
            except BusyError as error:
                delay = self._call.wait(attempt, error)
            await anyio.sleep(delay)
            attempt += 1

    async def _attempt(self) -> httpx.Response:
        with self._call.source.attempt() as upload, sending(self._http.base_url):
            response = await self._http.send(self._call.request(self._http, upload), stream=True)
            if is_record_stream(response.status_code, response.headers):
                return response
            try:
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) >= ERROR_BODY_LIMIT:
                        break
            finally:
                await response.aclose()
        raise error_from_response(response.status_code, response.headers, body)
