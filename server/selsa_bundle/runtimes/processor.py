"""What this machine's processor is called, which instructions it has, and how many cores."""

import os
import platform
from pathlib import Path
from typing import Final

CPU_INFO: Final = Path("/proc/cpuinfo")


def processor_flags(cpu_info: Path = CPU_INFO) -> frozenset[str]:
    """Names of instruction sets as Linux has them (`avx512_vnni`, `asimddp`); none where it does not say."""
    # ARM's line is called "Features".
    return frozenset(_first_line(cpu_info, "flags", "Features").split())


def usable_cores() -> int:
    """Logical processors on which this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name(cpu_info: Path = CPU_INFO) -> str:
    """As its maker calls it."""
    return _first_line(cpu_info, "model name") or platform.processor() or "unknown processor"


def _first_line(cpu_info: Path, *names: str) -> str:
    try:
        lines = cpu_info.read_text().splitlines()
    except OSError:
        return ""
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in fields if name.strip() in names), "")
