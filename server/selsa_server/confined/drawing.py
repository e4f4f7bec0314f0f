"""A drawn video that a process of its own writes."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from selsa_server.confined.answers import DoneAnswer
from selsa_server.confined.orders import DrawRecord, DrawVideo, Finish
from selsa_server.confined.process import DecoderProcess
from selsa_server.schema.detect import FrameRecord, SummaryRecord, VideoRecord

# At the end the file is moved to make room for its index, in one piece; a slow disk does it at this rate.
BYTES_PER_SECOND: Final = 8 << 20


class ConfinedDrawing:
    """See `Drawing`.

    Args:
        order: what is drawn.
        begin: starts a process that may read the source and write the file.
        stopped: asked while the process is waited for.
    """

    def __init__(
        self, order: DrawVideo, begin: Callable[[], DecoderProcess], stopped: Callable[[], bool]
    ) -> None:
        self._order = order
        self._begin = begin
        self._stopped = stopped

    def __enter__(self) -> Self:
        self._process = self._begin()
        try:
            self._process.tell(self._order)
            self._process.expect(DoneAnswer, stopped=self._stopped)
        except BaseException:
            self._process.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self._process.kill()
                return
            self._process.tell(Finish())
            patience = self._order.out.stat().st_size / BYTES_PER_SECOND
            self._process.expect(DoneAnswer, stopped=self._stopped, patience=patience)
        finally:
            self._process.close()

    def write(self, record: VideoRecord | FrameRecord | SummaryRecord) -> None:
        """See `DrawnVideo`."""
        if isinstance(record, FrameRecord):
            self._process.tell(DrawRecord(record))
            self._process.expect(DoneAnswer, stopped=self._stopped)
