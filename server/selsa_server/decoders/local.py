"""Decoding in this process."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from selsa_bundle.preprocess import Preprocess
from selsa_server.decoders.protocol import Drawing, FrameSource, OpenVideo
from selsa_server.render.video import DrawnVideo
from selsa_server.run_context import RunContext
from selsa_server.schema.detect import DetectParams
from selsa_server.schema.stream import LiveContainer
from selsa_server.video.container import VideoLimits
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.index import VideoIndex, index_video
from selsa_server.video.live.container import LiveCounts, LiveOptions
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
        self,
        source: LiveInput,
        container: LiveContainer,
        options: LiveOptions,
        preprocess: Preprocess,
        run: RunContext,
        counts: LiveCounts,
    ) -> FrameSource[PreparedLiveItem]:
        """See `Decoders`."""
        return FrameSource(prepared_live_frames(source, container, options, preprocess, run.clock, counts))

    def draw(
        self,
        source: Path,
        out: Path,
        index: VideoIndex,
        params: DetectParams,
        run: RunContext,
        *,
        max_bytes: int | None,
    ) -> Drawing:
        """See `Decoders`."""
        del run
        return DrawnVideo(source, out, index, params, max_bytes=max_bytes)


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
