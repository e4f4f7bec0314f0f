"""Decodes the frames of a source again, in step with their records."""

from bisect import bisect_left
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from selsa_server.errors import VideoError
from selsa_server.schema.detect import FrameRecord
from selsa_server.video.decode import CorruptFrame, DecodedFrame, decode_frames
from selsa_server.video.index import VideoIndex


class FramesAgain:
    """Reads the frames of a video a second time, to draw on them. A context manager.

    Args:
        index: result of pass 1.
        wanted: source indices, ascending, of every record that may be asked about.
        beat: called with every packet, as a sign of progress.
    """

    def __init__(
        self,
        path: Path,
        index: VideoIndex,
        wanted: Sequence[int],
        *,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        # Tolerant: damaged frames have no record, or detection has failed before.
        self._frames: Generator[DecodedFrame | CorruptFrame, None, None] = decode_frames(
            path, index, wanted, tolerant=True, beat=beat
        )
        self._wanted = wanted
        self._count = len(index)
        self._closing = closing(self._frames)

    def __enter__(self) -> Self:
        self._closing.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.__exit__(kind, error, trace)

    def wants(self, record: FrameRecord) -> bool:
        """Whether the record's frame is among `wanted`."""
        place = bisect_left(self._wanted, record.index)
        return place < len(self._wanted) and self._wanted[place] == record.index

    def of(self, record: FrameRecord) -> DecodedFrame:
        """The frame of a record; records come in order, some may be left out.

        Raises:
            VideoError: the source has no such frame: the records are of another file, or it has changed.
        """
        for frame in self._frames:
            if frame.index == record.index and isinstance(frame, DecodedFrame):
                return frame
            if frame.index >= record.index:
                break
        raise VideoError(
            "undecodable",
            f"Frame {record.index} of {self._count} was detected on and does not decode again; has the file "
            "changed?",
        )
