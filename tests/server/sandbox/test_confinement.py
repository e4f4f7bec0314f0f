"""What a confined process cannot do, tried in one; and that a decoder is such a process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from fakes import FORK_SERVER
from live_server import wait_until

from selsa_server.confined.check import unconfined
from selsa_server.confined.process import DecoderProcess
from selsa_server.confined.rules import DecoderRules
from selsa_server.doctor.doctor import confinement_findings
from selsa_server.sandbox.confine import PARTS

# Everything is imported before, since a confined process can import nothing.
CONFINED = """
import encodings.idna, json, os, resource, socket, sys, threading, traceback
from pathlib import Path
import numpy as np
from selsa_server.sandbox.allowance import Allowance
from selsa_server.sandbox.confine import confine
folder = Path(sys.argv[1])
readable, writable, other = (folder / name for name in ("readable", "writable", "other"))
files = {"readable": (readable,), "writable": (writable,)}
parent = os.getppid()
found = {"missing": confine(Allowance(**files, memory=256 << 20, cpu_seconds=60, file_bytes=1000))}
for attempt in json.loads(sys.argv[2]):
    try:
        exec(attempt)
        found[attempt] = "done"
    except BaseException as error:
        found[attempt] = type(error).__name__.removeprefix("_Array")
print(json.dumps(found), flush=True)
os._exit(0)
"""
SPINNING = """
from selsa_server.sandbox.allowance import Allowance
from selsa_server.sandbox.confine import confine
confine(Allowance(memory=1 << 30, cpu_seconds=1))
while True:
    pass
"""
# A process can have sixteen layers of Landlock, so here another one is refused.
WITHOUT_LANDLOCK = """
import ctypes, json, os, sys
from selsa_server.confined.check import unconfined
from selsa_server.confined.rules import DecoderRules
from selsa_server.confined.fork_server import ForkServer
from selsa_server.sandbox.kernel import PR_SET_NO_NEW_PRIVS, prctl, system_call
prctl(PR_SET_NO_NEW_PRIVS, 1)
make_fifo = (ctypes.c_uint64 * 1)(1 << 10)
for _ in range(16):
    system_call(446, system_call(444, ctypes.byref(make_fifo), 8, 0), 0)
with ForkServer() as fork_server:
    print(json.dumps(unconfined(fork_server, DecoderRules())), flush=True)
command = "from selsa_client.cli.main import main; main()"
os.execv(sys.executable, [sys.executable, "-c", command, *sys.argv[1:]])
"""
FORBIDDEN = (
    "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
    "socket.socket(socket.AF_UNIX)",
    "socket.socketpair()",
    "Path('/etc/passwd').read_bytes()",
    "os.listdir('/')",
    "other.read_text()",
    "readable.write_text('more')",
    "other.unlink()",
    "(folder / 'new').write_text('x')",
    "os.open('/proc/self/mem', os.O_RDWR)",
    "os.fork()",
    "os.execv('/bin/true', ['true'])",
    "os.kill(parent, 0)",
    "resource.prlimit(parent, resource.RLIMIT_NOFILE)",
    "os.memfd_create('x')",
    "os.setuid(1 if os.getuid() == 0 else 0)",
)
OVER_A_LIMIT = {
    "np.ones(300 << 20, np.uint8)": "MemoryError",
    "writable.write_bytes(bytes(2000))": "OSError",
    "[os.dup(0) for _ in range(40)]": "OSError",
    "resource.setrlimit(resource.RLIMIT_CPU, (90, 90))": "ValueError",
    "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))": "ValueError",
}
ALLOWED = (
    "assert readable.read_text() == 'text'",
    "writable.write_text('more'); assert writable.read_text() == 'more'",
    "thread = threading.Thread(target=int); thread.start(); thread.join()",
    "np.ones(100 << 20, np.uint8)",
)


def tried(folder: Path, attempts: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """A process that confines itself, then tries these things."""
    for name in ("readable", "writable", "other"):
        (folder / name).write_text("text")
    command = [sys.executable, "-c", CONFINED, folder, json.dumps(attempts)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    ended = tried(tmp_path_factory.mktemp("files"), (*ALLOWED, *FORBIDDEN, *OVER_A_LIMIT))
    assert ended.returncode == 0, ended.stderr
    outcomes: dict[str, str] = json.loads(ended.stdout)
    missing = outcomes.pop("missing")
    if missing:
        pytest.skip(f"this system does not confine everything: {missing}")
    return outcomes


def test_what_decoding_has_no_use_for_is_refused(found: dict[str, str]) -> None:
    assert {each: found[each] for each in FORBIDDEN} == dict.fromkeys(FORBIDDEN, "PermissionError")


def test_limits_hold_and_cannot_be_raised(found: dict[str, str]) -> None:
    assert {each: found[each] for each in OVER_A_LIMIT} == OVER_A_LIMIT


def test_what_decoding_needs_is_left(found: dict[str, str]) -> None:
    assert {each: found[each] for each in ALLOWED} == dict.fromkeys(ALLOWED, "done")


def test_processor_time_ends() -> None:
    ended = subprocess.run([sys.executable, "-c", SPINNING], check=False)
    assert ended.returncode == -signal.SIGXCPU


def test_a_decoder_is_confined_in_every_way_that_this_system_has() -> None:
    missing = unconfined(FORK_SERVER, DecoderRules())
    assert missing.keys() <= PARTS.keys()
    findings = list(confinement_findings())
    assert [each.status for each in findings] == (["warn"] * len(missing) or ["ok"])
    assert all(each.remedy for each in findings if each.status != "ok")


def test_what_is_not_had_is_told_and_a_server_that_requires_it_does_not_start(
    found: dict[str, str], tmp_path: Path
) -> None:
    assert found
    serve = ["serve", "--port", "0", "--spool-dir", tmp_path, "--confinement", "required"]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_LANDLOCK, *serve], capture_output=True, text=True, check=False
    )
    assert json.loads(ended.stdout).keys() == {"files"}
    assert ended.returncode == 3
    assert "confinement is required" in ended.stderr
    assert "(files: " in ended.stderr


def test_proof_finds_what_an_unconfined_process_can_do() -> None:
    # In a process of its own, which it leaves as another user.
    code = "from selsa_server.sandbox.proof import prove; print(*sorted(prove({})), sep=',')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"files", "memory", "privileges", "system calls"} <= set(ended.stdout.strip().split(","))


def test_a_decoder_has_nothing_of_the_server() -> None:
    rules = DecoderRules()
    process = DecoderProcess(FORK_SERVER, rules, rules.reading())
    try:
        assert FORK_SERVER.pid is not None
        fork_server = psutil.Process(FORK_SERVER.pid)
        wait_until(lambda: bool(fork_server.children()))
        (decoder,) = fork_server.children()
        assert fork_server.num_threads() == 1
        assert os.getsid(fork_server.pid) != os.getsid(0)
        assert not {"HOME", "USER", "PYTEST_CURRENT_TEST"} & set(fork_server.environ())
        open_files = Path(f"/proc/{decoder.pid}/fd")
        # Its status tells it how much memory it has taken.
        known = {"memfd", "null", "socket", "status"}
        wait_until(lambda: {kind_of(each) for each in open_files.iterdir()} == known)
        assert [kind_of(each) for each in open_files.iterdir()].count("socket") == 1
    finally:
        process.close()


def kind_of(link: Path) -> str:
    """What an open file is: memfd:name (deleted), socket:[number] or a path."""
    return link.readlink().name.partition(":")[0]
