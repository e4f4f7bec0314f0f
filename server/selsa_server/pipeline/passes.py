"""The two passes of `sequence` mode over a video: its reference frames, then its key frames."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Final

from selsa_server.decoders.protocol import FrameSource
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.prepared import TimedFrame

# Of prepared frames that a video keeps between the passes: 64 frames of the everyday model.
KEPT_BYTES: Final = 32 << 20

Item = TimedFrame | CorruptFrame


class TwoPasses:
    """The frames of both passes.

    A video whose references lie between few key frames is decoded once: these key frames are kept while the
    references are read. Other videos are decoded for each pass.

    Args:
        read: reads frames of these indices, ascending; one source at a time.
        references: ascending, each once.
        keys: ascending.
        frame_bytes: the most that a prepared frame takes.
    """

    def __init__(
        self,
        read: Callable[[Sequence[int]], FrameSource[Item]],
        references: Sequence[int],
        keys: Sequence[int],
        frame_bytes: int,
    ) -> None:
        self._read, self._references, self._keys = read, references, keys
        between = bisect_right(keys, references[-1]) if references else 0
        self._once = 0 < between * frame_bytes <= KEPT_BYTES
        self._source: FrameSource[Item] | None = None
        self._kept: deque[Item] = deque()

    def references(self) -> FrameSource[Item]:
        """The first pass."""
        if not self._once:
            return self._read(self._references)
        self._source = self._read(sorted({*self._references, *self._keys}))
        return FrameSource(self._first(self._source.items), self._source.interrupt)

    def keys(self, keys: Sequence[int]) -> FrameSource[Item]:
        """The second pass, after the whole of the first one: these of the key frames."""
        if self._source is None:
            return self._read(keys)
        return FrameSource(self._second(self._source.items, keys), self._source.interrupt)

    def close(self) -> None:
        """Stop reading."""
        if self._source is not None:
            self._source.items.close()

    def _first(self, items: Generator[Item, None, None]) -> Generator[Item, None, None]:
        references, keys = set(self._references), set(self._keys)
        try:
            for item in items:
                if item.index in keys:
                    self._kept.append(item)
                if item.index in references:
                    yield item
                if item.index == self._references[-1]:
                    return
        except BaseException:  # also where the pass ends early
            items.close()
            raise

    def _second(self, items: Generator[Item, None, None], keys: Sequence[int]) -> Generator[Item, None, None]:
        wanted = set(keys)
        with closing(items):
            while self._kept:
                if (item := self._kept.popleft()).index in wanted:
                    yield item
            yield from (item for item in items if item.index in wanted)
