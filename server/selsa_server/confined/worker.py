"""The decoder process: it confines itself, then carries out orders.

The functions that decode are those of `LocalDecoders`. One process does this for one video and ends.
It answers only when asked, so it does not decode ahead: the queue in the server bounds that.
"""

import os
import pickle
import re
import sys
import traceback
from collections.abc import Callable, Generator
from dataclasses import asdict
from typing import Final, NoReturn, TypeVar

import cv2

from selsa_server.confined.answers import (
    Answer,
    CorruptAnswer,
    DoneAnswer,
    EndAnswer,
    FailedAnswer,
    FrameAnswer,
    HeadAnswer,
    IndexAnswer,
    InputFailedAnswer,
    NeedsInputAnswer,
    ReadyAnswer,
    RefusedAnswer,
)
from selsa_server.confined.channel import Channel
from selsa_server.confined.orders import (
    Begin,
    DecodeFile,
    DrawRecord,
    Finish,
    IndexFile,
    LivePiece,
    Next,
    Order,
    Prove,
)
from selsa_server.confined.outcome import OUT_OF_MEMORY, UNCONFINED
from selsa_server.confined.shared_frame import SharedFrame
from selsa_server.decoders.protocol import DrawOrder, LiveOrder
from selsa_server.errors import DetectError, shortage
from selsa_server.render.video import DrawnVideo
from selsa_server.run_context import Stopwatch
from selsa_server.sandbox.confine import confine
from selsa_server.sandbox.proof import prove
from selsa_server.video.decode import CorruptFrame
from selsa_server.video.index import index_video
from selsa_server.video.live.container import LiveCounts, LiveHead
from selsa_server.video.live.frames import prepared_live_frames
from selsa_server.video.live.input import LiveMessage
from selsa_server.video.prepared import TimedFrame, prepare_frames

MAX_ORDER: Final = 1 << 31
MAX_TRACE: Final = 15_000
# Codes of errors that FFmpeg may raise because memory is short.
MAY_BE_MEMORY: Final = frozenset({"undecodable", "truncated", "not_a_video", "frame_too_large"})
PEAK: Final = re.compile(rb"^VmPeak:\s+(\d+) kB$", re.MULTILINE)
# A large allocation fails while the peak is still below the limit. Memory counts as short within this margin.
LEAST: Final = 64 << 20
SHARE: Final = 4

OrderType = TypeVar("OrderType")
Item = TimedFrame | CorruptFrame | LiveHead


class _ServerGoneError(Exception):
    """The server closed the connection."""


class _InputFailedError(DetectError):
    """The live source failed. The server knows the error; this one only ends the decoding."""

    def __init__(self) -> None:
        super().__init__("internal_error", "The live source failed.")


def serve(channel: Channel, frame: SharedFrame) -> NoReturn:
    """Carry out orders until the server closes the connection, then end the process."""
    status = 1
    try:
        status = _Worker(channel, frame).run()
    except _ServerGoneError:
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY
    finally:
        os._exit(status)


