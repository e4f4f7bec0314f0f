"""Where decoding happens: in this process, or in others that are confined (`confined_decoders`).

Both run the same functions. What is passed in from outside is one of them; no result depends on which.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from selsa_bundle.preprocess import Preprocess
from selsa_server.container import VideoLimits
from selsa_server.decode import CorruptFrame
from selsa_server.drawn_video import DrawnVideo
from selsa_server.live_container import LiveCounts, LiveOptions
from selsa_server.live_frames import PreparedLiveItem, prepared_live_frames
from selsa_server.live_input import LiveInput
from selsa_server.prepared import FrameInHand, prepare_frames
from selsa_server.schema import DetectParams, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.schema_stream import LiveContainer
from selsa_server.stopwatch import Stopwatch
from selsa_server.video_index import VideoIndex, index_video

__all__ = [
    "DecoderStoppedError",
    "Decoders",
    "Drawing",
    "FrameSource",
    "LocalDecoders",
    "OpenVideo",
]

T = TypeVar("T")


class DecoderStoppedError(Exception):
    """The work was stopped while a decoder was waited for; whoever stopped it knows."""


@dataclass(frozen=True, slots=True)
class FrameSource(Generic[T]):
    """Frames that are decoded when they are asked for.

    Attributes:
        items: to be run in one thread.
        interrupt: makes a step of `items` that another thread is in end soon, if that is possible.
    """

    items: Generator[T, None, None]
    interrupt: Callable[[], None] = lambda: None


class OpenVideo(Protocol):
    """One video file that is read. A context manager."""

    @property
    def index(self) -> VideoIndex:
        """What pass 1 learned of it."""
        ...

    def frames(
        self, wanted: Sequence[int], clock: Stopwatch, *, tolerant: bool
    ) -> FrameSource[FrameInHand | CorruptFrame]:
        """The frames `wanted`, as `prepare_frames` gives them; one such source at a time."""
        ...

    @property
    def resting(self) -> bool:
        """Whether nothing is held for it, so that leaving it takes no time."""
        ...

    def rest(self) -> None:
        """Give back what is held for a video that is not read for a while."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Drawing(Protocol):
    """A drawn video that is written. A context manager; see `DrawnVideo`."""

    def write(self, record: VideoRecord | FrameRecord | SummaryRecord) -> None:
        """Draw a record."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Decoders(Protocol):
    """Whoever decodes. Everything here works in the calling thread and is safe for several of them."""

    def open(
        self, path: Path, limits: VideoLimits, preprocess: Preprocess, *, stopped: Callable[[], bool]
    ) -> OpenVideo:
        """Open and index a file whose frames are then prepared by `preprocess`.

        Args:
            path: the file.
            limits: the largest video that is taken.
            preprocess: how its frames are made ready.
            stopped: asked while it is waited for.

        Raises:
            VideoError: no video, no frames, or over a limit.
            DecoderError: the decoder failed.
            DecoderStoppedError: it was stopped.
        """
        ...

    def live(
        self,
        source: LiveInput,
        container: LiveContainer,
        options: LiveOptions,
        preprocess: Preprocess,
        clock: Stopwatch,
        counts: LiveCounts,
    ) -> FrameSource[PreparedLiveItem]:
        """Frames of a live source, as `prepared_live_frames` gives them."""
        ...

    def draw(
        self,
        source: Path,
        out: Path,
        index: VideoIndex,
        params: DetectParams,
        *,
        max_bytes: int | None,
        stopped: Callable[[], bool],
    ) -> Drawing:
        """A drawn video; its parts raise as those of `DrawnVideo`, and as `open`."""
        ...


class LocalDecoders:
    """Decoding in this process: for files that are trusted as much as it is, since a crash ends it."""

    def open(
        self, path: Path, limits: VideoLimits, preprocess: Preprocess, *, stopped: Callable[[], bool]
    ) -> OpenVideo:
        """See `Decoders`."""
        del stopped
        return _LocalVideo(path, index_video(path, limits), preprocess)

    def live(
        self,
        source: LiveInput,
        container: LiveContainer,
        options: LiveOptions,
        preprocess: Preprocess,
        clock: Stopwatch,
        counts: LiveCounts,
    ) -> FrameSource[PreparedLiveItem]:
        """See `Decoders`."""
        return FrameSource(prepared_live_frames(source, container, options, preprocess, clock, counts))

    def draw(
        self,
        source: Path,
        out: Path,
        index: VideoIndex,
        params: DetectParams,
        *,
        max_bytes: int | None,
        stopped: Callable[[], bool],
    ) -> Drawing:
        """See `Decoders`."""
        del stopped
        return DrawnVideo(source, out, index, params, max_bytes=max_bytes)


class _LocalVideo:
    """A file that this process reads; open only while it does."""

    def __init__(self, path: Path, index: VideoIndex, preprocess: Preprocess) -> None:
        self._path = path
        self._preprocess = preprocess
        self.index = index

    def frames(
        self, wanted: Sequence[int], clock: Stopwatch, *, tolerant: bool
    ) -> FrameSource[FrameInHand | CorruptFrame]:
        frames = prepare_frames(self._path, self.index, wanted, self._preprocess, clock, tolerant=tolerant)
        return FrameSource(frames)

    @property
    def resting(self) -> bool:
        return True

    def rest(self) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return
