"""Latency at a fixed rate of requests, beside a bare proxy's.

A load that waits for each response before the next request slows down with the server, and misses
the requests it would have sent meanwhile ("coordinated omission"). Here every request is sent when
it is due, and its latency counts from then.
"""

import asyncio
import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle
from typing import Final, cast

import httptools
import uvloop

from bench.load import FORM, REFRESH
from bench.rounds import Rig, log, serving
from bench.servers import Server
from bench.tools import BenchError
from bench.upstream import proxy

PROXY: Final = "nginx, bare proxy"
_SETTLE_SECONDS: Final = 1
_HEAD: Final = "".join(
    [
        f"POST {REFRESH.path} HTTP/1.1\r\n",
        "Host: localhost\r\n",
        *(f"{name}: {value}\r\n" for name, value in FORM.items()),
        "Content-Length: %d\r\n\r\n",
    ]
).encode()


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
    gc.freeze()  # a collection of the bench's own objects would delay what is due
    uvloop.run(_paced(port, rate, _SETTLE_SECONDS))
    latency = Latency(server, number, rate, uvloop.run(_paced(port, rate, rig.plan.seconds)))
    log(rig, number, f"{server} at {rate:.0f}/s: p99 {latency.percentile(0.99):.2f} ms")
    return latency


async def _paced(port: int, rate: float, seconds: float) -> list[float]:
    """Send `rate` refreshes a second; raise BenchError unless every response is a 200."""
    loop = asyncio.get_running_loop()
    idle: list[_Connection] = []
    milliseconds: list[float] = []

    async def send(due: float, body: str) -> None:
        if idle:
            connection = idle.pop()
        else:
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
        status = await connection.send(body)
        if status != HTTPStatus.OK:
            raise BenchError(f"a response has the status {status}")
        milliseconds.append((time.perf_counter() - due) * 1000)
        idle.append(connection)

    async with asyncio.TaskGroup() as tasks:
        start = time.perf_counter()
        for number, body in zip(range(int(rate * seconds)), cycle(REFRESH.bodies()), strict=False):
            due = start + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tasks.create_task(send(due, body))
    for connection in idle:
        connection.close()
    return milliseconds


class _Connection(asyncio.Protocol):
    """A connection that is kept alive, and carries one request at a time.

    A client library would need as much CPU time as the server, and be measured with it.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._status: asyncio.Future[int]
        self._transport: asyncio.Transport

    async def send(self, body: str) -> int:
        """Send a refresh, and return the status after the whole response."""
        if self._transport.is_closing():
            raise BenchError("the server closed an idle connection")
        self._status = asyncio.get_running_loop().create_future()
        self._transport.write(_HEAD % len(body) + body.encode())
        return await self._status

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._status.set_result(self._parser.get_status_code())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._status.done():
            self._status.set_exception(exc or BenchError("the server closed a connection"))
