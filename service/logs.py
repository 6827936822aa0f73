"""Logs: one JSON object a line on stdout, for our events and for what libraries say.

A person at a terminal gets the same lines laid out by `console`.

Our own lines are written by structlog from names and fixed texts. What comes from elsewhere
(libraries by `logging`, uncaught exceptions, warnings) passes through `_Foreign`, which leaves out
exceptions' texts and local variables and hides the secrets it knows: an exception's text may quote
the very value that broke it.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol

import msgspec
import structlog
from structlog.typing import EventDict

from service import console
from service.settings import LOG_LEVELS, Settings

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
_LEVEL_NAMES: Final = sorted(((number, name) for name, number in LOG_LEVELS.items()), reverse=True)


class Correlated(Protocol):
    """The request that a line belongs to."""

    def correlation(self) -> dict[str, str]:
        """Return `request_id` and, while traced, `trace_id` and `span_id`."""
        ...


current: ContextVar[Correlated | None] = ContextVar("current", default=None)
"""The request under way in this context."""


def _json(line: EventDict) -> bytes:
    return msgspec.json.encode(line) + b"\n"


class Logger(structlog.BoundLoggerBase):
    """structlog's logger with Swift's level names; fields are keyword arguments."""

    threshold = LOG_LEVELS["info"]
    write: ClassVar[Callable[[EventDict], bytes]] = _json

    def emit(self, level: str, event: str, **fields: object) -> None:
        """Write a line, if `level` is logged.

        Not by way of structlog's processors, of which there would be one: they copy the fields four
        times.
        """
        if LOG_LEVELS[level] >= self.threshold:
            self._logger.msg(_render(level, event, fields))

    def log(self, level: int, event: str, **fields: object) -> None:
        self.emit(_level_name(level), event, **fields)

    def debug(self, event: str, **fields: object) -> None:
        """Write a line at debug."""
        self.emit("debug", event, **fields)

    def notice(self, event: str, **fields: object) -> None:
        """Write a line at notice."""
        self.emit("notice", event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write a line at warning."""
        self.emit("warning", event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Write a line at error."""
        self.emit("error", event, **fields)


class _Stdout:
    """Writes whole lines to stdout as it is at the time, so that it can be redirected."""

    def msg(self, line: bytes) -> None:
        try:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        except (AttributeError, OSError, ValueError):
            # Whoever read our logs is gone; that is no reason to fail a request.
            return


def _render(level: str, event: str, fields: dict[str, object]) -> bytes:
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    line = {
        "timestamp": f"{_second(seconds)}.{milliseconds:03}Z",
        "level": level,
        "event": event,
        **fields,
        **structlog.contextvars.get_contextvars(),
    }
    return Logger.write(line)


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]


log = Logger(_Stdout(), processors=[], context={})
"""The logger of all rooms."""


def configure(settings: Settings | None = None) -> None:
    """Send everything this process has to say through `log`, from now on.

    Without settings, which may be what is wrong, the level is the default.
    """
    level = LOG_LEVELS[settings.log_level] if settings else LOG_LEVELS["info"]
    Logger.threshold = level
    Logger.write = _written(settings.log_format if settings else None)
    root = logging.getLogger()
    root.handlers = [_Foreign(settings.secrets if settings else ())]
    root.setLevel(level)
    # uvicorn's own lines say what ours say; they are kept for whoever looks for a cause. Never at
    # its trace level, where it logs every ASGI message, paths and queries included.
    curious = level <= LOG_LEVELS["debug"]
    logging.getLogger("uvicorn").setLevel(logging.DEBUG if curious else logging.ERROR)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def _written(log_format: str | None) -> Callable[[EventDict], bytes]:
    """Return what writes lines in `log_format`; without one, as befits whoever reads stdout."""
    if log_format is None:
        log_format = "console" if console.is_terminal(sys.stdout) else "json"
    if log_format == "json":
        return _json
    return console.Lines(colours=console.has_colours(sys.stdout))


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Log what goes wrong in callbacks and forgotten tasks of `loop`."""
    loop.set_exception_handler(_uncaught_in_loop)


def exception(error: BaseException) -> dict[str, object]:
    """Describe an exception by types and places: no text of it, no value."""
    frames = traceback.extract_tb(error.__traceback__)
    cause = error.__cause__ or error.__context__
    return {
        "error_type": type(error).__qualname__,
        **({"caused_by": type(cause).__qualname__} if cause else {}),
        "stack": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


class _Foreign(logging.Handler):
    """What libraries log, as lines of ours."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {"logger": record.name}
        try:
            fields["message"] = self._redact(record.getMessage())
        except Exception as error:  # noqa: BLE001 - arguments that don't fit must not stop a line
            fields |= exception(error)
        if record.exc_info and record.exc_info[1] is not None:
            fields |= exception(record.exc_info[1])
        log.emit(_level_name(record.levelno), "library.logged", **fields)

    def _redact(self, message: str) -> str:
        for secret in self._secrets:
            message = message.replace(secret, "[redacted]")
        return message.encode(errors="backslashreplace").decode()  # JSON has no lone surrogates


def _level_name(number: int) -> str:
    return next((name for least, name in _LEVEL_NAMES if number >= least), "trace")


def _uncaught(
    _kind: type[BaseException], error: BaseException, _traceback: TracebackType | None
) -> None:
    log.emit("critical", "process.failed", **exception(error))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        log.error("thread.failed", **exception(args.exc_value))


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    if args.exc_value is not None:
        log.error("finalizer.failed", **exception(args.exc_value))


def _uncaught_in_loop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    log.error("task.failed", **(exception(error) if error is not None else {}))
