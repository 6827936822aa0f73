"""Text for a person at a terminal: log lines that can be read at a glance.

structlog's renderer lays the lines out. It never sees an exception: `logs` describes those by types
and places before, so that no text of theirs and no local variable gets here.
"""

import os
from collections.abc import Mapping
from typing import Final, TextIO

from structlog.dev import ConsoleRenderer, plain_traceback

_EVENT_WIDTH: Final = 18


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a person reads `stream`."""
    return stream is not None and not stream.closed and stream.isatty()


def has_colours(stream: TextIO | None) -> bool:
    """Tell whether `stream` is coloured: a terminal, unless NO_COLOR (no-color.org) is set."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and is_terminal(stream)


class Lines:
    """Writes log lines for a person."""

    def __init__(self, *, colours: bool) -> None:
        styles = ConsoleRenderer.get_default_level_styles(colors=colours)
        self._renderer = ConsoleRenderer(
            colors=colours,
            level_styles=styles | {"notice": styles["info"], "trace": styles["debug"]},
            exception_formatter=plain_traceback,  # the only one without local variables
            sort_keys=False,
            pad_event_to=_EVENT_WIDTH,
        )

    def __call__(self, line: Mapping[str, object]) -> bytes:
        """Return `line` as text that ends in a line feed."""
        shown = {name: _shown(value) for name, value in line.items()}
        shown["timestamp"] = str(line["timestamp"])[11:]  # a person knows the day
        if isinstance(stack := line.get("stack"), list):
            shown["stack"] = "\n".join(f"  {_shown(place)}" for place in stack)
        text = self._renderer(None, "", shown)
        return f"{text}\n".encode(errors="backslashreplace")


def printable(text: str) -> str:
    """Return `text` without what a terminal would obey; such a text is escaped, in quotes."""
    return text if text.isprintable() else ascii(text)


def _shown(value: object) -> object:
    """Return `value` for a terminal: a library's message can hold anything."""
    return printable(value) if isinstance(value, str) else value
