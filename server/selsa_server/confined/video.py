"""A video file that a separate process reads."""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from selsa_bundle.preprocess import Preprocess
from selsa_server.confined.answers import CorruptAnswer, EndAnswer, FrameAnswer, IndexAnswer
from selsa_server.confined.frames import Interruptible, killed_if_interrupted, video_item
from selsa_server.confined.orders import DecodeFile, IndexFile, Next
from selsa_server.confined.process import DecoderProcess
from selsa_server.decoders.protocol import FrameSource
from selsa_server.run_context import RunContext, Stopwatch
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.index import VideoIndex
from selsa_server.video.prepared import TimedFrame

# Size of an index: 8 bytes for the time stamp and 1 for `keyframe`.
BYTES_PER_FRAME: Final = 9


class ConfinedVideo:
    """See `OpenVideo`.

    Args:
        limits: the largest video that is taken.
        preprocess: how frames are made ready.
        begin: starts a process that may read the file.
        stopped: polled while waiting for the index.
    """

    def __init__(
        self,
        path: Path,
        limits: VideoLimits,
        preprocess: Preprocess,
        begin: Callable[[], DecoderProcess],
        stopped: Callable[[], bool],
    ) -> None:
        self._path = path
        self._preprocess = preprocess
        self._work = Interruptible(begin)
        try:
            self.index = _index(self._work.process(), path, limits, stopped)
        except BaseException:
            self._work.close()
            raise

    def frames(
        self, wanted: Sequence[int], run: RunContext, *, tolerant: bool
    ) -> FrameSource[TimedFrame | CorruptFrame]:
        """See `OpenVideo`."""
        return FrameSource(self._frames(wanted, run.clock, tolerant=tolerant), self._work.interrupt)

    @property
    def released(self) -> bool:
        """Whether no process runs for the video."""
        return self._work.closed

    def release(self) -> None:
        """End the process; the next call of `frames` starts another one."""
        self._work.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.close()

    def _frames(
        self, wanted: Sequence[int], clock: Stopwatch, *, tolerant: bool
    ) -> Generator[TimedFrame | CorruptFrame, None, None]:
        process = self._work.process()
        order = DecodeFile(
            path=self._path, index=self.index, wanted=wanted, preprocess=self._preprocess, tolerant=tolerant
        )
        with killed_if_interrupted(process):
            process.tell(order)
            for index in wanted:
                process.tell(Next())
                answer, _ = process.hear()
                if not isinstance(answer, FrameAnswer | CorruptAnswer) or answer.index != index:
                    raise process.invalid_answer()
                answer.count(clock)
                yield video_item(answer, process)
            process.tell(Next())
            process.expect(EndAnswer).count(clock)


def _index(
    process: DecoderProcess, path: Path, limits: VideoLimits, stopped: Callable[[], bool]
) -> VideoIndex:
    process.tell(IndexFile(path, limits))
    answer, body = process.hear(stopped, body=BYTES_PER_FRAME * (limits.max_frames + 1))
    if not isinstance(answer, IndexAnswer):
        raise process.invalid_answer()
    try:
        return answer.index(body, limits)
    except ValueError as error:
        raise process.invalid_answer() from error
