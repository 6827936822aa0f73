"""What we add to a request's latency, beside what a bare proxy adds, at one rate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.contenders import Contender
from bench.load import REFRESH
from bench.pace import paced
from bench.rounds import Rig, serving, tell
from bench.upstream import proxy

PROXY: Final = "nginx, bare proxy"
_SETTLE_SECONDS: Final = 1


@dataclass(frozen=True)
class Latency:
    """Latencies of one round at `rate` requests a second, in milliseconds, through a server."""

    server: str
    round: int
    rate: float
    milliseconds: Sequence[float]

    def percentile(self, part: float) -> float:
        """Return the latency that `part` (0 to 1) of the requests don't exceed."""
        ordered = sorted(self.milliseconds)
        return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


def latencies(rig: Rig, contender: Contender, rate: float) -> Iterator[Latency]:
    """Yield latencies at `rate`, through `contender` and through a bare proxy, in turns."""
    for number in range(rig.plan.rounds):
        with serving(rig, contender) as served:
            yield _paced(rig, contender.name, number, served.ports[0], rate)
        with proxy(rig.cores.server, rig.directory, rig.upstream) as port:
            yield _paced(rig, PROXY, number, port, rate)


def _paced(rig: Rig, server: str, number: int, port: int, rate: float) -> Latency:
    paced(port, REFRESH, rate, _SETTLE_SECONDS)
    found = Latency(server, number, rate, paced(port, REFRESH, rate, rig.plan.seconds))
    tell(rig, number, f"{server} at {rate:.0f}/s: p99 {found.percentile(0.99):.2f} ms")
    return found
