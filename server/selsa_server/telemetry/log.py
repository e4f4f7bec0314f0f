"""The log of a server process on stderr: text for people, or one JSON object per line."""

import logging
import sys
import time
from contextlib import suppress
from typing import Final, Literal, TextIO, cast

from selsa_bundle.runtimes.starting import without

# structlog imports rich for tracebacks, which this log does not use. Without it a server is ready a tenth
# sooner (`python -m benchmarks.speed.start --only ready`).
with without("rich"):
    import structlog

# Seconds in which one message of a library is logged once.
INTERVAL: Final = 10.0
# Messages that are remembered: a limit, so that clients cannot fill the memory.
MOST_MESSAGES: Final = 100


class LibraryLog(logging.Handler):
    """Messages of libraries (uvicorn, asyncio) as lines of the log, each at most once per interval.

    asyncio logs a message for each connection that it cannot accept, uvicorn for each that sends no HTTP.
    """

    def __init__(self) -> None:
        super().__init__()
        # Message -> (when it was logged, how often it came since).
        self._seen: dict[str, tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log one message."""
        try:
            self._log(record)
        except Exception:  # noqa: BLE001 - as all handlers of the library do
            self.handleError(record)

    def _log(self, record: logging.LogRecord) -> None:
        text, now = record.getMessage(), time.monotonic()
        # The first line: the other lines of asyncio's messages differ by connection.
        key = f"{record.name}: {text.partition(chr(10))[0]}"
        since, more = self._seen.get(key, (-INTERVAL, 0))
        if now - since < INTERVAL:
            self._seen[key] = (since, more + 1)
            return
        if len(self._seen) >= MOST_MESSAGES:
            self._seen.clear()
        self._seen[key] = (now, 0)
        fields = {"logger": record.name, **({"repeated": more} if more else {})}
        log = structlog.get_logger().bind(**fields)
        exc_info = record.exc_info if record.exc_info and record.exc_info[0] is not None else None
        log.log(record.levelno, text, **({"exc_info": exc_info} if exc_info else {}))


class _Stderr:
    """stderr for lines that may be lost: a log on a full disk must not fail a request."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


LogForm = Literal["auto", "text", "json"]


def log_is_text(form: LogForm) -> bool:
    """Whether the log is text; `auto` is text on a terminal."""
    return form == "text" or (form == "auto" and sys.stderr.isatty())


def configure_log(level: str, form: LogForm = "json") -> None:
    """Set up structlog, and the log of libraries on the same stream."""
    number = logging.getLevelNamesMapping()[level.upper()]
    text = log_is_text(form)
    last: list[structlog.types.Processor] = (
        [
            # Without the values of local variables, which may be secrets.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if text else "iso", utc=not text),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Stderr())),
    )
    logging.basicConfig(handlers=[LibraryLog()], level=max(number, logging.WARNING))
