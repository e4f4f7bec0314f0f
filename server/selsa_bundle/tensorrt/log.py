"""TensorRT's errors and progress.

Loggers and monitors are subclasses of TensorRT's classes, which exist only after its import. So functions
define the classes.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

KEPT: Final = 3
MAX_CHARACTERS: Final = 600


def build_log(trt: Any) -> Any:
    """A logger that prints nothing; `summary()` is one line of the last errors."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: deque[str] = deque(maxlen=KEPT)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self._errors.append(" ".join(message.split()))

        def summary(self) -> str:
            return "; ".join(self._errors)[:MAX_CHARACTERS] or "no reason given"

    return Log()


def build_progress(trt: Any, report: Callable[[str, float], None]) -> Any:
    """A monitor that reports the outermost phase and the share of its finished steps."""

    class Progress(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self._steps[phase_name] = num_steps
                report(phase_name, 0.0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self._steps.get(phase_name)
            if steps:
                report(phase_name, min(1.0, (step + 1) / steps))
            return True

        def phase_finish(self, phase_name: str) -> None:
            if self._steps.pop(phase_name, None) is not None:
                report(phase_name, 1.0)

    return Progress()
