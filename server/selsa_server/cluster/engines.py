"""A bundle's engines with the frame engine on the cluster; a call is repeated if its replica dies."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ray import exceptions, serve

from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import DetectionBatch, EngineInfo, Engines, Float, FrameBatch, Int, ReferenceBank
from selsa_bundle.errors import EngineError
from selsa_server.cluster.replica import ReplicaInfo, node_id, whole

# Errors of a lost replica or node; the call is repeated.
LOST: Final = (
    exceptions.RayActorError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    exceptions.OutOfMemoryError,
    exceptions.TaskCancelledError,
    exceptions.WorkerCrashedError,
    serve.exceptions.DeploymentUnavailableError,
    serve.exceptions.ReplicaUnavailableError,
)
# A batch that kills this many replicas is itself the cause.
MAX_LOST: Final = 8
# For one call, including the wait for a restarted replica or a new node.
CALL_SECONDS: Final = 600.0
LOOK_SECONDS: Final = 0.5
KEPT_BANKS: Final = 64


@dataclass(slots=True, kw_only=True)
class _SentBank:
    """The bank of a video as it lies in the object store."""

    bank: ReferenceBank
    state: object
    stored: Any


@dataclass(slots=True, eq=False, kw_only=True)
class ClusterEngines:
    """`Engines` whose frame engine, or both, are replicas on a cluster; safe for several threads.

    Attributes:
        local: engines of this process, whose sequence engine is used; None: the replicas run it.
        local_calls: calls of the local sequence engine at once.
        ended: says why the cluster can no longer answer; None while it can.
        on_close: called once.
    """

    handle: Any
    replica: ReplicaInfo
    local: Engines | None
    local_calls: threading.Semaphore
    ended: Callable[[], str | None]
    on_close: Callable[[], None] = lambda: None
    _node: str | None = field(default_factory=node_id)
    _sent: dict[int, _SentBank] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def dimensions(self) -> Dimensions:
        """Those of the replicas' engines."""
        return self.replica.dimensions

    @property
    def info(self) -> EngineInfo:
        """What the replicas run on."""
        return self.replica.info

    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: Int) -> FrameBatch:
        """Run the frame engine on some replica; see the protocol.

        The arrays lie in shared memory. Memories that came from another node may be float16.
        """
        found: FrameBatch = self._call(lambda: self.handle.run_frames.remote(frames, image_size, self._node))
        return found

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: Float, bank: ReferenceBank
    ) -> DetectionBatch:
        """Run the sequence engine; see the protocol."""
        if self.local is not None:
            with self.local_calls:
                return self.local.run_sequence(whole(batch), image_size, scale_factor, bank)
        stored = self._bank(bank)
        found: DetectionBatch = self._call(
            lambda: self.handle.run_sequence.remote(batch, image_size, scale_factor, stored)
        )
        return found

    def close(self) -> None:
        """Release the replicas."""
        on_close, self.on_close = self.on_close, lambda: None
        on_close()
        if self.local is not None:
            self.local.close()

    def _bank(self, bank: ReferenceBank) -> Any:
        """The bank in the object store, where it is put once for each of its states."""
        import ray

        if bank.state is None:
            return bank
        state = bank.state()
        with self._lock:
            sent = self._sent.get(id(bank))
            if sent is None or sent.bank is not bank or sent.state is not state:
                # A bank is used by one video in progress; the oldest banks are no longer used.
                while len(self._sent) >= KEPT_BANKS:
                    del self._sent[next(iter(self._sent))]
                # `state` is a function of this process; the arrays travel.
                arrays = ReferenceBank(valid=bank.valid, state=None, **bank.tensors)
                sent = self._sent[id(bank)] = _SentBank(bank=bank, state=state, stored=ray.put(arrays))
        return sent.stored

    def _call(self, send: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + CALL_SECONDS
        for attempt in range(MAX_LOST):
            self._check()
            try:
                return self._wait(send(), deadline)
            except LOST as error:
                lost = error
                time.sleep(min(2.0, 0.1 * 2**attempt))
            except exceptions.RayTaskError as error:
                cause = error.cause
                raise (cause if isinstance(cause, EngineError) else EngineError(_line(error))) from None
            except (exceptions.RayError, serve.exceptions.RayServeException) as error:
                raise EngineError(f"The cluster failed: {_line(error)}") from error
        raise EngineError(f"{MAX_LOST} frame engines in a row were lost with these frames.") from lost

    def _wait(self, response: Any, deadline: float) -> Any:
        while True:
            try:
                return response.result(timeout_s=LOOK_SECONDS)
            except TimeoutError as error:
                self._check()
                if time.monotonic() > deadline:
                    with suppress(Exception):
                        response.cancel()
                    raise EngineError(
                        f"No frame engine answered within {CALL_SECONDS:.0f} s; the cluster may have no room."
                    ) from error

    def _check(self) -> None:
        reason = self.ended()
        if reason is not None:
            raise EngineError(reason)


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
