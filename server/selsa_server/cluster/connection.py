"""The connection to a Ray cluster: joining, errors in one line, and leaving.

This process joins as a node without cores. Ray's objects are then in shared memory of this machine, and this
process survives the death of a head elsewhere.
"""

import ctypes
import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Final

ANSWER_SECONDS: Final = 5.0
JOIN_SECONDS: Final = 60.0
# On a busy machine a node may start too slowly for Ray.
JOIN_TRIES: Final = 3
TOO_SLOW: Final = "timed out during startup"
END_SECONDS: Final = 10.0
PR_SET_PDEATHSIG: Final = 1
# No usage reports and no dashboard, unless the environment asks for them. Serve's controller compares once a
# second what runs with what should run, instead of ten times.
QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "1",
}


class ClusterError(Exception):
    """The cluster cannot be used; the message says why on one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConnection:
    """A cluster that this process is connected to.

    Attributes:
        head: host and port of its head.
        own: whether it is a new cluster on this machine for this process alone.
    """

    head: tuple[str, int]
    own: bool


@contextmanager
def connected(address: str | None, object_store: int | None) -> Iterator[ClusterConnection]:
    """Connect to the cluster whose head is at `address`, or to a new cluster on this machine.

    Args:
        address: HOST:PORT; None: a new cluster, which ends with the block.
        object_store: bytes of shared memory for objects on this machine; None: Ray's own choice.

    Raises:
        ClusterError: no cluster answers there, or one of another version, or Ray is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            f"a cluster needs the cluster extra: pip install 'selsa[cluster]' ({error.name} is missing)"
        ) from error
    logging.getLogger("ray").setLevel(logging.WARNING)
    if address is None:
        # Explicit, because RAY_ADDRESS could name another cluster.
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=object_store,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            head = _split(ray.get_runtime_context().gcs_address)
            yield ClusterConnection(head=head, own=True)
        finally:
            ray.shutdown()
        return
    head = _split(address)
    _check_answers(address, head)
    with ExitStack() as stack:
        folder = _join(stack, address, object_store)
        try:
            # The folder tells several nodes of this machine apart.
            ray.init(address=address, _temp_dir=folder, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises no specific type here
            raise ClusterError(_why(address, str(error))) from error
        try:
            yield ClusterConnection(head=head, own=False)
        finally:
            # Without a head, Ray would wait for it in `shutdown`.
            if answers(head):
                ray.shutdown()


def _join(stack: ExitStack, address: str, object_store: int | None) -> str:
    """Start a node that ends with the stack; its folder."""
    for tries_left in range(JOIN_TRIES - 1, -1, -1):
        try:
            return stack.enter_context(_node(address, object_store))
        except ClusterError as error:
            if TOO_SLOW not in str(error) or not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def answers(head: tuple[str, int], seconds: float = ANSWER_SECONDS) -> bool:
    """Whether something listens at the head's address."""
    with suppress(OSError), socket.create_connection(head, seconds):
        return True
    return False


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _check_answers(address: str, head: tuple[str, int]) -> None:
    try:
        socket.create_connection(head, ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClusterError(f"no Ray cluster answers at {address}: {reason}") from error


@contextmanager
def _node(address: str, object_store: int | None) -> Iterator[str]:
    """A node of the cluster in processes of this machine, without cores; gives its folder."""
    name = f"selsa-{socket.gethostname()}-{secrets.token_hex(4)}"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}", "--block"]
    command += [f"--node-name={name}", "--num-cpus=0", "--num-gpus=0", "--disable-usage-stats"]
    if object_store is not None:
        command.append(f"--object-store-memory={object_store}")
    with (
        # Ray makes sockets below it, whose paths must be short.
        tempfile.TemporaryDirectory(prefix="selsa-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as said,
        subprocess.Popen(  # noqa: S603 - the address was checked, and no shell reads it
            [*command, f"--temp-dir={folder}"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        ) as process,
    ):
        try:
            _wait_until_joined(process, said, address)
            yield folder
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _end_with_parent() -> None:
    """Called in the new process: Linux ends the node if its owner is killed; other systems do not."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_joined(process: "subprocess.Popen[bytes]", said: IO[bytes], address: str) -> None:
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        ended = process.poll() is not None
        text = _text(said)
        if "Ray runtime started" in text and not ended:
            return
        if ended:
            raise ClusterError(_why(address, text))
        if time.monotonic() > deadline:
            raise ClusterError(
                f"what listens at {address} does not answer as a Ray cluster within {JOIN_SECONDS:.0f} s"
            )
        time.sleep(0.1)


def _text(said: IO[bytes]) -> str:
    return os.pread(said.fileno(), 1 << 20, 0).decode(errors="replace")


def _why(address: str, text: str) -> str:
    """Why Ray does not connect, from its many lines."""
    versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", text)
    if len(versions) >= 2:
        (theirs, their_python), (ours, our_python) = versions[:2]
        return (
            f"the Ray cluster at {address} has Ray {theirs} and Python {their_python}, here are Ray {ours} "
            f"and Python {our_python}; they have to be the same"
        )
    if "uthentication" in text or "token" in text.lower():
        return f"the Ray cluster at {address} wants another token than the one here: set RAY_AUTH_TOKEN"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"the Ray cluster at {address} cannot be used: {lines[-1][:300] if lines else 'Ray says nothing'}"
