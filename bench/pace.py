"""Requests at a fixed rate, whose latency counts from when each was due.

A load that sends a request when the last one is answered slows down with the server, and misses
those that it would have sent meanwhile ("coordinated omission"). Here a late one counts as late.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import cast

import httptools
import uvloop

from bench.load import Question
from bench.tools import BenchError

_DRAIN_SECONDS = 5.0


def paced(port: int, question: Question, rate: float, seconds: float) -> list[float]:
    """Ask `rate` times a second; return the latencies in milliseconds.

    Raises BenchError unless every answer is a 200.
    """
    return uvloop.run(_Pace(port, _messages(question), rate).run(seconds))


def _messages(question: Question) -> list[bytes]:
    head = (
        f"POST {question.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: "
    )
    return [f"{head}{len(body)}\r\n\r\n{body}".encode() for body in question.bodies()]


class _Pace:
    """Sends what is due, on a connection that is free or a new one."""

    def __init__(self, port: int, messages: Sequence[bytes], rate: float) -> None:
        self._port = port
        self._messages = messages
        self._rate = rate
        self._free: list[_Connection] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._latencies: list[float] = []

    async def run(self, seconds: float) -> list[float]:
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        while (now := loop.time()) - began < seconds:
            while began + sent / self._rate <= now:
                self._send(began + sent / self._rate, self._messages[sent % len(self._messages)])
                sent += 1
            await asyncio.sleep(0.001)
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_DRAIN_SECONDS)
        if len(self._latencies) != sent:
            raise BenchError(f"of {sent} paced requests {len(self._latencies)} were answered 200")
        return self._latencies

    def _send(self, due: float, message: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._ask(due, message))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _ask(self, due: float, message: bytes) -> None:
        loop = asyncio.get_running_loop()
        if self._free:
            connection = self._free.pop()
        else:
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        if await connection.ask(message) == HTTPStatus.OK:
            self._latencies.append((loop.time() - due) * 1000)
        self._free.append(connection)


class _Connection(asyncio.Protocol):
    """One connection; httptools calls `on_message_complete`."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[int] | None = None

    async def ask(self, message: bytes) -> int:
        """Send `message`, and return the status of the answer."""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return await self._answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._answered is not None:
            self._answered.set_result(self._parser.get_status_code())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionResetError())
