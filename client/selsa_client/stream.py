"""The records of one video as they arrive, for blocking and for asynchronous code.

Nothing is sent before the stream is opened: by `with`, by `open()` or by the first step of a loop.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from itertools import chain, islice
from types import TracebackType
from typing import Self

from selsa_client.http.link import iterate
from selsa_client.wire.frames import Document, Frame, document_of
from selsa_client.wire.records import RecordReader, StreamRecord
from selsa_server.schema.detect import SummaryRecord, VideoRecord


class KnownRecords:
    """What is known of a stream so far; base of all streams."""

    def __init__(self, reader: RecordReader) -> None:
        self.reader = reader
        self._opened = False
        self._first: list[StreamRecord] = []

    @property
    def video(self) -> VideoRecord:
        """The video record; available once the stream is open, unless it starts after that record."""
        if self.reader.video is None:
            raise RuntimeError("the video is not known before the stream is open: use `with` or a loop")
        return self.reader.video

    @property
    def summary(self) -> SummaryRecord:
        """The summary record; available once every frame has been read."""
        if self.reader.summary is None:
            raise RuntimeError("the summary is not known before the last frame has been read")
        return self.reader.summary

    @property
    def complete(self) -> bool:
        """Whether the summary, which is the last record, has been read."""
        return self.reader.summary is not None

    def _take_first(self) -> list[StreamRecord]:
        first, self._first = self._first, []
        return first


class AsyncDetectionStream(KnownRecords):
    """`DetectionStream` for `async for` and `async with`. Use it in one task at a time."""

    def __init__(self, received: AsyncGenerator[StreamRecord, None], reader: RecordReader) -> None:
        super().__init__(reader)
        self.received = received

    async def open(self) -> VideoRecord:
        """As `DetectionStream.open`."""
        await self.__aenter__()
        return self.video

    async def records(self) -> AsyncIterator[StreamRecord]:
        """As `DetectionStream.records`."""
        await self.__aenter__()
        for record in self._take_first():
            yield record
        async for record in self.received:
            yield record

    def __aiter__(self) -> AsyncIterator[Frame]:
        return (record async for record in self.records() if isinstance(record, Frame))

    async def collect(self) -> Document:
        """As `DetectionStream.collect`."""
        async with self:
            frames = [frame async for frame in self]
            return document_of(self.video, frames, self.summary)

    async def close(self) -> None:
        """As `DetectionStream.close`."""
        await self.received.aclose()

    async def __aenter__(self) -> Self:
        if not self._opened:
            self._opened = True
            first = await anext(self.received, None)
            self._first = [] if first is None else [first]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class DetectionStream(KnownRecords):
    """The detections of one video; iterating gives a `Frame` per frame. Use it in one thread at a time."""

    def __init__(self, stream: AsyncDetectionStream) -> None:
        super().__init__(stream.reader)
        self._received = iterate(stream.received)

    def open(self) -> VideoRecord:
        """Send the video if it has not been sent, and wait for the first record.

        Raises:
            SelsaError: see `Client.detect`.
        """
        self.__enter__()
        return self.video

    def records(self) -> Iterator[StreamRecord]:
        """Every record in order: the video, the frames, the summary. Opens the stream."""
        self.__enter__()
        # Not a generator: leaving a loop must not close the records, so that a second loop can continue.
        return chain(self._take_first(), self._received)

    def __iter__(self) -> Iterator[Frame]:
        return (record for record in self.records() if isinstance(record, Frame))

    def collect(self) -> Document:
        """All records as one document, held in memory; with tracks, aliases are applied."""
        with self:
            return document_of(self.video, list(self), self.summary)

    def close(self) -> None:
        """Drop the connection if it is still open; the server then stops working on the video."""
        self._received.close()

    def __enter__(self) -> Self:
        if not self._opened:
            self._opened = True
            self._first = list(islice(self._received, 1))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
