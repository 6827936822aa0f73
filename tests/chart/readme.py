"""Writes the table in the chart's README from values.yaml and its comments: `make chart-docs`.

A value's comment stands behind it; that of a group behind its name, or above it.
"""

import json
import re
from collections.abc import Iterator
from functools import reduce
from typing import Any, Final

import msgspec

from tests.chart.rendering import CHART

README: Final = CHART / "README.md"
_KEY: Final = re.compile(r"( *)([A-Za-z_][\w.-]*):( \S.*?)?(?:  # (.*))?")
_TABLE: Final = re.compile(r"(<!-- values:.*?-->\n).*(<!-- /values -->)", re.DOTALL)

Path = tuple[str, ...]


def main() -> None:
    """Write the README anew."""
    README.write_text(current())


def current() -> str:
    """Return the README as it should be."""
    table = "\n".join(["| value | default | meaning |", "|---|---|---|", *rows()])
    return _TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", README.read_text())


def rows() -> Iterator[str]:
    """Return a row for each value, and for each group that has a comment."""
    text = (CHART / "values.yaml").read_text()
    defaults: dict[str, Any] = msgspec.yaml.decode(text)
    for path, has_lines, comment in keys(text):
        value = reduce(lambda values, name: values[name], path, defaults)
        group = has_lines and isinstance(value, dict)
        if not group or comment:
            default = "" if group else f"`{json.dumps(value, ensure_ascii=False)}`"
            yield f"| `{'.'.join(path)}` | {default} | {escaped(comment)} |"


def keys(text: str) -> Iterator[tuple[Path, bool, str]]:
    """Return for each key in `text`: its path, whether its value is on lines below, its comment."""
    path: Path = ()
    above: list[str] = []
    for line in text.splitlines():
        if line.startswith("# "):
            above.append(line[2:])
        elif key := _KEY.fullmatch(line):
            path = (*path[: len(key[1]) // 2], key[2])
            yield path, not key[3], " ".join([*above, *filter(None, [key[4]])])
            above = []


def escaped(text: str) -> str:
    """Return text that is the same in a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    main()
