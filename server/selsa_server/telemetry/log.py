"""The log of a server process on stderr: text for people, or one JSON object per line."""

import logging
import sys
from typing import Literal

import structlog

LogForm = Literal["auto", "text", "json"]


def log_is_text(form: LogForm) -> bool:
    """Whether the log is text; `auto` is text on a terminal."""
    return form == "text" or (form == "auto" and sys.stderr.isatty())


def configure_log(level: str, form: LogForm = "json") -> None:
    """Set up structlog, and uvicorn's log on the same stream."""
    number = logging.getLevelNamesMapping()[level.upper()]
    text = log_is_text(form)
    last: list[structlog.types.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(stream=sys.stderr, level=max(number, logging.WARNING), format="%(message)s")
