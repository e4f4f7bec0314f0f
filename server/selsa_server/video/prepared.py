"""Decoded frames, resized and padded for the engines."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from selsa_bundle.preprocess import PreparedFrame, Preprocess
from selsa_server.run_context import Stopwatch
from selsa_server.video.decode import CorruptFrame, DecodedFrame, decode_frames
from selsa_server.video.index import VideoIndex

Other = TypeVar("Other")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFrame:
    """A decoded frame: index and time for its record, and the prepared pixels for the frame engine."""

    index: int
    pts: int | None
    time: float | None
    prepared: PreparedFrame


def prepare_frames(
    path: Path,
    index: VideoIndex,
    wanted: Sequence[int],
    preprocess: Preprocess,
    clock: Stopwatch,
    *,
    tolerant: bool,
    beat: Callable[[], None] = lambda: None,
) -> Generator[TimedFrame | CorruptFrame, None, None]:
    """Decode and prepare the wanted frames, in order; meant to run in a thread of its own.

    Raises:
        VideoError: the video cannot be decoded (strict decoding only).
    """
    frames = decode_frames(path, index, wanted, tolerant=tolerant, preprocess=preprocess, beat=beat)
    yield from prepared_items(frames, preprocess, clock)


def prepared_items(
    items: Generator[DecodedFrame | Other, None, None], preprocess: Preprocess, clock: Stopwatch
) -> Generator[TimedFrame | Other, None, None]:
    """Prepare the decoded frames among the items; the others stay as they are. Closes `items` at the end."""
    with closing(items):
        while True:
            with clock("decode"):
                item = next(items, None)
            if item is None:
                return
            if not isinstance(item, DecodedFrame):
                yield item
                continue
            with clock("prepare"):
                prepared = preprocess.prepare(item.pixels, item.source_size)
            yield TimedFrame(index=item.index, pts=item.pts, time=item.time, prepared=prepared)


def in_batches(
    frames: Iterable[TimedFrame | CorruptFrame], size: int
) -> Generator[tuple[list[TimedFrame], int], None, None]:
    """Groups of at most `size` frames that decoded, each with the number of corrupt frames before its end."""
    batch: list[TimedFrame] = []
    corrupt = 0
    for frame in frames:
        if isinstance(frame, CorruptFrame):
            corrupt += 1
            continue
        batch.append(frame)
        if len(batch) == size:
            yield batch, corrupt
            batch, corrupt = [], 0
    if batch or corrupt:
        yield batch, corrupt
