"""Samples → medians, ratios and thresholds → Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.latency import Latency
from bench.rounds import Sample

_ABSENT: Final = "–"
_PARTS: Final = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True)
class Row:
    """A row of the table: a server under a number of connections."""

    server: str
    connections: int


class Results:
    """The samples of all rounds."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def rows(self) -> list[Row]:
        """Return what was measured, in the order of the first round."""
        return list(dict.fromkeys(Row(s.server, s.connections) for s in self._samples))

    def of(self, row: Row) -> list[Sample]:
        """Return the samples of `row`, one per round."""
        return [s for s in self._samples if Row(s.server, s.connections) == row]

    def ratio(self, row: Row, base: Row) -> float | None:
        """Return the median over the rounds of CPU against `base`'s in the same round."""
        bases = {sample.round: sample.cpu_us for sample in self.of(base)}
        return _median(s.cpu_us / bases[s.round] for s in self.of(row) if s.round in bases)

    def per_second(self, row: Row) -> float | None:
        """Return the median of responses a second."""
        return _median(sample.per_second for sample in self.of(row))

    def rss_mib(self, row: Row) -> float | None:
        """Return the median peak of resident memory."""
        return _median(sample.rss_mib for sample in self.of(row))

    def ready_seconds(self, row: Row) -> float | None:
        """Return the median time from the start to the first response."""
        return _median(sample.ready_seconds for sample in self.of(row))


@dataclass(frozen=True)
class Threshold:
    """A bound: `value`, None if it was not measured, is `limit` at most."""

    text: str
    value: float | None
    limit: float

    @property
    def is_broken(self) -> bool:
        """Return whether the value was measured and is too high."""
        return self.value is not None and self.value > self.limit

    def __str__(self) -> str:
        if self.value is None:
            return f"- not measured: {self.text}"
        state = "NOT MET" if self.is_broken else "met"
        return f"- {state}: {self.text}: {self.value:.2f}"


def table(results: Results, base: Row) -> Iterator[str]:
    """Yield a Markdown table of medians, with the ratio to `base`."""
    titles = [
        "Server",
        "Connections",
        "CPU µs per request",
        f"× {base.server}",
        "Requests/s",
        "RSS MiB",
        "Ready s",
    ]
    yield _line(titles)
    yield _line(["---", *["--:"] * (len(titles) - 1)])
    for row in results.rows():
        yield _line(
            [
                row.server,
                str(row.connections),
                _spread(sample.cpu_us for sample in results.of(row)),
                _number(results.ratio(row, base), 2),
                _number(results.per_second(row), 0),
                _number(results.rss_mib(row), 0),
                _number(results.ready_seconds(row), 2),
            ]
        )


def latency_table(found: Sequence[Latency]) -> Iterator[str]:
    """Yield a Markdown table of percentiles, each the median of the rounds."""
    yield _line(["Server", "Requests/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms"])
    yield _line(["---", *["--:"] * 5])
    for server in dict.fromkeys(latency.server for latency in found):
        mine = [latency for latency in found if latency.server == server]
        parts = [median(run.percentile(part) for run in mine) for part in _PARTS]
        yield _line([server, f"{mine[0].rate:.0f}", *(_number(part, 2) for part in parts)])


def added_p99(found: Sequence[Latency], server: str, base: str) -> float | None:
    """Return the median over the rounds of how much `server`'s p99 is above `base`'s."""
    p99 = {(latency.server, latency.round): latency.percentile(0.99) for latency in found}
    return _median(p99[server, turn] - p99[base, turn] for name, turn in p99 if name == base)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(values: Iterable[float]) -> str:
    found = sorted(values)
    return f"{median(found):.0f} ({found[0]:.0f}–{found[-1]:.0f})"


def _number(value: float | None, digits: int) -> str:
    return _ABSENT if value is None else f"{value:.{digits}f}"


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None
