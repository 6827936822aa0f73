"""Logs: structlog's processors; a JSON object a line on stdout, or text on a terminal.

Records of `logging` (libraries, warnings) pass through the same processors. Their messages are
foreign text: the configured secrets are redacted in them.

Exceptions are described by types and places, without their texts and local variables: these may
quote the very secret that caused the exception.
"""

import asyncio
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TextIO

import msgspec
import structlog
from structlog.contextvars import merge_contextvars
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import ExceptionRenderer, JSONRenderer, TimeStamper, add_log_level
from structlog.stdlib import ProcessorFormatter, add_logger_name
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from service.settings import LOG_LEVELS, Settings

_LEVEL_NAMES: Final = sorted(((number, name) for name, number in LOG_LEVELS.items()), reverse=True)
_NUMBERS_OF_STRUCTLOG: Final = (10, 20, 30, 40, 50)
_EVENT_WIDTH: Final = 18


class Logger(FilteringBoundLogger, Protocol):
    """structlog's filtering logger, with the level `notice` between info and warning."""

    def notice(self, event: str, **fields: Any) -> Any:  # noqa: ANN401 - as structlog's methods
        """Log `event` at notice."""

    def bind(self, **new_values: Any) -> "Logger":  # noqa: ANN401
        """Return a logger with `new_values` in each line."""


log: Logger = structlog.get_logger()
"""The logger of all modules. `request_id` and the like come from `structlog.contextvars`."""


def configure(
    settings: Settings | None = None, *, level: str = "info", log_format: str | None = None
) -> None:
    """Configure structlog, `logging` and the hooks for uncaught exceptions.

    `level` and `log_format` ("json", "console", or None: console on a terminal, otherwise JSON)
    apply without settings, which may be invalid themselves.
    """
    if settings is not None:
        level, log_format = settings.log_level, settings.log_format
    number = LOG_LEVELS[level]
    processors = _processors(log_format)
    _configure_structlog(number, processors)
    handler = _Handler(number)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[
                add_logger_name,
                _foreign(settings.secrets if settings else ()),
                merge_contextvars,
            ],
            processors=[ProcessorFormatter.remove_processors_meta, *processors],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    # uvicorn's records repeat our own events, so they are logged for debugging only. Never at its
    # trace level: it would log each ASGI message with its path and query.
    debugging = number <= logging.DEBUG
    logging.getLogger("uvicorn").setLevel(logging.DEBUG if debugging else logging.ERROR)
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda _type, error, _traceback: _failed("process.failed", error)
    threading.excepthook = lambda args: _failed("thread.failed", args.exc_value)
    sys.unraisablehook = lambda args: _failed("finalizer.failed", args.exc_value)


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Log exceptions of callbacks and of tasks that nothing awaits."""
    loop.set_exception_handler(
        lambda _loop, context: log.error("task.failed", exc_info=context.get("exception"))
    )


def exception(error: BaseException) -> dict[str, object]:
    """Describe an exception by types and places, without its text and any value."""
    frames = traceback.extract_tb(error.__traceback__)
    cause = error.__cause__ or error.__context__
    return {
        "error_type": type(error).__qualname__,
        **({"caused_by": type(cause).__qualname__} if cause else {}),
        "stack": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether `stream` is a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def has_colours(stream: TextIO | None) -> bool:
    """Return whether `stream` is a terminal with colours; NO_COLOR (no-color.org) disables them."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and is_terminal(stream)


def printable(text: str) -> str:
    """Return `text`, escaped and quoted if it has characters that control a terminal."""
    return text if text.isprintable() else ascii(text)


def _failed(event: str, error: BaseException | None) -> None:
    if error is not None:
        level = logging.CRITICAL if event == "process.failed" else logging.ERROR
        log.log(level, event, exc_info=error)


def _configure_structlog(minimum: int, processors: Sequence[Processor]) -> None:
    structlog.configure(
        processors=[merge_contextvars, add_log_level, *processors],
        wrapper_class=_wrapper_class(minimum),
        logger_factory=_Stdout,
        cache_logger_on_first_use=False,  # the settings configure a second time
    )


