"""System calls that Python has no functions for, through the C library."""

import ctypes
import os
from functools import cache
from typing import Any, Final

# From linux/prctl.h.
PR_SET_PDEATHSIG: Final = 1
PR_SET_SECCOMP: Final = 22
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_NO_NEW_PRIVS: Final = 39


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *arguments: Any) -> int:
    """prctl(2), four arguments or fewer.

    Raises:
        OSError: the kernel refuses.
    """
    padded = [_wide(each) for each in (*arguments, *(0,) * (4 - len(arguments)))]
    result = int(_libc().prctl(ctypes.c_int(option), *padded))
    if result < 0:
        raise _error("prctl")
    return result


def system_call(number: int, *arguments: Any) -> int:
    """Any system call by its number.

    Raises:
        OSError: the kernel refuses, or does not have it.
    """
    result = int(_libc().syscall(ctypes.c_long(number), *map(_wide, arguments)))
    if result < 0:
        raise _error(f"system call {number}")
    return result


def _wide(value: Any) -> Any:
    """Integers as full registers; otherwise the C library reads undefined upper halves."""
    return ctypes.c_long(value) if isinstance(value, int) else value


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
