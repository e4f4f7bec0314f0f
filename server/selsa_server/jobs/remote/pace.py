"""The least rate at which bytes of others must arrive, so that a slow sender holds nothing for long."""

import time
from collections.abc import AsyncIterator

import anyio


class TooSlowError(Exception):
    """Too few bytes arrived in a window of time."""

    def __init__(self, arrived: int, window: float, enough: float) -> None:
        super().__init__(f"{arrived} bytes arrived in {window:g} s; {enough:g} or more must, without a pause")
        self.arrived = arrived
        self.window = window
        self.enough = enough


async def paced(chunks: AsyncIterator[bytes], window: float, rate: float) -> AsyncIterator[bytes]:
    """The chunks, as long as they arrive at the least rate or faster.

    Args:
        chunks: bytes as they arrive.
        window: seconds over which the rate is averaged, and the longest pause.
        rate: bytes a second.

    Raises:
        TooSlowError: no byte arrived for `window`, or too few in such a window.
    """
    enough = rate * window
    started, arrived = time.monotonic(), 0
    stream = aiter(chunks)
    while True:
        elapsed = time.monotonic() - started
        if arrived >= enough and elapsed >= window:
            started, arrived, elapsed = time.monotonic(), 0, 0.0
        # Of bytes that have arrived already, the last are read even if the time is over.
        patience = window if arrived >= enough else max(0.001, window - elapsed)
        try:
            with anyio.fail_after(patience):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise TooSlowError(arrived, window, enough) from error
        if chunk is None:
            return
        arrived += len(chunk)
        yield chunk
