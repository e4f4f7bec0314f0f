"""Decoding in confined processes, one for each video, drawn file and live stream."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from selsa_bundle.preprocess import Preprocess
from selsa_server.confined.answers import DoneAnswer
from selsa_server.confined.fork_server import ForkServer
from selsa_server.confined.live import ConfinedLive
from selsa_server.confined.orders import DrawRecord, Finish
from selsa_server.confined.process import DecoderProcess, Ended
from selsa_server.confined.rules import DecoderRules
from selsa_server.confined.video import ConfinedVideo
from selsa_server.decoders.protocol import Drawing, DrawOrder, FrameSource, LiveOrder, OpenVideo
from selsa_server.run_context import RunContext
from selsa_server.sandbox.allowance import Allowance
from selsa_server.schema.detect import FrameRecord, SummaryRecord, VideoRecord
from selsa_server.video.container import VideoLimits
from selsa_server.video.live.container import LiveCounts
from selsa_server.video.live.frames import PreparedLiveItem
from selsa_server.video.live.input import LiveInput

# When the file is finished, FFmpeg moves all of it to make room for the index at its start. It reports no
# progress meanwhile; a slow disk writes at this rate.
BYTES_PER_SECOND: Final = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfinedDecoders:
    """Decoding in processes of their own; see `Decoders`.

    Attributes:
        ended: called when a process has ended, with the outcome and its seconds of processor time.
    """

    fork_server: ForkServer
    rules: DecoderRules
    ended: Ended = lambda *_: None

    def open(self, path: Path, limits: VideoLimits, preprocess: Preprocess, run: RunContext) -> OpenVideo:
        """See `Decoders`."""
        allowance = self.rules.reading([path])
        return ConfinedVideo(
            path, limits, preprocess, lambda: self._begin(allowance, preprocess.largest_bytes), run.stopped
        )

    def live(
        self, source: LiveInput, order: LiveOrder, run: RunContext, counts: LiveCounts
    ) -> FrameSource[PreparedLiveItem]:
        """See `Decoders`."""
        allowance, frame_bytes = self.rules.reading(), order.preprocess.largest_bytes
        live = ConfinedLive(source, order, lambda: self._begin(allowance, frame_bytes), run.clock, counts)
        return FrameSource(live.items(), live.interrupt)

    def draw(self, order: DrawOrder, run: RunContext) -> Drawing:
        """See `Decoders`."""
        allowance = self.rules.drawing(order.source, order.out, order.max_bytes)
        return ConfinedDrawing(order, lambda: self._begin(allowance), run.stopped)

    def _begin(self, allowance: Allowance, frame_bytes: int = 0) -> DecoderProcess:
        return DecoderProcess(
            self.fork_server, self.rules, allowance, frame_bytes=frame_bytes, ended=self.ended
        )


class ConfinedDrawing:
    """See `Drawing`.

    Args:
        begin: starts a process that may read the source and write the file.
        stopped: polled while waiting for the process.
    """

    def __init__(
        self, order: DrawOrder, begin: Callable[[], DecoderProcess], stopped: Callable[[], bool]
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
        if not isinstance(record, SummaryRecord):
            self._process.tell(DrawRecord(record))
            self._process.expect(DoneAnswer, stopped=self._stopped)