class _Worker:
    """Reads orders and carries them out."""

    def __init__(self, channel: Channel, frame: SharedFrame) -> None:
        self._channel = channel
        self._frame = frame
        self._clock = Stopwatch(("decode", "prepare"))
        self._missing: dict[str, str] = {}
        self._shortage: _MemoryShortage | None = None

    def run(self) -> int:
        """Carry out orders until the server closes the connection; returns an exit status."""
        begin = self._order(Begin)
        self._shortage = _MemoryShortage(begin.allowance.memory)
        self._missing = confine(begin.allowance)
        if self._missing and begin.required:
            return UNCONFINED
        self._answer(ReadyAnswer(missing=self._missing))
        while True:
            order = self._next_order()
            try:
                self._carry_out(order)
            except (_ServerGoneError, MemoryError):
                raise
            except _InputFailedError:
                self._answer(InputFailedAnswer())
            except DetectError as error:
                if error.code in MAY_BE_MEMORY:
                    self._check_memory()
                self._answer(RefusedAnswer.of(error))
            except Exception as error:
                if (short := shortage(error)) is not None:
                    self._answer(RefusedAnswer.of(short))
                    continue
                if isinstance(error, cv2.error) and "Insufficient memory" in str(error):
                    raise MemoryError from error
                self._answer(FailedAnswer(trace=traceback.format_exc()[-MAX_TRACE:]))

    def _carry_out(self, order: Order) -> None:
        match order:
            case IndexFile():
                self._answer(*IndexAnswer.of(index_video(order.path, order.limits, beat=self._frame.beat)))
            case DecodeFile():
                self._decode_file(order)
            case LiveOrder():
                self._decode_live(order)
            case DrawOrder():
                self._draw(order)
            case Prove():
                self._answer(ReadyAnswer(missing=prove(self._missing)))
            case _:
                raise TypeError(f"{type(order).__name__} is not expected here")

    def _decode_file(self, order: DecodeFile) -> None:
        frames = prepare_frames(
            order.path,
            order.index,
            order.wanted,
            order.preprocess,
            self._clock,
            tolerant=order.tolerant,
            beat=self._frame.beat,
        )
        self._give(frames, LiveCounts())

    def _decode_live(self, order: LiveOrder) -> None:
        counts = LiveCounts()
        frames = prepared_live_frames(
            _RemoteInput(self._ask_for_input),
            order.container,
            order.options,
            order.preprocess,
            self._clock,
            counts,
            beat=self._frame.beat,
        )
        self._give(frames, counts)

    def _give(self, items: Generator[Item, None, None], counts: LiveCounts) -> None:
        """Answer each `Next` order with one item."""
        while True:
            self._order(Next)
            item = next(items, None)
            so_far = {**self._clock.take(), **asdict(counts)}
            self._answer(self._step(item).model_copy(update=so_far))
            if item is None:
                return

    def _step(self, item: Item | None) -> FrameAnswer | CorruptAnswer | HeadAnswer | EndAnswer:
        if item is None:
            return EndAnswer()
        if isinstance(item, CorruptFrame):
            self._check_memory()
            return CorruptAnswer(index=item.index)
        if isinstance(item, LiveHead):
            return HeadAnswer.of(item)
        prepared = item.prepared
        self._frame.put(prepared.pixels)
        return FrameAnswer(
            index=item.index,
            pts=item.pts,
            time=item.time,
            shape=prepared.pixels.shape[:2],
            image_size=prepared.image_size,
            scale_factor=prepared.scale_factor,
        )

    def _draw(self, order: DrawOrder) -> None:
        drawn = DrawnVideo(
            order.source,
            order.out,
            order.index,
            order.params,
            max_bytes=order.max_bytes,
            beat=self._frame.beat,
        )
        with drawn:
            self._answer(DoneAnswer())
            while not isinstance(next_ := self._next_order(), Finish):
                if not isinstance(next_, DrawRecord):
                    raise TypeError(f"{type(next_).__name__} is not expected here")
                drawn.write(next_.record)
                self._answer(DoneAnswer())
        self._answer(DoneAnswer())

    def _check_memory(self) -> None:
        """A decoding error after memory ran short is not the video's fault."""
        if self._shortage is not None and self._shortage.seen():
            raise MemoryError

    def _ask_for_input(self) -> LivePiece:
        self._answer(NeedsInputAnswer())
        return self._order(LivePiece)

    def _order(self, kind: type[OrderType]) -> OrderType:
        order = self._next_order()
        if not isinstance(order, kind):
            raise TypeError(f"{type(order).__name__} is not expected here")
        return order

    def _next_order(self) -> Order:
        try:
            message = self._channel.receive(MAX_ORDER)
        except OSError as error:
            raise _ServerGoneError from error
        if message is None:
            raise _ServerGoneError
        order: Order = pickle.loads(message[1])  # noqa: S301 - of the server, whose process this is
        return order

    def _answer(self, answer: Answer, body: bytes = b"") -> None:
        try:
            self._channel.send(answer.model_dump_json().encode(), body)
        except OSError as error:
            raise _ServerGoneError from error


class _RemoteInput:
    """A live source whose messages the server sends on request."""

    def __init__(self, ask: Callable[[], LivePiece]) -> None:
        self._ask = ask

    def get(self) -> LiveMessage | None:
        """As `LiveInput.get`."""
        piece = self._ask()
        if piece.failed:
            raise _InputFailedError
        return piece.message


class _MemoryShortage:
    """Whether the process came close to the limit on its address space.

    FFmpeg reports "does not decode" where it got no memory, and "no memory" where a file asks for absurd
    amounts, so an error alone tells nothing. Create it before confinement: it opens /proc/self/status.

    Args:
        memory: bytes of address space that may be taken from then on.
    """

    def __init__(self, memory: int) -> None:
        self._file: int | None = None
        if sys.platform == "linux":
            self._file = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
            self._limit = self._peak() + memory - max(LEAST, memory // SHARE)

    def seen(self) -> bool:
        """Whether the peak came so close to the limit that an allocation may have failed."""
        return self._file is not None and self._peak() > self._limit

    def _peak(self) -> int:
        assert self._file is not None
        found = PEAK.search(os.pread(self._file, 4096, 0))
        return int(found[1]) * 1024 if found else 0
