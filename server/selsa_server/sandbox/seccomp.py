"""A seccomp filter: refuses system calls that are useful to an attacker and not needed here.

A list of refused calls, not of allowed ones: the calls of a C library, a codec or Python change with each
version, and a list of allowed calls that is too short would refuse good files. Landlock covers files.

The filter is built in the kernel's format (linux/filter.h, linux/seccomp.h), since the packages for it have
had no release for years.
"""

import ctypes
import errno
import platform
import struct
from dataclasses import dataclass
from typing import Final

from selsa_server.sandbox.kernel import PR_SET_SECCOMP, prctl

MODE_FILTER: Final = 2
KILL: Final = 0x80000000
ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EPERM
# With ENOSYS the C library falls back from `clone3` to `clone`, whose flags a filter can read.
ABSENT: Final = 0x00050000 | errno.ENOSYS

LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
HAS_BITS: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RETURN: Final = 0x06  # BPF_RET | BPF_K
# Offsets in struct seccomp_data: the number, the machine, six arguments of 64 bits (low half first).
NUMBER: Final = 0
MACHINE: Final = 4
ARGUMENTS: Final = 16

CLONE_THREAD: Final = 0x10000
# Numbers above this are calls of the x32 ABI, which would bypass a filter by number.
X32: Final = 0x40000000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """Numbers of system calls on one processor architecture.

    Attributes:
        audit: AUDIT_ARCH_* of the architecture.
        refused: the refused calls.
        clone: allowed for a new thread, refused for a new process.
        clone3: refused, since a filter cannot read its flags.
        prlimit: allowed for reading limits, refused for changing them.
    """

    audit: int
    refused: tuple[int, ...]
    clone: int
    clone3: int = 435
    prlimit: int


# Mounts by the new interface, io_uring, handles of processes, secret memory, advice to other processes.
_EVERYWHERE: Final = (424, 425, 426, 427, 428, 429, 430, 432, 433, 434, 438, 440, 442, 447)
# In the order of each list: networking; programs and processes; other processes' memory; signals to them;
# shared memory and queues; namespaces and mounts; keys, modules and the like; files by handle; limits.
_MACHINES: Final = {
    "x86_64": _Machine(
        audit=0xC000003E,
        refused=(
            *(41, 42, 43, 49, 50, 53, 288),
            *(57, 58, 59, 322),
            *(101, 310, 311, 312),
            *(62, 129, 200, 234, 297),
            *(29, 30, 64, 68, 240, 319),
            *(155, 161, 165, 166, 272, 308),
            *(135, 167, 169, 175, 179, 246, 248, 249, 250, 298, 300, 313, 320, 321, 323),
            *(303, 304),
            160,
            *_EVERYWHERE,
        ),
        clone=56,
        prlimit=302,
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        refused=(
            *(198, 199, 200, 201, 202, 203, 242),
            *(221, 281),
            *(117, 270, 271, 272),
            *(129, 130, 131, 138, 240),
            *(180, 186, 190, 194, 196, 279),
            *(39, 40, 41, 51, 97, 268),
            *(60, 92, 104, 105, 142, 217, 218, 219, 224, 241, 262, 273, 280, 282, 294),
            *(264, 265),
            164,
            *_EVERYWHERE,
        ),
        clone=220,
        prlimit=261,
    ),
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def restrict_system_calls() -> None:
    """Refuse these calls to this process from now on; it must have given up new privileges before.

    No socket can be made, no program or process started, no other process looked at or signalled, nothing
    mounted, no limit changed. Open sockets stay, and threads can be started.

    Raises:
        OSError: the kernel refuses.
        NotImplementedError: the numbers of this kind of processor are not known.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise NotImplementedError(f"the calls of {platform.machine()} are not known")
    code = _filter(machine)
    prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(_Program(len(code) // 8, code)))


def _filter(machine: _Machine) -> bytes:
    """The filter as BPF. A jump counts the instructions that it leaves out."""
    steps = [
        _step(LOAD, MACHINE),
        _step(EQUAL, machine.audit, 1, 0),
        _step(RETURN, KILL),
        _step(LOAD, NUMBER),
        _step(AT_LEAST, X32, 0, 1),
        _step(RETURN, KILL),
        *_when(machine.clone3, _step(RETURN, ABSENT)),
        *_when(
            machine.clone,
            _step(LOAD, ARGUMENTS),
            _step(HAS_BITS, CLONE_THREAD, 1, 0),
            _step(RETURN, REFUSE),
            _step(RETURN, ALLOW),
        ),
        # prlimit(process, what, new, old): of this process, and without new ones.
        *_when(machine.prlimit, *_zero(0), *_zero(4), *_zero(5), _step(RETURN, ALLOW)),
    ]
    for number in machine.refused:
        steps += _when(number, _step(RETURN, REFUSE))
    return b"".join([*steps, _step(RETURN, ALLOW)])


def _when(number: int, *steps: bytes) -> list[bytes]:
    """Steps for one call, of which the last one returns."""
    return [_step(EQUAL, number, 0, len(steps)), *steps]


def _zero(half: int) -> list[bytes]:
    """Refuses unless that half of the arguments, counted from 0, is zero."""
    return [_step(LOAD, ARGUMENTS + 4 * half), _step(EQUAL, 0, 1, 0), _step(RETURN, REFUSE)]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
