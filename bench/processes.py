"""CPU time and memory of a process and all its descendants, from /proc (Linux)."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError)
# Counted after the command, whose name may hold spaces: proc(5), fields 14 to 17.
_TIMES: Final = slice(11, 15)


def tree(pid: int) -> Iterator[int]:
    """Yield `pid` and its descendants."""
    yield pid
    with suppress(*_GONE):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of the tree, user and system, ended descendants included."""
    return sum(map(_ticks, tree(pid))) / _TICKS_PER_SECOND


def rss_mib(pid: int) -> float:
    """Return the resident memory of the tree; pages that processes share count for each."""
    return sum(map(_rss_kib, tree(pid))) / 1024


def _ticks(pid: int) -> int:
    with suppress(*_GONE):
        after_command = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        return sum(map(int, after_command.split()[_TIMES]))
    return 0


def _rss_kib(pid: int) -> int:
    with suppress(*_GONE):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0
