"""The installed TensorRT, of either kind.

`tensorrt` builds and runs on the GPU of this machine. `tensorrt_rtx` (or `tensorrt_rtx_bindings`, the same
without its front package) also builds for GPUs that this machine does not have.
"""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from selsa_bundle.errors import EngineError

PACKAGES: Final = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
INSTALL: Final = (
    "pip install 'selsa[server-gpu]' on a machine with an NVIDIA GPU, or 'selsa[tensorrt-rtx]' to build "
    "engines for one"
)


@dataclass(frozen=True, slots=True, order=True)
class ComputeCapability:
    """A GPU's compute capability: 8.6 is `sm86`."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> "ComputeCapability":
        """Read `86`, `8.6`, `sm86`, `sm_120` or `12.0`.

        Raises:
            ValueError: it is none of these.
        """
        match = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", text.strip().lower())
        if match is None:
            raise ValueError(f"compute capability is {text!r}; allowed is a number such as 86, 8.6 or sm86")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        """`sm86`."""
        return f"sm{self.major}{self.minor}"


@dataclass(frozen=True, slots=True)
class TensorRT:
    """An imported TensorRT.

    Attributes:
        name: `tensorrt` or `tensorrt_rtx`.
        version: its full version; an engine runs only in the version that built it.
    """

    module: Any
    name: str
    version: str

    @property
    def targets(self) -> tuple[ComputeCapability, ...]:
        """GPUs that it can build for without having them; none if it builds only for this machine's."""
        if self.name == "tensorrt":
            return ()
        names = getattr(self.module.ComputeCapability, "__members__", {})
        found = (re.fullmatch(r"SM(\d{1,2})(\d)", name) for name in names)
        return tuple(sorted(ComputeCapability(int(m[1]), int(m[2])) for m in found if m))


def import_tensorrt(packages: Sequence[str] = PACKAGES) -> TensorRT:
    """The first of the packages that can be imported.

    Raises:
        EngineError: none can be imported; if one is installed but broken, the message says why.
    """
    broken = ""
    for package in packages:
        try:
            module = importlib.import_module(package)
            return TensorRT(module, package.removesuffix("_bindings"), str(module.__version__))
        except ModuleNotFoundError as error:
            if error.name != package:
                broken = broken or f" ({package} cannot be imported: {error})"
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            broken = broken or f" ({package} cannot be imported: {error})"
    raise EngineError(f"TensorRT is not installed{broken}; {INSTALL}.")
