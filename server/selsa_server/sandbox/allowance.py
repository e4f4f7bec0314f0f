"""What a confined process may have."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one decoder may have.

    Attributes:
        readable: files that it may read.
        writable: files, there already, that it may write.
        memory: bytes of address space beside those that its program takes.
        cpu_seconds: of a processor.
        file_bytes: size that it may write a file to.
    """

    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    memory: int
    cpu_seconds: int
    file_bytes: int = 0
