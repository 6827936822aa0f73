"""Measure our service beside its peers, and check it against what we promise."""

from collections.abc import Iterator
from typing import Final

from bench.command import chosen, finish, parser, plan, publish
from bench.contenders import CONTENDERS, EXPRESS, FASTIFY, MANY, OURS, USUAL
from bench.machine import facts
from bench.report import Results, Row, Threshold, table
from bench.rounds import measure

_US: Final = Row(OURS.name, USUAL)
_US_AMONG_MANY: Final = Row(OURS.name, MANY)
_FASTIFY: Final = Row(FASTIFY.name, USUAL)
_EXPRESS: Final = Row(EXPRESS.name, USUAL)


def thresholds(results: Results) -> list[Threshold]:
    """Return what we promise, with what was measured."""
    peaks = [results.rss_mib(row) for row in (_US, _US_AMONG_MANY)]
    memory = max((peak for peak in peaks if peak is not None), default=None)
    return [
        Threshold("CPU ≤ 2.0 × Fastify's (goal: 1.4)", results.ratio(_US, _FASTIFY), 2.0),
        Threshold("CPU ≤ 0.5 × Express's", results.ratio(_US, _EXPRESS), 0.5),
        Threshold(f"CPU at {MANY} ≤ 1.25 × at {USUAL}", results.ratio(_US_AMONG_MANY, _US), 1.25),
        Threshold("RSS ≤ 80 MiB", memory, 80),
        Threshold("ready in ≤ 1.5 s", results.ready_seconds(_US), 1.5),
    ]


def _report(results: Results) -> Iterator[str]:
    yield from table(results, [_FASTIFY, _EXPRESS])
    yield ""
    yield from map(str, thresholds(results))


def main() -> int:
    """Measure and report; return the exit code."""
    options_parser = parser("bench", __doc__, CONTENDERS)
    options_parser.add_argument("--strict", action="store_true", help="fail if a threshold breaks")
    options = options_parser.parse_args()
    contenders = chosen(options, CONTENDERS)
    before = list(facts("bench", contenders))
    results = Results(measure(contenders, plan(options)))
    publish(options, "Server CPU per PKCE refresh", before, _report(results))
    broken = any(threshold.is_broken for threshold in thresholds(results))
    return int(options.strict and broken)


if __name__ == "__main__":
    finish(main)
