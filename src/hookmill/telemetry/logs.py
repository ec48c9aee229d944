"""Structured logs: one JSON line an event in production, readable on a terminal."""

import logging
import os
import sys
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from hookmill.config.options import Log
from hookmill.telemetry import catalog

_HIDDEN = "[hidden]"
_SENSITIVE = ("secret_text", "password", "authorization", "token", "key", "body", "signature")
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(options: Log, **bound: Any) -> None:
    """Set up logging for this process; `bound` (its part, its instance) is in every line."""
    console = options.format == "console" or (options.format == "auto" and sys.stderr.isatty())
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=_colours())]
        if console
        else [structlog.processors.dict_tracebacks, _render_json]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[options.level]),
        logger_factory=(
            structlog.WriteLoggerFactory(sys.stderr)
            if console
            else structlog.BytesLoggerFactory(sys.stderr.buffer)
        ),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)
    _adopt_libraries()


def say(event: str, **fields: Any) -> None:
    """Log an event of the catalog at its level; raises KeyError for one that is not in it.

    A line that cannot be written (its pipe is closed, its disk full) is counted and lost: no
    delivery is refused and no partition stops for want of a log.
    """
    level, _ = catalog.EVENTS[event]
    try:
        structlog.get_logger().log(_LEVELS[level], event, **fields)
    except (OSError, ValueError):  # ValueError: the stream is closed
        catalog.LOG_LINES_LOST.inc()


def _redact(_: WrappedLogger, __: str, fields: EventDict) -> EventDict:
    for name in fields:
        if name in _SENSITIVE:
            fields[name] = _HIDDEN
    return fields


def _render_json(_: WrappedLogger, __: str, fields: EventDict) -> bytes:
    try:
        return msgspec.json.encode(fields, enc_hook=str)
    except UnicodeEncodeError:  # a file name or a header that is no UTF-8
        readable = {name: _readable(value) for name, value in fields.items()}
        return msgspec.json.encode(readable, enc_hook=str)


def _readable(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else _utf8(str(value))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _colours() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


class _Adopted(logging.Handler):
    """Sends the lines of libraries the way of our own; their texts may quote no request."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            error = record.exc_info[1] if record.exc_info else None
            structlog.get_logger().log(
                logging.WARNING if record.levelno < logging.ERROR else logging.ERROR,
                "library",
                logger=record.name,
                message=record.getMessage()[:500],
                error=f"{type(error).__name__}: {error}"[:300] if error else None,
            )
        except Exception:  # logging's own rule: a bad line never raises where it is said
            self.handleError(record)


def _adopt_libraries() -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Adopted()]
    root.setLevel(logging.WARNING)
    # aiokafka reports each retried request as an error; what matters of it we say ourselves
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
