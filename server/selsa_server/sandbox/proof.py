"""Self-test of confinement: try what is forbidden."""

import mmap
import os
import resource
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Final

from selsa_server.sandbox.kernel import PR_GET_NO_NEW_PRIVS, prctl

# Only reserves address space, so that nothing but the limit can refuse it.
MUCH: Final = 1 << 40
SET_ASIDE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE


def prove(missing: Mapping[str, str]) -> dict[str, str]:
    """Try what a confined process must not be able to do.

    Args:
        missing: parts of `confine.PARTS` that are known to be missing, which are not tried.

    Returns:
        Other parts that are not effective, each with what was possible.
    """
    tried = (each for each in ATTEMPTS if each[0] not in missing)
    return {name: text for name, text, attempt in tried if _succeeds(attempt)}


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, MemoryError, ValueError):
        return False
    return True


def _take_memory() -> None:
    mmap.mmap(-1, MUCH, flags=SET_ASIDE, prot=mmap.PROT_READ).close()


def _open_another_file() -> None:
    os.close(os.open(sys.executable, os.O_RDONLY))


def _make_a_socket() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()


def _start_a_process() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _gain_privileges() -> None:
    if prctl(PR_GET_NO_NEW_PRIVS) == 1:
        raise PermissionError


def _become_another_user() -> None:
    os.setuid(1 if os.getuid() == 0 else 0)


def _raise_a_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 16, 1 << 16))


# Part, what could be done, and how.
ATTEMPTS: Final[tuple[tuple[str, str, Callable[[], object]], ...]] = (
    ("memory", "a terabyte of memory could be reserved", _take_memory),
    ("resources", "a limit could be raised", _raise_a_limit),
    ("privileges", "a program could give it privileges", _gain_privileges),
    ("files", "another file could be opened", _open_another_file),
    ("system calls", "a socket could be made", _make_a_socket),
    ("system calls", "a process could be started", _start_a_process),
    # Must be the last attempt: if it succeeds, the process has fewer rights afterwards.
    ("privileges", "the process could change its user", _become_another_user),
)
