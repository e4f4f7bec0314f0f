"""Whether a process with a limit on its address space has come to it.

FFmpeg says "does not decode" where it got no memory, and "no memory" where a file asks for absurd amounts; so
an error alone tells nothing.
"""

import os
import re
import sys
from typing import Final

PEAK: Final = re.compile(rb"^VmPeak:\s+(\d+) kB$", re.MULTILINE)
# Allocations fail before the limit is touched, and pictures are the largest ones.
LEAST: Final = 64 << 20
SHARE: Final = 4


class MemoryShortage:
    """Made before the limit holds and files are given up.

    Args:
        memory: bytes of address space that may be taken from now on.
    """

    def __init__(self, memory: int) -> None:
        self._file: int | None = None
        if sys.platform == "linux":
            self._file = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
            self._limit = self._peak() + memory - max(LEAST, memory // SHARE)

    def seen(self) -> bool:
        """Whether so much was taken at any time that the next picture may have found no room."""
        return self._file is not None and self._peak() > self._limit

    def _peak(self) -> int:
        assert self._file is not None
        found = PEAK.search(os.pread(self._file, 4096, 0))
        return int(found[1]) * 1024 if found else 0
