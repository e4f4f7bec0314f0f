"""The interface of decoding: in this process (`local`), or in confined processes (`selsa_server.confined`).

Both run the same functions, so no result depends on which one is passed in.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from selsa_bundle.preprocess import Preprocess
from selsa_server.run_context import RunContext
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.schema.stream import LiveContainer
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.index import VideoIndex
from selsa_server.video.live.container import LiveCounts, LiveOptions
from selsa_server.video.live.frames import PreparedLiveItem
from selsa_server.video.live.input import LiveInput
from selsa_server.video.prepared import TimedFrame

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FrameSource(Generic[T]):
    """Frames that are decoded when they are asked for.

    Attributes:
        items: the frames; only one thread may iterate.
        interrupt: ends the current step of `items` soon, if possible; called from another thread.
    """

    items: Generator[T, None, None]
    interrupt: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOrder:
    """How a live source is decoded and prepared."""

    container: LiveContainer
    options: LiveOptions
    preprocess: Preprocess


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawOrder:
    """A video to draw: the file and its index, a new file, and the parameters of the detection.

    `max_bytes`: how large the new file may become; None: no bound.
    """

    source: Path
    out: Path
    index: VideoIndex
    params: DetectParams
    max_bytes: int | None = None


class OpenVideo(Protocol):
    """One video file, open for reading. A context manager."""

    @property
    def index(self) -> VideoIndex:
        """The result of pass 1."""
        ...

    def frames(
        self, wanted: Sequence[int], run: RunContext, *, tolerant: bool
    ) -> FrameSource[TimedFrame | CorruptFrame]:
        """The frames `wanted`, as `prepare_frames` gives them; one such source at a time."""
        ...

    @property
    def released(self) -> bool:
        """Whether no process is held for the video, so that leaving the context takes no time."""
        ...

    def release(self) -> None:
        """End the process that is held for the video; the next call of `frames` starts another one."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Drawing(Protocol):
    """Writes a drawn video. A context manager; see `DrawnVideo`."""

    def write(self, record: VideoRecord | FrameRecord | SummaryRecord) -> None:
        """Draw a record."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Decoders(Protocol):
    """Decodes. Every method works in the calling thread, and several threads may call it."""

    def open(self, path: Path, limits: VideoLimits, preprocess: Preprocess, run: RunContext) -> OpenVideo:
        """Open and index a file whose frames are then prepared by `preprocess`.

        Args:
            limits: the largest video that is taken.
            preprocess: how its frames are made ready.
            run: its `stopped` ends the wait for the index.

        Raises:
            VideoError: no video, no frames, or over a limit.
            DecoderError: the decoder failed.
            StoppedError: the run was stopped.
        """
        ...

    def live(
        self, source: LiveInput, order: LiveOrder, run: RunContext, counts: LiveCounts
    ) -> FrameSource[PreparedLiveItem]:
        """Frames of a live source, as `prepared_live_frames` gives them."""
        ...

    def draw(self, order: DrawOrder, run: RunContext) -> Drawing:
        """Writes the drawn video; its methods raise what `DrawnVideo` and `open` raise."""
        ...
