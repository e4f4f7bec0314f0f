"""Records after what the whole video shows about objects is applied to all of its frames.

Two tracks may turn out to be one object only at the end, when the summary says so. So the frames of a video
with tracks wait on disk for the summary.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import Final

from selsa_server.schema.detect import FrameRecord, SummaryRecord, VideoRecord

# Bytes of records that stay in memory.
IN_MEMORY: Final = 1 << 20

Resolvable = VideoRecord | FrameRecord | SummaryRecord


class Resolver:
    """Takes the records of one video in order. Without tracks it gives each back at once."""

    def __init__(self) -> None:
        self._waiting: SpooledTemporaryFile[bytes] | None = None
        self._kind: type[FrameRecord] = FrameRecord

    def add(self, record: Resolvable) -> Iterator[Resolvable]:
        """The records that may go on: with tracks, the frames come with the summary, renamed by its aliases.

        A record class that has more fields than `FrameRecord` stays that class.
        """
        if isinstance(record, VideoRecord) and record.look_ahead is not None:
            self._waiting = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  closed in `rest`
        if isinstance(record, FrameRecord) and self._waiting is not None:
            self._kind = type(record)
            self._waiting.write(record.model_dump_json().encode() + b"\n")
            return
        if isinstance(record, SummaryRecord):
            yield from self.rest(record)
        yield record

    def rest(self, summary: SummaryRecord | None = None) -> Iterator[FrameRecord]:
        """The frames that still wait; without a summary as they are."""
        if self._waiting is None:
            return
        aliases = {} if summary is None else summary.aliases or {}
        with self._waiting as waiting:
            self._waiting = None
            waiting.seek(0)
            for line in waiting:
                yield self._kind.model_validate_json(line).with_aliases(aliases)


@contextmanager
def resolving(write: Callable[[Resolvable], None]) -> Iterator[Callable[[Resolvable], None]]:
    """A function that takes records in order and passes them on to `write`, resolved.

    Frames that still wait when the block ends without an error are written as they are.
    """
    resolver = Resolver()

    def take(record: Resolvable) -> None:
        for each in resolver.add(record):
            write(each)

    yield take
    for each in resolver.rest():
        write(each)
