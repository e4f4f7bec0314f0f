"""Shared parts of confined files and confined live sources."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from selsa_bundle.preprocess import PreparedFrame
from selsa_server.confined.answers import CorruptAnswer, FrameAnswer
from selsa_server.confined.process import DecoderProcess
from selsa_server.errors import DetectError
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.prepared import FrameInHand


class Interruptible:
    """A process that is started on demand and that another thread may end, also before it is started."""

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
        """Wait until it has ended; another one may be started later."""
        process, self._process = self._process, None
        if process is not None:
            process.close()


@contextmanager
def to_the_end(process: DecoderProcess) -> Iterator[None]:
    """A block that asks a process for everything there is; left early, it ends the process.

    An error of the video leaves it: it has nothing more to do then.
    """
    try:
        yield
    except DetectError:
        raise
    except BaseException:
        process.kill()
        raise


def video_item(answer: FrameAnswer | CorruptAnswer, process: DecoderProcess) -> FrameInHand | CorruptFrame:
    """What the pipeline makes of an answer, whose pixels are fetched.

    Raises:
        DecoderError: the answer is not valid.
    """
    if isinstance(answer, CorruptAnswer):
        return CorruptFrame(answer.index)
    try:
        pixels = process.frame.take(*answer.shape)
    except ValueError as error:
        raise process.senseless() from error
    height, width = answer.image_size
    if height > answer.shape[0] or width > answer.shape[1]:
        raise process.senseless()
    prepared = PreparedFrame(pixels=pixels, image_size=answer.image_size, scale_factor=answer.scale_factor)
    return FrameInHand(index=answer.index, pts=answer.pts, time=answer.time, prepared=prepared)
