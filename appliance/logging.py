"""Logging: one JSON object a line for the journal, aligned text for people; always on stderr.

Bodies, tokens and query strings are never logged, and neither is the text of an unexpected exception, which may quote
any of them: `code_path` says where it was raised instead.
"""

import contextlib
import logging
import sys
import traceback
from typing import Literal

import structlog

LogFormat = Literal["json", "text"]


def configure_logging(level: str, log_format: LogFormat, *, process: str) -> None:
    """Send structlog and the standard library's loggers to stderr; `process` names this one on every line."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    )

    def name_process(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["process"] = process
        return event

    structlog.configure(
        processors=[name_process, *shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_StderrLogger,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=max(number, logging.WARNING), stream=sys.stderr, format="%(name)s: %(message)s", force=True
    )


class _StderrLogger:
    """Writes lines to stderr. A full disk behind it costs lines, never a request."""

    def __init__(self, *_names: object) -> None:
        self._stream = sys.stderr

    def msg(self, line: str) -> None:
        """One line."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = fatal = log = msg


def code_path(exc: BaseException) -> list[str]:
    """Where an exception was raised, innermost last: "appliance/http/connection.py:312 _serve". No values."""
    frames = traceback.extract_tb(exc.__traceback__)[-8:]
    return ["/".join(f"{frame.filename}:{frame.lineno}".split("/")[-3:]) + f" {frame.name}" for frame in frames]


def log_internal_error(log: structlog.typing.FilteringBoundLogger, exc: BaseException) -> None:
    """A fault of ours in a task that goes on: what and where, without a traceback, which would hold values."""
    log.error("internal error", exception=type(exc).__qualname__, where=code_path(exc))
