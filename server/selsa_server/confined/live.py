"""A live source that a separate process decodes: the process asks for the next bytes."""

from collections.abc import Callable, Generator

from selsa_server.confined.answers import (
    CorruptAnswer,
    EndAnswer,
    FrameAnswer,
    HeadAnswer,
    InputFailedAnswer,
    NeedsInputAnswer,
)
from selsa_server.confined.frames import Interruptible, killed_if_interrupted, video_item
from selsa_server.confined.orders import LivePiece, Next
from selsa_server.confined.process import DecoderProcess
from selsa_server.decoders.protocol import LiveOrder
from selsa_server.errors import DetectError
from selsa_server.run_context import Stopwatch
from selsa_server.video.live.container import LiveCounts
from selsa_server.video.live.frames import PreparedLiveItem
from selsa_server.video.live.input import LiveInput


class ConfinedLive:
    """Frames of one live source.

    Args:
        source: what its client sends.
        order: how it is decoded.
        begin: starts a process.
        clock: the process reports its seconds of `decode` and `prepare`, which are added here.
    """

    def __init__(
        self,
        source: LiveInput,
        order: LiveOrder,
        begin: Callable[[], DecoderProcess],
        clock: Stopwatch,
        counts: LiveCounts,
    ) -> None:
        self._source = source
        self._order = order
        self._work = Interruptible(begin)
        self._clock = clock
        self._counts = counts
        self._failure: DetectError | None = None

    def interrupt(self) -> None:
        """End the process, from any thread."""
        self._work.interrupt()

    def items(self) -> Generator[PreparedLiveItem, None, None]:
        """As `prepared_live_frames`."""
        try:
            process = self._work.process()
            with killed_if_interrupted(process):
                process.tell(self._order)
                while (item := self._next(process)) is not None:
                    yield item
        finally:
            self._work.close()

    def _next(self, process: DecoderProcess) -> PreparedLiveItem | None:
        process.tell(Next())
        answer, _ = process.hear()
        while isinstance(answer, NeedsInputAnswer):
            process.tell(self._piece())
            answer, _ = process.hear()
        if isinstance(answer, InputFailedAnswer) and self._failure is not None:
            raise self._failure
        if not isinstance(answer, FrameAnswer | CorruptAnswer | HeadAnswer | EndAnswer):
            raise process.invalid_answer()
        answer.count(self._clock)
        answer.note(self._counts)
        if isinstance(answer, EndAnswer):
            return None
        return answer.item() if isinstance(answer, HeadAnswer) else video_item(answer, process)

    def _piece(self) -> LivePiece:
        try:
            return LivePiece(self._source.get())
        except DetectError as error:
            self._failure = error
            return LivePiece(None, failed=True)
