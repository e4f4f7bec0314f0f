"""Memory that a decoder and the server share: one prepared frame and a heartbeat.

Pixels never go through a socket. One frame is enough, since a decoder works only when asked for the next.
"""

import fcntl
import mmap
import os
import struct
import tempfile
from typing import Final, Self

import numpy as np
import numpy.typing as npt

# The count of beats, alone in its cache line; the pixels follow.
HEAD_BYTES: Final = 64
BEATS: Final = struct.Struct("=Q")


class SharedFrame:
    """One side's view of the memory.

    Args:
        handle: its file descriptor, which this object owns.
        writable: whether this side may write; the server only reads.
    """

    def __init__(self, handle: int, *, writable: bool) -> None:
        self.handle = handle
        self._beats = 0
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._memory = mmap.mmap(handle, os.fstat(handle).st_size, access=access)

    @classmethod
    def create(cls, frame_bytes: int) -> Self:
        """New memory for a frame of `frame_bytes`; its size is sealed.

        Raises:
            OSError: there is no memory.
        """
        handle = _memory_file()
        try:
            os.ftruncate(handle, HEAD_BYTES + frame_bytes)
            # If a decoder could shrink it, reading would crash the server.
            if hasattr(fcntl, "F_ADD_SEALS"):
                seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
                fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
            return cls(handle, writable=False)
        except BaseException:
            os.close(handle)
            raise

    def close(self) -> None:
        """Close this side; the system frees the memory when both sides are closed."""
        self._memory.close()
        os.close(self.handle)

    def beat(self) -> None:
        """Count one step of progress."""
        self._beats += 1
        BEATS.pack_into(self._memory, 0, self._beats)

    @property
    def beats(self) -> int:
        """Steps of progress that the decoder has counted."""
        return int(BEATS.unpack_from(self._memory)[0])

    def put(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Store a frame: uint8 [H, W, 3]."""
        room = np.frombuffer(self._memory, np.uint8, pixels.size, HEAD_BYTES)
        np.copyto(room.reshape(pixels.shape), pixels)

    def take(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        """A copy of the stored frame: uint8 [height, width, 3].

        Raises:
            ValueError: it would be larger than the memory.
        """
        count = height * width * 3
        return np.frombuffer(self._memory, np.uint8, count, HEAD_BYTES).reshape(height, width, 3).copy()


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("selsa-frame", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
