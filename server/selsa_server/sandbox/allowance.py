"""What a confined process may use."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one process may use.

    Attributes:
        readable: files that it may read.
        writable: existing files that it may write.
        memory: bytes of address space in addition to its program.
        cpu_seconds: of a processor.
        file_bytes: size that it may write a file to.
    """

    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    memory: int
    cpu_seconds: int
    file_bytes: int = 0
