"""The measurement behind our choice of server and HTTP client: one small app in all pairings."""

import importlib.util
import sys
from collections.abc import Sequence
from typing import Final

from bench.command import chosen, finish, parser, plan, publish
from bench.contenders import MANY, USUAL, Contender
from bench.machine import facts
from bench.report import Results, Row, table
from bench.rounds import rigged, samples
from bench.tools import BenchError

_SERVERS: Final = ("uvicorn", "granian")
_CLIENTS: Final = (
    "httpx.AsyncClient",
    "httpx-pool",
    "httpx-aiohttp",
    "pyreqwest-transport",
    "pyreqwest",
    "ours-transport",
    "ours",
)
_EXTRA_MODULES: Final = ("granian", "httpx_aiohttp", "pyreqwest")


def _candidate(server: str, client: str) -> Contender:
    command = (sys.executable, "-m", "bench.peers.candidate", server, client)
    return Contender(f"{server}+{client}", command, connections=(USUAL, MANY))


CANDIDATES: Final = tuple(_candidate(server, client) for server in _SERVERS for client in _CLIENTS)
_BASE: Final = Row(CANDIDATES[0].name, USUAL)


def _check_installed(candidates: Sequence[Contender]) -> None:
    names = " ".join(candidate.name for candidate in candidates)
    for module in _EXTRA_MODULES:
        package = module.replace("_", "-")
        if package in names and importlib.util.find_spec(module) is None:
            raise BenchError(f"{package} is missing: pip install granian httpx-aiohttp pyreqwest")


def main() -> int:
    """Measure and report; return the exit code."""
    options = parser("bench.candidates", __doc__, CANDIDATES).parse_args()
    candidates = chosen(options, CANDIDATES)
    _check_installed(candidates)
    before = list(facts("bench.candidates", candidates))
    with rigged(plan(options)) as rig:
        results = Results(list(samples(rig, candidates)))
    title = "Server CPU per PKCE refresh, by server and HTTP client"
    publish(options, title, before, table(results, [_BASE]))
    return 0


if __name__ == "__main__":
    finish(main)
