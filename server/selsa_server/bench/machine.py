"""The machine that figures were made on."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from typing import Final

from selsa_bundle.runtimes.processor import processor_flags, processor_name, usable_cores

# Instruction sets that decide how fast a precision is.
TELLING: Final = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "amx_tile",
    "asimd", "asimddp", "bf16", "i8mm", "sve",
)  # fmt: skip
DISTRIBUTIONS: Final = (
    "selsa", "numpy", "opencv-python-headless", "av", "onnxruntime", "onnxruntime-gpu", "openvino",
    "tensorrt", "tensorrt-rtx-cu13-bindings", "torch", "torchvision",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """This machine at one moment.

    Attributes:
        instructions: those of `TELLING` that it has.
        cores: that this process may use.
        memory: in bytes; 0 if the system does not report it.
        accelerators: NVIDIA GPUs with their drivers, as `nvidia-smi` names them.
        busy: load average of the last minute, None if unknown. A value far above the number of measured
            processes means that other programs used part of the machine.
        date: ISO 8601, UTC.
    """

    processor: str
    instructions: tuple[str, ...]
    cores: int
    memory: int
    accelerators: tuple[str, ...]
    system: str
    python: str
    versions: dict[str, str]
    busy: float | None
    date: str

    @classmethod
    def here(cls) -> "Machine":
        """This machine, now."""
        installed = {each.name: each.version for each in distributions()}
        return cls(
            processor=processor_name(),
            instructions=tuple(flag for flag in TELLING if flag in processor_flags()),
            cores=usable_cores(),
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0,
            accelerators=_accelerators(),
            system=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            versions={name: installed[name] for name in DISTRIBUTIONS if name in installed},
            busy=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def __str__(self) -> str:
        """Two lines for a terminal."""
        versions = ", ".join(f"{name} {each}" for name, each in self.versions.items())
        hardware = ", ".join((self.processor, *self.accelerators, *self.instructions))
        load = "" if self.busy is None else f"; load average {self.busy:g}"
        return f"{hardware}, {self.cores} cores{load}\nPython {self.python}, {versions}, {self.date}"


def _accelerators() -> tuple[str, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    command = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 - a fixed command
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in said.stdout.splitlines() if line.strip())
