"""Frames of a live source on their way to the engines: decoded as they come, resized, padded."""

from collections.abc import Callable, Generator

from selsa_bundle.preprocess import Preprocess
from selsa_server.run_context import Stopwatch
from selsa_server.schema.stream import LiveContainer
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.live.container import LiveCounts, LiveHead, LiveItem, LiveOptions, container_frames
from selsa_server.video.live.images import image_frames
from selsa_server.video.live.input import LiveFile, LiveSource
from selsa_server.video.live.mp4 import Mp4Stream
from selsa_server.video.prepared import FrameInHand

PreparedLiveItem = LiveHead | FrameInHand | CorruptFrame


def prepared_live_frames(
    source: LiveSource,
    container: LiveContainer,
    options: LiveOptions,
    preprocess: Preprocess,
    clock: Stopwatch,
    counts: LiveCounts,
    *,
    beat: Callable[[], None] = lambda: None,
) -> Generator[PreparedLiveItem, None, None]:
    """The frames in order, and before the first one what is known of them; meant for a thread of its own.

    Args:
        source: the container's bytes, or images.
        container: what they are.
        options: how to read it.
        preprocess: how frames are made ready.
        clock: its `decode` includes the time to wait for bytes.
        counts: kept up to date.
        beat: called with every frame, as a sign of progress.

    Raises:
        RequestError: times of images that go back.
        VideoError: not that container, over a limit, or (strict only) cut off or a frame does not decode.
        DetectError: what the source says that its client did wrong.
    """
    items = _items(source, container, options, counts, beat)
    try:
        while True:
            with clock("decode"):
                item = next(items, None)
            if item is None:
                return
            if isinstance(item, LiveHead | CorruptFrame):
                yield item
                continue
            with clock("prepare"):
                prepared = preprocess.prepare(item.pixels)
            yield FrameInHand(index=item.index, pts=item.pts, time=item.time, prepared=prepared)
    finally:
        items.close()


def _items(
    source: LiveSource,
    container: LiveContainer,
    options: LiveOptions,
    counts: LiveCounts,
    beat: Callable[[], None],
) -> Generator[LiveItem, None, None]:
    if container == "jpeg":
        return image_frames(source, options, counts)
    file = LiveFile(source)
    if container == "mp4":
        return container_frames(Mp4Stream(file, options.limits.max_frames), "mp4", options, counts, beat=beat)
    return container_frames(file, container, options, counts, beat=beat)
