"""The records of one video as they arrive, for plain and for asynchronous code.

Nothing is sent before the stream is opened: by `with`, by `open()` or by the first step of a loop.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from itertools import chain
from types import TracebackType
from typing import Self

from selsa_client.wire.frames import Document, Frame
from selsa_client.wire.records import RecordReader, StreamRecord
from selsa_server.schema.detect import SummaryRecord, VideoRecord


class KnownRecords:
    """What is known of a stream so far; the same for all kinds.

    Attributes:
        reader: checks the records.
    """

    def __init__(self, reader: RecordReader) -> None:
        self.reader = reader
        self._begun = False
        self._first: StreamRecord | None = None

    @property
    def video(self) -> VideoRecord:
        """The video record; known once the stream is open, unless it was asked to begin after it."""
        if self.reader.video is None:
            raise RuntimeError("the video is not known before the stream is open: use `with` or a loop")
        return self.reader.video

    @property
    def summary(self) -> SummaryRecord:
        """The summary record; known once every frame has been read."""
        if self.reader.summary is None:
            raise RuntimeError("the summary is not known before the last frame has been read")
        return self.reader.summary

    @property
    def complete(self) -> bool:
        """Whether the summary, which is the last record, has been read."""
        return self.reader.summary is not None

    def _take_first(self) -> tuple[StreamRecord, ...]:
        first, self._first = self._first, None
        return () if first is None else (first,)


class DetectionStream(KnownRecords):
    """The detections of one video; iterating gives a `Frame` per frame. Not for use by two threads."""

    def __init__(self, received: Generator[StreamRecord, None, None], reader: RecordReader) -> None:
        super().__init__(reader)
        self._received = received

    def open(self) -> VideoRecord:
        """Send the video if that is yet to be done, and wait for the first record.

        Raises:
            SelsaError: see `Client.detect`.
        """
        self._begin()
        return self.video

    def records(self) -> Iterator[StreamRecord]:
        """Every record in order: the video, the frames, the summary. Opens the stream."""
        self._begin()
        # Not a generator: leaving a loop half way must not close what a second loop goes on reading.
        return chain(self._take_first(), self._received)

    def __iter__(self) -> Iterator[Frame]:
        return (record for record in self.records() if isinstance(record, Frame))

    def collect(self) -> Document:
        """All of it as one document, held in memory."""
        with self:
            frames = tuple(self)
            return Document(video=self.video, frames=frames, summary=self.summary)

    def close(self) -> None:
        """Drop the connection if it is still in use; the server then stops working on the video."""
        self._received.close()

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._first = next(self._received, None)


class AsyncDetectionStream(KnownRecords):
    """`DetectionStream` for `async for` and `async with`. Not for use by two tasks."""

    def __init__(self, received: AsyncGenerator[StreamRecord, None], reader: RecordReader) -> None:
        super().__init__(reader)
        self._received = received

    async def open(self) -> VideoRecord:
        """Send the video if that is yet to be done, and wait for the first record.

        Raises:
            SelsaError: see `Client.detect`.
        """
        await self._begin()
        return self.video

    async def records(self) -> AsyncIterator[StreamRecord]:
        """Every record in order: the video, the frames, the summary."""
        await self._begin()
        for record in self._take_first():
            yield record
        async for record in self._received:
            yield record

    def __aiter__(self) -> AsyncIterator[Frame]:
        return (record async for record in self.records() if isinstance(record, Frame))

    async def collect(self) -> Document:
        """All of it as one document, held in memory."""
        async with self:
            frames = tuple([frame async for frame in self])
            return Document(video=self.video, frames=frames, summary=self.summary)

    async def close(self) -> None:
        """Drop the connection if it is still in use; the server then stops working on the video."""
        await self._received.aclose()

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._first = await anext(self._received, None)
