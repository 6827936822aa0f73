"""Requests split at every byte: they mean the same wherever TCP splits them."""

import asyncio
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
import uvicorn

from service.server import Connections, Protocol

TRAP = b"a=b\r\nupgrade: x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
"""A body that looks like headers and another request."""
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
GET = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"


class Received(NamedTuple):
    """What the app received (method, path, body), and the statuses that the client received."""

    requests: list[tuple[str, str, bytes]]
    statuses: list[int]


def post(body: bytes, *, headers: bytes = b"", path: bytes = b"/first") -> bytes:
    head = b"POST %s HTTP/1.1\r\nHost: x\r\n%s" % (path, headers)
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def chunked(*chunks: bytes, headers: bytes = b"", trailers: bytes = b"") -> bytes:
    sent = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"POST /chunked HTTP/1.1\r\nHost: x\r\n%s" % headers
    return head + CHUNKED + b"\r\n" + sent + b"0\r\n" + trailers + b"\r\n"


class Transport(asyncio.Transport):
    """A transport that keeps what is written, and what comes while reading is paused."""

    def __init__(self, protocol: Protocol) -> None:
        super().__init__()
        self.written = b""
        self._protocol = protocol
        self._waiting: list[bytes] = []
        self._is_paused = self._is_closing = False

    def write(self, data: Any) -> None:  # noqa: ANN401 - any buffer, as asyncio has it
        assert not self._is_closing
        self.written += data

    def close(self) -> None:
        self._is_closing = True

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        asyncio.get_running_loop().call_soon(self._deliver)

    def receive(self, data: bytes) -> None:
        self._waiting.append(data)
        self._deliver()

    def _deliver(self) -> None:
        while self._waiting and not self._is_paused and not self._is_closing:
            self._protocol.data_received(self._waiting.pop(0))


async def settle(turns: int) -> None:
    """Run the event loop until no callback is ready."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def receive(pieces: Iterable[bytes], *, at_once: bool) -> Received:
    """Deliver `pieces`, each with time for a response before the next unless `at_once`."""
    requests = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - any ASGI type
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        assert all(name != b"trailer" for name, _ in scope["headers"])
        requests.append((scope["method"], scope["path"], body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(app, ws="none", log_config=None, access_log=False)
    protocol = Protocol(config, Connections(0, limit=1, timeout=10), {})
    transport = Transport(protocol)
    protocol.connection_made(transport)
    for piece in pieces:
        transport.receive(piece)
        if not at_once:
            await settle(10)
    await settle(100)
    protocol.connection_lost(None)
    await settle(10)
    statuses = re.findall(rb"HTTP/1.1 ([0-9]{3}) ", transport.written)
    return Received(requests, [int(status) for status in statuses])


GOOD = {
    "body": post(TRAP) + GET,
    "upgrade in the body": post(b"\r\nupgrade: x\r\n" * 3) + GET,
    "chunked": chunked(TRAP, b"x", b"\r\nupgrade: x\r\n", trailers=b"Trailer: a\r\n") + GET,
    "offer": post(TRAP, headers=OFFER) + GET,
    "offer in another spelling": post(b"a", headers=b"UPGRADE: a\r\nconnection: upgrade\r\n") + GET,
    "offer without a body": b"GET / HTTP/1.1\r\nHost: x\r\n%s\r\n" % OFFER + GET,
    "two offers": 2 * post(b"a=b", headers=OFFER) + chunked(b"c"),
    "no offer": post(b"a", headers=b"Upgrade: h2c\r\n") + GET,
    "pipelined": GET + post(b"a=b") + chunked(b"c", b"d") + GET,
    "absolute": b"POST http://a:1/p%20q?r HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb" + GET,
    "blank lines": b"\r\n\r\n" + GET + b"\r\n" + GET,
}
BAD = {
    "offer with chunks": chunked(TRAP, headers=OFFER) + GET,
    "absolute without an end": b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n" + GET,
    "port": b"GET http://a:99999999/ HTTP/1.1\r\nHost: x\r\n\r\n" + GET,
    "absolute without a host": b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n" + GET,
    "user twice": b"GET http://a@b@c/ HTTP/1.1\r\nHost: x\r\n\r\n" + GET,
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n" + GET,
    "two lengths": post(TRAP, headers=b"Content-Length: 1\r\n") + GET,
    "length and chunks": post(TRAP, headers=CHUNKED) + GET,
    "Icecast": b"SOURCE / ICE/1.0\r\n\r\n" + GET,
    "RTSP": b"DESCRIBE / RTSP/1.0\r\n\r\n" + GET,
    "tunnel": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" + GET,
    "chunk": chunked(b"a").replace(b"1\r\na", b"x\r\na") + GET,
    "garbage": b"GARBAGE\0\r\n\r\n" + GET,
}


def cuts(message: bytes) -> list[list[bytes]]:
    """Return the message in two pieces, in all ways, and byte by byte."""
    halves = [[message[:place], message[place:]] for place in range(1, len(message))]
    return [*halves, [message[place : place + 1] for place in range(len(message))]]


async def check_cuts(message: bytes) -> Received:
    """Fail unless `message` means the same wherever it is cut; return what it means."""
    whole = await receive([message], at_once=False)
    for pieces in cuts(message):
        for at_once in (False, True):
            assert await receive(pieces, at_once=at_once) == whole, pieces
    return whole


@pytest.mark.parametrize("name", GOOD)
def test_split_request_means_the_same(name: str) -> None:
    whole = asyncio.run(check_cuts(GOOD[name]))
    assert whole.statuses == [200] * len(whole.requests)
    assert whole.requests[-1] in {("GET", "/next", b""), ("POST", "/chunked", b"c")}
    assert all(path != "/smuggled" for _, path, _ in whole.requests)


@pytest.mark.parametrize("name", BAD)
def test_split_malformed_request_is_a_400_in_order(name: str) -> None:
    """Nothing behind it is read, and the response to a request before it comes first."""
    assert asyncio.run(check_cuts(BAD[name])) == Received([], [400])
    behind = asyncio.run(check_cuts(GET + BAD[name]))
    assert behind == Received([("GET", "/next", b"")], [200, 400])


def test_body_of_an_upgrade_offer_is_unchanged() -> None:
    [(_, _, body), _] = asyncio.run(receive([GOOD["offer"]], at_once=True)).requests
    assert body == TRAP


def test_pipelined_requests_are_limited() -> None:
    received = asyncio.run(receive([GET * 9999], at_once=True))
    assert 2 <= len(received.requests) < 20
    assert received.statuses == [200] * len(received.requests) + [400]
