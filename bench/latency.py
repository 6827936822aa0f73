"""Latency at a fixed rate of requests, beside a bare proxy's.

A load that waits for each response before the next request slows down with the server, and misses
the requests it would have sent meanwhile ("coordinated omission"). Here every request is sent when
it is due, and its latency counts from then.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle
from typing import Final

import aiohttp
import uvloop

from bench.load import FORM, REFRESH
from bench.rounds import Rig, log, serving
from bench.servers import Server
from bench.tools import BenchError
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
        """Return the latency that `part` (0 to 1) of the requests do not exceed."""
        ordered = sorted(self.milliseconds)
        return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


def latencies(rig: Rig, server: Server, rate: float) -> Iterator[Latency]:
    """Yield latencies at `rate`, through `server` and through a bare proxy, in turns."""
    for number in range(rig.plan.rounds):
        with serving(rig, server) as served:
            yield _measured(rig, server.name, number, served.port, rate)
        with proxy(rig.cores.server, rig.directory, rig.upstream.origin) as port:
            yield _measured(rig, PROXY, number, port, rate)


def _measured(rig: Rig, server: str, number: int, port: int, rate: float) -> Latency:
    uvloop.run(_paced(port, rate, _SETTLE_SECONDS))
    latency = Latency(server, number, rate, uvloop.run(_paced(port, rate, rig.plan.seconds)))
    log(rig, number, f"{server} at {rate:.0f}/s: p99 {latency.percentile(0.99):.2f} ms")
    return latency


async def _paced(port: int, rate: float, seconds: float) -> list[float]:
    """Send `rate` refreshes a second; raise BenchError unless every response is a 200."""
    loop = asyncio.get_running_loop()
    url = f"http://127.0.0.1:{port}{REFRESH.path}"
    milliseconds: list[float] = []

    async def send(due: float, body: str) -> None:
        async with session.post(url, data=body, headers=FORM) as response:
            await response.read()
        if response.status != HTTPStatus.OK:
            raise BenchError(f"a response has the status {response.status}")
        milliseconds.append((loop.time() - due) * 1000)

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        asyncio.TaskGroup() as tasks,
    ):
        start = loop.time()
        for number, body in zip(range(int(rate * seconds)), cycle(REFRESH.bodies()), strict=False):
            due = start + number / rate
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            tasks.create_task(send(due, body))
    return milliseconds
