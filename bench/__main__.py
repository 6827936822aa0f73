"""Measure our service beside its peers, and check it against what we promise."""

from collections.abc import Iterator, Sequence
from typing import Final

from bench.command import chosen, finish, parser, plan, publish
from bench.contenders import (
    CACHED,
    CONTENDERS,
    EXPRESS,
    FASTIFY,
    MANY,
    OURS,
    TRACED,
    TWO,
    USUAL,
)
from bench.latency import PROXY, Latency, latencies
from bench.machine import facts
from bench.report import Results, Row, Threshold, added_p99, latency_table, table
from bench.rounds import rigged, samples

_US: Final = Row(OURS.name, USUAL)
_US_AMONG_MANY: Final = Row(OURS.name, MANY)
_TRACED: Final = Row(TRACED.name, USUAL)
_CACHED: Final = Row(CACHED.name, USUAL)
_TWO: Final = Row(TWO.name, USUAL)
_FASTIFY: Final = Row(FASTIFY.name, USUAL)
_EXPRESS: Final = Row(EXPRESS.name, USUAL)


def thresholds(results: Results, found: Sequence[Latency]) -> list[Threshold]:
    """Return what we promise, with what was measured."""
    peaks = [results.rss_mib(row) for row in (_US, _US_AMONG_MANY)]
    memory = max((peak for peak in peaks if peak is not None), default=None)
    added = added_p99(found, OURS.name, PROXY)
    return [
        Threshold("CPU ≤ 1.6 × Fastify's (goal: 1.2)", results.ratio(_US, _FASTIFY), 1.6),
        Threshold("all traced: ≤ 3.2 × (goal: 2.4)", results.ratio(_TRACED, _FASTIFY), 3.2),
        Threshold("cached token: ≤ 0.8 ×", results.ratio(_CACHED, _FASTIFY), 0.8),
        Threshold("CPU ≤ 0.5 × Express's", results.ratio(_US, _EXPRESS), 0.5),
        Threshold(f"CPU at {MANY} ≤ 1.25 × at {USUAL}", results.ratio(_US_AMONG_MANY, _US), 1.25),
        Threshold("CPU of two processes ≤ 1.25 × of one", results.ratio(_TWO, _US), 1.25),
        Threshold("p99 ≤ a bare proxy's + 5 ms at half the load", added, 5),
        Threshold("RSS ≤ 80 MiB", memory, 80),
        Threshold("ready in ≤ 1.5 s", results.ready_seconds(_US), 1.5),
    ]


def _report(results: Results, found: Sequence[Latency]) -> Iterator[str]:
    yield from table(results, [_FASTIFY, _EXPRESS])
    yield ""
    if found:
        yield from latency_table(found)
        yield ""
    yield from map(str, thresholds(results, found))


def main() -> int:
    """Measure and report; return the exit code."""
    options_parser = parser("bench", __doc__, CONTENDERS)
    options_parser.add_argument("--strict", action="store_true", help="fail if a threshold breaks")
    options = options_parser.parse_args()
    contenders = chosen(options, CONTENDERS)
    before = list(facts("bench", contenders))
    with rigged(plan(options)) as rig:
        results = Results(list(samples(rig, contenders)))
        saturating = results.per_second(_US)
        found = list(latencies(rig, OURS, saturating / 2)) if saturating else []
    publish(options, "Server CPU per request, and its latency", before, _report(results, found))
    broken = any(threshold.is_broken for threshold in thresholds(results, found))
    return int(options.strict and broken)


if __name__ == "__main__":
    finish(main)
