"""Many short texts in two arrays. Python strings would take 80 MB for 1.1 million frames."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class NameTable:
    """Immutable texts, by index.

    Attributes:
        blob: uint8, the texts one after another in UTF-8.
        starts: int64 [N + 1], where each begins.
    """

    blob: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, names: Iterable[str]) -> "NameTable":
        """The table of some texts, in order."""
        blob, starts = bytearray(), [0]
        for name in names:
            blob += name.encode()
            starts.append(len(blob))
        return cls(np.frombuffer(bytes(blob), np.uint8), np.asarray(starts, np.int64))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"name {index} of {len(self)}")
        return self.blob[self.starts[index] : self.starts[index + 1]].tobytes().decode()
