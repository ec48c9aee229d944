"""Structured logs: one JSON line an event in production, readable on a terminal."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from hookmill.config.options import Log
from hookmill.telemetry import catalog

_HIDDEN = "[hidden]"
_SENSITIVE = ("secret_text", "password", "authorization", "token", "key", "body", "signature")
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)
"""Where it was raised, without the values of variables: those may be secrets and bodies."""


_least = [0]
"""The level that lines must have to be written, so that one that is not costs next to nothing:
0.2 µs instead of 4 for each delivery, at level info."""


def configure(options: Log, **bound: Any) -> None:
    """Set up logging for this process; `bound` (its part, its instance) is in every line."""
    console = options.format == "console" or (options.format == "auto" and sys.stderr.isatty())
    last: list[Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=_colours(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if console
        else [_TRACEBACKS, _render_json]
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
        logger_factory=_losing(
            structlog.WriteLoggerFactory(sys.stderr)
            if console
            else structlog.BytesLoggerFactory(sys.stderr.buffer)
        ),
        cache_logger_on_first_use=False,
    )
    _least[0] = _LEVELS[options.level]
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)
    _adopt_libraries()


def forget() -> None:
    """As if nothing had been configured, for tests."""
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    _least[0] = 0


def say(event: str, **fields: Any) -> None:
    """Log an event of the catalog at its level; raises KeyError for one that is not in it."""
    level = _LEVELS[catalog.EVENTS[event][0]]
    if level >= _least[0]:
        structlog.get_logger().log(level, event, **fields)


def bound(**fields: Any) -> FilteringBoundLogger:
    """A logger for a team's own lines; each carries these fields."""
    logger: FilteringBoundLogger = structlog.get_logger(**fields)
    return logger


class _Losing:
    """A logger whose lines are counted and lost where they cannot be written (a closed pipe, a full
    disk): no delivery is refused and no partition stops for want of a log."""

    def __init__(self, logger: WrappedLogger) -> None:
        self._logger = logger

    def __getattr__(self, method: str) -> Callable[..., None]:
        write = getattr(self._logger, method)

        def write_or_lose(*line: Any) -> None:
            try:
                write(*line)
            except (OSError, ValueError):  # ValueError: the stream is closed
                catalog.LOG_LINES_LOST.inc()

        return write_or_lose


def _losing(factory: Callable[..., WrappedLogger]) -> Callable[..., _Losing]:
    return lambda *given: _Losing(factory(*given))


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
