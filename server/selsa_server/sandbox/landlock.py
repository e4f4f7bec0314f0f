"""Landlock: a process can open only the files that it names, for the rest of its life.

Uses the kernel's interface (linux/landlock.h), three system calls: the Python packages for it are new.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from selsa_server.sandbox.kernel import system_call

# Numbers that are the same on all machines.
CREATE_RULESET: Final = 444
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446
ASK_VERSION: Final = 1
PATH_BENEATH: Final = 1

WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
TRUNCATE: Final = 1 << 14
# How many file rights each version knows. All are withdrawn; a kernel refuses rights that it does not know.
FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
TCP_SINCE: Final = 4
TCP_RIGHTS: Final = 0b11  # bind and connect
SCOPES_SINCE: Final = 6
SCOPES: Final = 0b11  # abstract sockets and signals to processes outside


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("handle", ctypes.c_int32)]


def restrict_files(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Restrict this process to these files; also forbid TCP and signals where the kernel supports it.

    Args:
        readable: files that can be read.
        writable: existing files that can be read, written and truncated.

    Raises:
        OSError: the kernel has no Landlock, or a file does not exist.
    """
    version = system_call(CREATE_RULESET, None, 0, ASK_VERSION)
    known = (1 << FILE_RIGHTS[min(version, max(FILE_RIGHTS))]) - 1
    ruleset = _Ruleset(
        known, TCP_RIGHTS if version >= TCP_SINCE else 0, SCOPES if version >= SCOPES_SINCE else 0
    )
    # A kernel accepts a shorter structure as an older one, and a longer one if the unknown fields are zero.
    handle = system_call(CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    try:
        for path in readable:
            _allow(handle, path, READ_FILE)
        for path in writable:
            _allow(handle, path, (READ_FILE | WRITE_FILE | TRUNCATE) & known)
        system_call(RESTRICT_SELF, handle, 0)
    finally:
        os.close(handle)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(rights, handle)
        system_call(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(handle)
