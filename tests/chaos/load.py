"""Clients that count every request and measure it; none is ever repeated."""

import asyncio
import collections
import contextlib
import math
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import uvloop

from tests.chaos.processes import Address

RESPONSE_SECONDS = 60.0
Result = TypeVar("Result")


class Lost(Exception):
    """A request without a complete response; the message has the connection and the reason."""


class Response(NamedTuple):
    """A response; `closes` if it is the last on its connection."""

    status: int
    head: bytes
    body: bytes
    closes: bool
    seconds: float


class Connection:
    """A client's connection, used for one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._used = 0

    @classmethod
    async def connect(cls, address: Address) -> "Connection":
        try:
            # NOTE: not wait_for, which loses a cancellation in Python 3.11.
            async with asyncio.timeout(RESPONSE_SECONDS):
                return cls(*await asyncio.open_connection(*address))
        except (OSError, TimeoutError) as error:
            raise Lost(f"no connection: {type(error).__name__}") from error

    async def send(self, request: bytes) -> Response:
        start = time.perf_counter()
        self._used += 1
        try:
            async with asyncio.timeout(RESPONSE_SECONDS):
                self._writer.write(request)
                head = await self._reader.readuntil(b"\r\n\r\n")
                body = await self._reader.readexactly(_length(head))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise Lost(f"request {self._used} of a connection: {type(error).__name__}") from error
        closes = b"\r\nconnection: close\r\n" in head.lower()
        seconds = time.perf_counter() - start
        return Response(int(head[9:12]), head, body, closes, seconds)

    def abort_with_reset(self) -> None:
        """Close with a RST, as a killed process with unread data does."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])


@dataclass
class Tally:
    """The outcomes of all requests: counts of statuses and losses, durations."""

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: list[float] = field(default_factory=list)

    def add(self, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self.seconds.append(seconds)

    def percentile_ms(self, percent: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[math.ceil(len(ordered) * percent / 100) - 1] * 1000

    def __str__(self) -> str:
        return ", ".join(f"{n} × {outcome}" for outcome, n in sorted(self.outcomes.items()))


async def once(address: Address, request: bytes) -> Response:
    """Send one request over a connection of its own."""
    connection = await Connection.connect(address)
    try:
        return await connection.send(request)
    finally:
        await connection.close()


@dataclass
class Worker:
    """A client that sends requests in sequence until stopped, over one connection or new ones.

    `pick` returns the address of each new connection.
    """

    pick: Callable[[], Address]
    requests: Iterator[bytes]
    tally: Tally
    keeps: bool = True
    pause: float = 0.0

    async def work(self, more: Callable[[], bool]) -> None:
        connection: Connection | None = None
        try:
            while more():
                start = time.perf_counter()
                try:
                    connection = connection or await Connection.connect(self.pick())
                    response = await connection.send(next(self.requests))
                except Lost as lost:
                    self.tally.add(str(lost), time.perf_counter() - start)
                    await _let_go(connection)
                    connection = None
                else:
                    self.tally.add(str(response.status), time.perf_counter() - start)
                    if response.closes or not self.keeps:
                        await _let_go(connection)
                        connection = None
                if self.pause:
                    await asyncio.sleep(self.pause)
        finally:
            await _let_go(connection)


async def _let_go(connection: Connection | None) -> None:
    if connection is not None:
        await connection.close()


def for_seconds(seconds: float) -> Callable[[], bool]:
    """Return a condition that is true for `seconds`."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


@contextlib.asynccontextmanager
async def working(workers: list[Worker]) -> AsyncIterator[None]:
    """Run `workers` during the block."""
    goes_on = True
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.work(lambda: goes_on))
        try:
            yield
        finally:
            goes_on = False


async def load(
    address: Address,
    requests: Iterator[bytes],
    seconds: float,
    *,
    workers: int = 8,
    pause: float = 0.0,
) -> Tally:
    """Run `workers` clients for `seconds`, each with its own connection."""
    tally, more = Tally(), for_seconds(seconds)
    crew = [Worker(lambda: address, requests, tally, pause=pause) for _ in range(workers)]
    await asyncio.gather(*(worker.work(more) for worker in crew))
    return tally


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` on uvloop: a client costs less than half."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
