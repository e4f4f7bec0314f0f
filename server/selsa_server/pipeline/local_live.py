"""Detection without a server on a video that is still arriving: the live run, called directly."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from selsa_server.errors import DetectError
from selsa_server.pipeline.live_run import LiveRun
from selsa_server.pipeline.local import local_pipeline
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.run_context import RunContext
from selsa_server.schema.detect import FrameRecord, SummaryRecord, VideoRecord
from selsa_server.schema.stream import StreamStart
from selsa_server.video.live.input import LiveInput, LiveMessage

# Bytes that wait to be decoded; after that the source has to wait.
BUFFER_BYTES: Final = 1 << 20

Piece = bytes | tuple[bytes, float]
Records = Iterator[VideoRecord | FrameRecord | SummaryRecord]


def stream(
    pieces: Iterable[Piece],
    start: StreamStart,
    *,
    bundle: Path | None,
    say: Callable[[str], None],
    engines: Mapping[str, str] = MappingProxyType({}),
) -> Records:
    """Detect on a live video with the bundle in a folder.

    Args:
        pieces: the container's bytes, or images, each alone or with its time in seconds; read in a thread.
        start: what they are and what is asked for.
        bundle: the folder; None: SELSA_BUNDLE, or the packaged default.
        say: gets a message with the bundle if none was named.
        engines: the `provider`, `precision` and `size` to run in, where they were named.

    Raises:
        BundleError: the bundle cannot be used, or not as `engines` asks for.
        DetectError: as `LiveRun.records`.
        Exception: whatever the pieces raise.
    """
    return stream_on(local_pipeline(bundle, say, engines), pieces, start)


def stream_on(pipeline: DetectionPipeline, pieces: Iterable[Piece], start: StreamStart) -> Records:
    """`stream` on a pipeline that is loaded already."""
    pipeline.check(start)
    feed = _Feed(pieces)
    stopped = threading.Event()
    try:
        for record in LiveRun(pipeline, start, feed.source, RunContext(stopped=stopped.is_set)).records():
            # Records from before the source failed are valid, a summary is not.
            if isinstance(record, SummaryRecord) and feed.failure is not None:
                break
            yield record
    except DetectError:
        if feed.failure is None:
            raise
    finally:
        stopped.set()
        feed.leave()
    if feed.failure is not None:
        raise feed.failure


class _Feed:
    """Puts pieces into a live input, in a thread that is never joined: a camera's read may not return."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.source = LiveInput(BUFFER_BYTES)
        self.failure: Exception | None = None
        self._left = threading.Event()
        threading.Thread(target=self._put_all, args=(pieces,), name="live source", daemon=True).start()

    def leave(self) -> None:
        """Stop: no more pieces are taken."""
        self._left.set()
        self.source.abort()

    def _put_all(self, pieces: Iterable[Piece]) -> None:
        try:
            for piece in pieces:
                self.source.put(LiveMessage(piece) if isinstance(piece, bytes) else LiveMessage(*piece))
                if self._left.is_set():
                    break
        except Exception as error:  # noqa: BLE001 - raised where the records are read
            self.failure = error
        finally:
            self.source.end()
            # A file or camera is released in the thread that reads it.
            if isinstance(pieces, Generator):
                pieces.close()
