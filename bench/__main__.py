"""Measure the service beside its peers, and compare it with the bounds."""

import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.latency import PROXY, Latency, latencies
from bench.machine import facts
from bench.report import Results, Row, Threshold, added_p99, latency_table, table
from bench.rounds import Plan, rigged, samples
from bench.servers import (
    CACHED,
    FASTIFY,
    FASTIFY_TLS,
    FASTIFY_TRACED,
    MANY,
    OURS,
    SERVERS,
    SINGLE,
    TLS,
    TRACED,
    USUAL,
    Server,
)
from bench.tools import BenchError, echo_module, install_peers, tool

_FULL: Final = Plan(rounds=5, seconds=4)
_SHORT: Final = Plan(rounds=2, seconds=2)
_SHORT_WARM_UP_SECONDS: Final = 8
_LEGEND: Final = """\
CPU is user and system time of the server's process tree, the median of the rounds (min–max).
Ratios are medians of the rounds' ratios. RSS is the peak under load. Ready is the time from the
start to the first 200 (of /readyz where it exists, else of a refresh). Latencies count from when a
request was due, at half of the rate that saturates the server's core."""


def thresholds(results: Results, measured: Sequence[Latency]) -> list[Threshold]:
    """Return the bounds, with the measured values."""
    ours, ours_at_many = Row(OURS.name, USUAL), Row(OURS.name, MANY)
    fastify = Row(FASTIFY.name, USUAL)

    def ratio(server: Server, base: Server) -> float | None:
        return results.ratio(Row(server.name, USUAL), Row(base.name, USUAL))

    peaks = [results.rss_mib(row) for row in (ours, ours_at_many)]
    return [
        Threshold("refresh, CPU ≤ 2.4 × Fastify", results.ratio(ours, fastify), 2.4),
        Threshold("TLS upstream, CPU ≤ 2.3 × Fastify's", ratio(TLS, FASTIFY_TLS), 2.3),
        Threshold("all traced, CPU ≤ 2.4 × Fastify's", ratio(TRACED, FASTIFY_TRACED), 2.4),
        Threshold("cached app token, CPU ≤ 0.9 × Fastify's refresh", ratio(CACHED, FASTIFY), 0.9),
        Threshold(
            f"CPU at {MANY} connections ≤ 1.3 × at {USUAL}", results.ratio(ours_at_many, ours), 1.3
        ),
        Threshold(
            "p99 at half load ≤ a bare proxy's + 5 ms", added_p99(measured, OURS.name, PROXY), 5
        ),
        Threshold("RSS ≤ 100 MiB", max(filter(None, peaks), default=None), 100),
        Threshold("ready in ≤ 1.5 s", results.ready_seconds(ours), 1.5),
    ]


def _parser() -> ArgumentParser:
    parser = ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer, shorter rounds, for CI")
    parser.add_argument("--rounds", type=_positive, help=f"default: {_FULL.rounds}")
    parser.add_argument("--seconds", type=_positive, help=f"of each load; default: {_FULL.seconds}")
    names = [server.name for server in SERVERS]
    parser.add_argument("--only", action="append", choices=names, help="may be repeated")
    parser.add_argument("--output", type=Path, help="write the report to this file too")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a bound is not met")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError("not a whole number above 0")
    return int(text)


def _plan(options: Namespace) -> Plan:
    usual = _SHORT if options.short else _FULL
    return Plan(options.rounds or usual.rounds, options.seconds or usual.seconds)


def _servers(options: Namespace) -> list[Server]:
    """Return the servers to measure, after checking that all tools are installed."""
    for name in ("nginx", "wrk", "taskset"):
        tool(name)
    echo_module()
    servers = [server for server in SERVERS if not options.only or server.name in options.only]
    if options.short:
        servers = [_shortened(server) for server in servers if server.in_short or options.only]
    if any(server.is_node for server in servers):
        install_peers()
    return servers


def _shortened(server: Server) -> Server:
    connections = tuple(number for number in server.connections if number != SINGLE)
    warm_up = min(server.warm_up_seconds, _SHORT_WARM_UP_SECONDS)
    return replace(server, connections=connections, warm_up_seconds=warm_up)


def _report(results: Results, measured: Sequence[Latency]) -> Iterator[str]:
    yield from table(results, Row(FASTIFY.name, USUAL))
    yield ""
    if measured:
        yield from latency_table(measured)
        yield ""
    yield from map(str, thresholds(results, measured))


def main() -> int:
    """Measure and report; return the exit code."""
    options = _parser().parse_args()
    servers = _servers(options)
    head = list(facts(servers))
    with rigged(_plan(options)) as rig:
        results = Results(list(samples(rig, servers)))
        saturating = results.per_second(Row(OURS.name, USUAL))
        measured = list(latencies(rig, OURS, saturating / 2)) if saturating else []
    lines = ["# Performance", "", *head, "", *_report(results, measured), "", _LEGEND, ""]
    report = "\n".join(lines)
    print(report, end="")
    if options.output:
        options.output.write_text(report)
    broken = any(threshold.is_broken for threshold in thresholds(results, measured))
    return int(options.strict and broken)


if __name__ == "__main__":
    # SIGTERM unwinds like Ctrl-C, so that no child process is left.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
