"""A process gives up everything that it does not need, before it reads hostile bytes.

Kernels and containers differ, so each part may be missing; a missing part is reported with its reason.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from selsa_server.sandbox.allowance import Allowance
from selsa_server.sandbox.kernel import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, prctl, system_call
from selsa_server.sandbox.landlock import restrict_files
from selsa_server.sandbox.seccomp import restrict_system_calls

LINUX: Final = sys.platform == "linux"
OPEN_FILES: Final = 32
SIGKILL: Final = 9
# System call numbers of capget and capset, and the capabilities by which root reads files of other users.
CAPABILITY_CALLS: Final = {"x86_64": (125, 126), "aarch64": (90, 91)}
CAPABILITY_VERSION: Final = 0x20080522
CAP_DAC_OVERRIDE: Final = 1 << 1


def confine(allowance: Allowance) -> dict[str, str]:
    """Give up everything but `allowance`, in this process and for good.

    Returns:
        The parts of `PARTS` that are missing, each with the reason.
    """
    missing: dict[str, str] = {}
    for name, give_up in PARTS.items():
        try:
            give_up(allowance)
        except (OSError, NotImplementedError, ValueError) as error:
            missing[name] = str(error)
    return missing


def die_with_parent(parent: int) -> None:
    """End this process when its parent ends; at once if `parent` has ended already."""
    if LINUX:
        prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _limit_memory(allowance: Allowance) -> None:
    _only_on_linux()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + allowance.memory)


def _limit_resources(allowance: Allowance) -> None:
    # At the soft limit it gets a signal that ends it, at the hard limit it is killed.
    _limit(resource.RLIMIT_CPU, allowance.cpu_seconds, allowance.cpu_seconds + 1)
    _limit(resource.RLIMIT_FSIZE, allowance.file_bytes)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(which: int, value: int, hard: int | None = None) -> None:
    _, before = resource.getrlimit(which)
    wanted = value if hard is None else hard
    most = wanted if before == resource.RLIM_INFINITY else min(wanted, before)
    resource.setrlimit(which, (min(value, most), most))


def _give_up_privileges(allowance: Allowance) -> None:
    del allowance
    _only_on_linux()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    calls = CAPABILITY_CALLS.get(os.uname().machine)
    if calls is None:
        raise NotImplementedError(f"the calls of {os.uname().machine} are not known")
    get, put = calls
    head = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    # Effective, permitted and inheritable capabilities: the lower 32 bits of each, then the upper ones.
    sets = (ctypes.c_uint32 * 6)()
    system_call(get, head, sets)
    kept = sets[0] & CAP_DAC_OVERRIDE
    system_call(put, head, (ctypes.c_uint32 * 6)(kept, kept))


def _give_up_files(allowance: Allowance) -> None:
    _only_on_linux()
    restrict_files(allowance.readable, allowance.writable)


def _give_up_system_calls(allowance: Allowance) -> None:
    del allowance
    _only_on_linux()
    restrict_system_calls()


def _only_on_linux() -> None:
    if not LINUX:
        raise NotImplementedError(f"{sys.platform} does not offer it")


# In this order: Landlock and seccomp need the privileges to be given up, and seccomp forbids the other calls.
PARTS: Final[dict[str, Callable[[Allowance], None]]] = {
    "memory": _limit_memory,
    "resources": _limit_resources,
    "privileges": _give_up_privileges,
    "files": _give_up_files,
    "system calls": _give_up_system_calls,
}
