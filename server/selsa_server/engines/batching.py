"""Engine calls of many videos as few large ones: batching across requests.

Calls of the frame engine with the same padded size are merged, of any caller. Calls of the sequence
engine are not, because each video has its own bank; they wait in the same queue, because two calls at once
would compete for the same cores.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import DetectionBatch, EngineInfo, Engines, Float, FrameBatch, Int, ReferenceBank
from selsa_server.engines.call_queue import Call, CallQueue
from selsa_server.run_context import RunContext, StoppedError

# A waiting caller polls `RunContext.stopped` this often, in seconds.
LOOK_SECONDS: Final = 0.05
FRAME: Final = "frame_engine"
SEQUENCE: Final = "sequence_engine"
QUEUE: Final = "queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingOptions:
    """How calls are merged: no result depends on these.

    Attributes:
        max_batch: frames in one merged call; a single call may have more.
        max_wait: seconds that a call waits for others to be merged with it.
        calls_at_once: engine calls that run at the same time.
    """

    max_batch: int = 8
    max_wait: float = 0.005
    calls_at_once: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCall:
    """One call that an engine ran.

    Attributes:
        callers: number of calls that were merged into it.
        frames: of all merged calls together.
        seconds: that it took.
        failed: whether it raised.
    """

    engine: Literal["frame_engine", "sequence_engine"]
    callers: int
    frames: int
    seconds: float
    failed: bool


class BatchingEngines:
    """`Engines` that wrap others for callers in many threads. Owns the threads in which the engines run."""

    def __init__(
        self,
        engines: Engines,
        options: BatchingOptions,
        on_call: Callable[[EngineCall], None] = lambda _: None,
    ) -> None:
        self._engines = engines
        self._on_call = on_call
        self._queue = CallQueue(max_frames=options.max_batch, max_wait=options.max_wait)
        self._threads = [
            threading.Thread(target=self._work, name=f"selsa-engine-{number}", daemon=True)
            for number in range(options.calls_at_once)
        ]
        self._start = threading.Lock()
        self._started = False

    @property
    def dimensions(self) -> Dimensions:
        """Dimensions of the wrapped engines."""
        return self._engines.dimensions

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        return self._engines.info

    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: Int) -> FrameBatch:
        """Run the frame engine, maybe together with other calls; see the protocol."""
        return self.caller().run_frames(frames, image_size)

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: Float, bank: ReferenceBank
    ) -> DetectionBatch:
        """Run the sequence engine when its turn comes; see the protocol."""
        return self.caller().run_sequence(batch, image_size, scale_factor, bank)

    def caller(self, run: RunContext | None = None) -> "CallerEngines":
        """The engines for one run, whose waiting calls end when it stops. Without a run, for any thread."""
        return CallerEngines(self, run)

    def close(self) -> None:
        """Answer every waiting call with an error, wait for the one that runs, and close the engines."""
        self._queue.close()
        with self._start:
            if self._started:
                for thread in self._threads:
                    thread.join()
        self._engines.close()

    def submit(self, call: Call, run: RunContext | None) -> Any:
        """Queue a call and wait for its result.

        Raises:
            EngineError: the engine failed, or was closed.
            StoppedError: the run was stopped first; no engine ran for the call.
        """
        self._ensure_started()
        self._queue.put(call)
        if run is None:
            return call.future.result()
        while True:
            try:
                return call.future.result(LOOK_SECONDS)
            except TimeoutError:
                if call.future.done():
                    return call.future.result()
                if run.stopped() and self._queue.withdraw(call):
                    raise StoppedError from None

    def _ensure_started(self) -> None:
        with self._start:
            if not self._started:
                self._started = True
                for thread in self._threads:
                    thread.start()

    def _work(self) -> None:
        while group := self._queue.take():
            started = time.monotonic()
            for call in group:
                call.waited = started - call.arrived
            results: Sequence[Any] = ()
            failure: BaseException | None = None
            try:
                results = self._run(group)
            except BaseException as error:  # noqa: BLE001 - the callers get it
                failure = error
            self._tell(group, time.monotonic() - started, failed=failure is not None)
            self._queue.answered(group)
            for position, call in enumerate(group):
                if failure is not None:
                    call.future.set_exception(failure)
                else:
                    call.future.set_result(results[position])

    def _run(self, group: Sequence[Call]) -> Sequence[Any]:
        first = group[0]
        if first.engine == SEQUENCE:
            return [self._engines.run_sequence(*first.inputs)]
        if len(group) == 1:
            return [self._engines.run_frames(*first.inputs)]
        pixels = np.concatenate([call.inputs[0] for call in group])
        sizes = np.concatenate([call.inputs[1] for call in group])
        merged = self._engines.run_frames(pixels, sizes)
        ends = np.cumsum([call.frames for call in group])
        return [merged[int(end) - call.frames : int(end)] for end, call in zip(ends, group, strict=True)]

    def _tell(self, group: Sequence[Call], seconds: float, *, failed: bool) -> None:
        self._on_call(
            EngineCall(
                engine="sequence_engine" if group[0].engine == SEQUENCE else "frame_engine",
                callers=len(group),
                frames=sum(call.frames for call in group),
                seconds=seconds,
                failed=failed,
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class CallerEngines:
    """The shared `Engines` for one caller, which makes a few calls at a time.

    The seconds that its calls wait are counted as part `queue` of the run and not as the engine's part.
    """

    _shared: BatchingEngines
    _run: RunContext | None

    @property
    def dimensions(self) -> Dimensions:
        """Dimensions of the wrapped engines."""
        return self._shared.dimensions

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        return self._shared.info

    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: Int) -> FrameBatch:
        """Run the frame engine; see the protocol. Raises `StoppedError` when the run is stopped."""
        result: FrameBatch = self._call(FRAME, frames.shape[1:3], len(frames), (frames, image_size))
        return result

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: Float, bank: ReferenceBank
    ) -> DetectionBatch:
        """Run the sequence engine; see the protocol. Raises `StoppedError` as `run_frames` does."""
        inputs = (batch, image_size, scale_factor, bank)
        result: DetectionBatch = self._call(SEQUENCE, None, len(batch), inputs)
        return result

    def close(self) -> None:
        """Nothing: the engines belong to all callers."""

    def _call(self, engine: str, key: Hashable | None, frames: int, inputs: tuple[Any, ...]) -> Any:
        run = self._run
        # Without a run, several threads may call.
        caller = self if run is not None else threading.get_ident()
        call = Call(engine=engine, key=key, frames=frames, inputs=inputs, caller=caller)
        try:
            return self._shared.submit(call, run)
        finally:
            if run is not None:
                run.clock.add(QUEUE, call.waited)
                run.clock.add(engine, -call.waited)
