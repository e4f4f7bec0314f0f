"""Making the C library give memory back, or keep it.

glibc keeps freed memory for a thread to use again, in up to eight heaps a core, and FFmpeg and the engines
allocate megabytes in many threads. So a server under mixed load would hold much more memory than it uses.

A process that decodes one video wants the opposite. Every frame has pictures of megabytes, whose pages glibc
gives back and the system clears and hands out anew: a confined decoder took 5.9 ms for a frame of 1080p, and
takes 4.0 where it keeps them (`tests/load/generator.py confinement`).
"""

import ctypes
import platform
from typing import Final

# mallopt's parameters, from malloc.h, and their values.
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
RETURN: Final = ((M_ARENA_MAX, 2), (M_MMAP_THRESHOLD, 1 << 20), (M_TRIM_THRESHOLD, 8 << 20))
# One heap for all threads, since each further one reserves address space. Allocations over 32 MB bypass it.
KEEP: Final = ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, 32 << 20), (M_TRIM_THRESHOLD, 1 << 30))


def return_freed_memory() -> bool:
    """Make glibc return freed memory. Call it before threads start. False where there is no glibc."""
    return _set(RETURN)


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory, for a process that is short-lived or only decodes.

    The process holds its peak until it ends. False where there is no glibc.
    """
    return _set(KEEP)


def _set(settings: tuple[tuple[int, int], ...]) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
