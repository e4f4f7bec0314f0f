"""Decoding in this process."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from selsa_bundle.preprocess import Preprocess
from selsa_server.decoders.protocol import Drawing, DrawOrder, FrameSource, LiveOrder, OpenVideo
from selsa_server.render.video import DrawnVideo
from selsa_server.run_context import RunContext
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.index import VideoIndex, index_video
from selsa_server.video.live.container import LiveCounts
from selsa_server.video.live.frames import PreparedLiveItem, prepared_live_frames
from selsa_server.video.live.input import LiveInput
from selsa_server.video.prepared import TimedFrame, prepare_frames


class LocalDecoders:
    """Decoding in this process: for trusted files only, since a crash of the decoder ends the process."""

    def open(self, path: Path, limits: VideoLimits, preprocess: Preprocess, run: RunContext) -> OpenVideo:
        """See `Decoders`."""
        del run
        return _LocalVideo(path, index_video(path, limits), preprocess)

    def live(
        self, source: LiveInput, order: LiveOrder, run: RunContext, counts: LiveCounts
    ) -> FrameSource[PreparedLiveItem]:
        """See `Decoders`."""
        frames = prepared_live_frames(
            source, order.container, order.options, order.preprocess, run.clock, counts
        )
        return FrameSource(frames)

    def draw(self, order: DrawOrder, run: RunContext) -> Drawing:
        """See `Decoders`."""
        del run
        return DrawnVideo(order.source, order.out, order.index, order.params, max_bytes=order.max_bytes)


class _LocalVideo:
    """A file that this process reads. `frames` opens it; between calls it is closed."""

    def __init__(self, path: Path, index: VideoIndex, preprocess: Preprocess) -> None:
        self._path = path
        self._preprocess = preprocess
        self.index = index

    def frames(
        self, wanted: Sequence[int], run: RunContext, *, tolerant: bool
    ) -> FrameSource[TimedFrame | CorruptFrame]:
        frames = prepare_frames(
            self._path, self.index, wanted, self._preprocess, run.clock, tolerant=tolerant
        )
        return FrameSource(frames)

    @property
    def released(self) -> bool:
        return True

    def release(self) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return
