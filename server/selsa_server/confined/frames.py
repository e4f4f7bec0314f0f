"""Shared parts of confined files and confined live sources."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from selsa_bundle.preprocess import PreparedFrame
from selsa_server.confined.answers import CorruptAnswer, FrameAnswer
from selsa_server.confined.process import DecoderProcess
from selsa_server.errors import DetectError
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.prepared import TimedFrame


class Interruptible:
    """A process that is started on demand. Another thread may end it, even before its start."""

    def __init__(self, begin: Callable[[], DecoderProcess]) -> None:
        self._begin = begin
        self._process: DecoderProcess | None = None
        self._interrupted = False

    @property
    def closed(self) -> bool:
        """Whether there is no process."""
        return self._process is None

    def process(self) -> DecoderProcess:
        """The process, started if necessary."""
        process = self._process = self._process or self._begin()
        if self._interrupted:
            process.kill()
        return process

    def interrupt(self) -> None:
        """End it for good, from any thread."""
        self._interrupted = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process and wait for its exit; `process` may start another one later."""
        process, self._process = self._process, None
        if process is not None:
            process.close()


@contextmanager
def killed_if_interrupted(process: DecoderProcess) -> Iterator[None]:
    """Kill the process if the block is left early, in the middle of an order.

    After a `DetectError` the order is complete, so the process is not killed.
    """
    try:
        yield
    except DetectError:
        raise
    except BaseException:
        process.kill()
        raise


def video_item(answer: FrameAnswer | CorruptAnswer, process: DecoderProcess) -> TimedFrame | CorruptFrame:
    """The item for the pipeline, with the pixels copied from the shared memory.

    Raises:
        DecoderError: the answer is not valid.
    """
    if isinstance(answer, CorruptAnswer):
        return CorruptFrame(answer.index)
    try:
        pixels = process.frame.take(*answer.shape)
    except ValueError as error:
        raise process.invalid_answer() from error
    height, width = answer.image_size
    if height > answer.shape[0] or width > answer.shape[1]:
        raise process.invalid_answer()
    prepared = PreparedFrame(pixels=pixels, image_size=answer.image_size, scale_factor=answer.scale_factor)
    return TimedFrame(index=answer.index, pts=answer.pts, time=answer.time, prepared=prepared)