def _wrapper_class(minimum: int) -> type[FilteringBoundLogger]:
    """Return structlog's logger class for a minimum level, with a method `notice`.

    `make_filtering_bound_logger` accepts its own numbers only: trace is rounded up to debug, and
    notice to warning.
    """
    nearest = next(number for number in _NUMBERS_OF_STRUCTLOG if number >= minimum)

    class WithNotice(structlog.make_filtering_bound_logger(nearest)):  # type: ignore[misc]
        def notice(self, event: str, **fields: object) -> None:
            if minimum <= LOG_LEVELS["notice"]:
                self._proxy_to_logger("notice", event, **fields)  # structlog: "Custom Wrappers"

    return WithNotice


class _Stdout:
    """structlog's output: writes to `sys.stdout` as it is at the time, so that it can be replaced.

    A line that cannot be written is dropped: a closed stdout must never fail a request.
    """

    def msg(self, line: str) -> None:
        try:
            sys.stdout.buffer.write(line.encode(errors="backslashreplace") + b"\n")
            sys.stdout.buffer.flush()
        except (AttributeError, OSError, ValueError):
            return

    debug = info = notice = warning = error = critical = msg


class _Handler(logging.Handler):
    """Writes records of `logging` to where structlog writes."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _Stdout().msg(self.format(record))
        except Exception:  # such as arguments that do not fit the message
            log.exception("library.logged", logger=record.name)


def _processors(log_format: str | None) -> list[Processor]:
    """Return the processors of each line, from its fields to text."""
    if log_format is None:
        log_format = "console" if is_terminal(sys.stdout) else "json"
    exceptions: list[Processor] = [
        ExceptionRenderer(lambda exc_info: exception(exc_info[1])),
        _spread_exception,
    ]
    if log_format == "json":
        renderer = JSONRenderer(serializer=_to_json, default=_type_name)
        return [TimeStamper("iso"), *exceptions, _in_order, renderer]
    return [TimeStamper("%H:%M:%S.%fZ"), *exceptions, _for_terminal, _console_renderer()]


def _foreign(secrets: Sequence[str]) -> Processor:
    """Return the processor that turns a record of `logging` into an event of this service."""
    longest_first = sorted(filter(None, secrets), key=len, reverse=True)

    def process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        message = event["event"]
        for secret in longest_first:
            message = message.replace(secret, "[redacted]")
        number = event["_record"].levelno
        level = next((name for least, name in _LEVEL_NAMES if number >= least), "trace")
        event.pop("stack_info", None)
        return {**event, "level": level, "event": "library.logged", "message": message}

    return process


def _spread_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Make the description of an exception fields of the line."""
    if isinstance(event.get("exception"), dict):
        event |= event.pop("exception")
    return event


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    return {**first, **event}


def _to_json(event: EventDict, default: Callable[[object], str]) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=default).decode()
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 does not have
        text = json.dumps(event, ensure_ascii=False, default=default)
        return text.encode(errors="replace").decode()


def _type_name(value: object) -> str:
    """Replace a value that JSON cannot represent by its type: its `repr` may show a secret."""
    return f"<{type(value).__qualname__}>"


def _console_renderer() -> ConsoleRenderer:
    colours = has_colours(sys.stdout)
    styles = ConsoleRenderer.get_default_level_styles(colors=colours)
    return ConsoleRenderer(
        colors=colours,
        level_styles=styles | {"notice": styles["info"], "trace": styles["debug"]},
        exception_formatter=plain_traceback,  # the only one without local variables
        sort_keys=False,
        pad_event_to=_EVENT_WIDTH,
    )


def _for_terminal(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape control characters; show a stack with one place per line."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable(value)
    if isinstance(places := event.get("stack"), list):
        event["stack"] = "\n".join(f"  {printable(place)}" for place in places)
    return event


# `configure` changes the whole process. An app that runs in another one, such as a test, logs
# without it: with `notice`, and without the texts of exceptions.
_configure_structlog(LOG_LEVELS["info"], _processors("json"))
