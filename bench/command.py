"""The command line that both measurements share."""

import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

from bench.contenders import SINGLE, Contender
from bench.rounds import Plan
from bench.tools import BenchError, echo_module, install_peers, tool

_FULL: Final = Plan(rounds=5, seconds=4)
_SHORT: Final = Plan(rounds=2, seconds=2)
_LEGEND: Final = """\
CPU is user and system time of the server's whole process tree, the median of the rounds (min–max).
Ratios are medians of each round's own. RSS is the tree's peak under load, summed over processes.
Ready is from the start to the first 200: of /readyz where there is one, else of a refresh.
Latencies count from when a request was due, at half of the requests a second that saturate."""
_SHORT_WARM_UP_SECONDS: Final = 8


def parser(module: str, description: str, contenders: Sequence[Contender]) -> ArgumentParser:
    """Return a parser for what both measurements take."""
    made = ArgumentParser(f"python -m {module}", description=description)
    made.add_argument("--short", action="store_true", help="fewer, shorter rounds, for CI")
    made.add_argument("--rounds", type=_positive, help=f"default: {_FULL.rounds}")
    made.add_argument("--seconds", type=_positive, help=f"of each load; default: {_FULL.seconds}")
    names = [contender.name for contender in contenders]
    made.add_argument("--only", action="append", choices=names, help="may be repeated")
    made.add_argument("--output", type=Path, help="write the report here too")
    return made


def plan(options: Namespace) -> Plan:
    """Return how to measure."""
    usual = _SHORT if options.short else _FULL
    return Plan(options.rounds or usual.rounds, options.seconds or usual.seconds)


def chosen(options: Namespace, contenders: Sequence[Contender]) -> list[Contender]:
    """Return whom to measure, and see to it that everything for it is there."""
    for name in ("nginx", "wrk", "taskset"):
        tool(name)
    echo_module()
    names = options.only or [contender.name for contender in contenders]
    found = [contender for contender in contenders if contender.name in names]
    if any(contender.is_node for contender in found):
        install_peers()
    if options.short:
        return [_shortened(contender) for contender in found if contender.in_short or options.only]
    return found


def publish(options: Namespace, title: str, facts: Iterable[str], body: Iterable[str]) -> None:
    """Print the report, and write it where the options say."""
    text = "\n".join([f"# {title}", "", *facts, "", *body, "", _LEGEND, ""])
    print(text, end="")
    if options.output:
        options.output.write_text(text)


def finish(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit; SIGTERM unwinds like Ctrl-C, so that no process of ours is left."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _shortened(contender: Contender) -> Contender:
    connections = tuple(number for number in contender.connections if number != SINGLE)
    warm_up = min(contender.warm_up_seconds, _SHORT_WARM_UP_SECONDS)
    return replace(contender, connections=connections, warm_up_seconds=warm_up)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError("not a whole number above 0")
    return int(text)
