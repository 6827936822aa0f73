"""The results as a Markdown table for each file of the suite."""

import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass
class Row:
    """One test: its section, its behaviour, whether it passed, its figures."""

    section: str
    behaviour: str
    held: bool = True
    seconds: float = 0.0
    figures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        cells = (
            self.behaviour,
            "✓" if self.held else "✗",
            "; ".join(self.figures),
            f"{self.seconds:.1f}",
        )
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def facts(command: str, seconds: float) -> Iterator[str]:
    """Yield when, where, how and how long, as a Markdown list."""
    load = os.getloadavg()[0]
    yield f"- `{command}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds / 60:.1f} min"
    python = platform.python_version()
    yield f"- {os.cpu_count()} cores, Linux {platform.release()}, Python {python}"
    yield f"- load average at the end: {load:.2f}"


def tables(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a table for each section, in the order of their first rows."""
    sections: dict[str, list[Row]] = {}
    for row in rows:
        sections.setdefault(row.section, []).append(row)
    for section, found in sections.items():
        yield from ("", f"### {section}", "")
        yield "| What holds | | Figures | Seconds |"
        yield "| --- | --- | --- | --: |"
        yield from map(str, found)
