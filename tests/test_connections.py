"""Our connections, against a server that answers with bytes of the test's choice."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from service import connections
from service.connections import (
    Answered,
    AnswerTooLong,
    ConnectionBroke,
    ConnectionNotMade,
    Connections,
)

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMIT = 1000

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Upstream:
    """Counts its connections and answers each request with the next of `answers`."""

    def __init__(self, *answers: bytes, keep_open: bool = True) -> None:
        self.answers = list(answers)
        self.keep_open = keep_open
        self.connections = 0
        self.requests = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                writer.write(self.answers.pop(0))
                await writer.drain()
                if not self.keep_open:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def connected(play: Play) -> AsyncIterator[Connections]:
    server = await asyncio.start_server(play, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made = Connections(urlsplit(f"http://127.0.0.1:{port}/"), LIMIT)
    try:
        yield made
    finally:
        made.close()
        server.close()
        if playing := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(playing, timeout=5)
        await asyncio.sleep(0.01)  # their sockets close a turn of the loop later


def answers_of(upstream: Upstream, requests: int) -> list[Answered]:
    async def ask() -> list[Answered]:
        async with connected(upstream) as made:
            return [await made.request(REQUEST) for _ in range(requests)]

    return asyncio.run(ask())


def test_a_connection_is_used_again() -> None:
    upstream = Upstream(OK, OK, OK)
    assert [answer.body for answer in answers_of(upstream, 3)] == [b"ok"] * 3
    assert upstream.connections == 1


def test_status_headers_and_body_come_as_they_were_sent() -> None:
    raw = b"HTTP/1.1 404 No\r\nX-A: 1\r\nx-a: \xe9\r\nContent-Length: 3\r\n\r\n\x00\xff\n"
    answer = answers_of(Upstream(raw), 1)[0]
    expected = [(b"X-A", b"1"), (b"x-a", b"\xe9"), (b"Content-Length", b"3")]
    assert answer == (404, expected, b"\x00\xff\n")


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret", id="whole"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsec", id="part"),
        pytest.param(b"HTT", id="beginning"),
        pytest.param(b"garbage", id="garbage"),
    ],
)
def test_what_comes_behind_an_answer_is_never_the_next_answer(tail: bytes) -> None:
    upstream = Upstream(OK + tail, OK)
    assert [answer.body for answer in answers_of(upstream, 2)] == [b"ok", b"ok"]
    assert upstream.connections == 2


def test_bytes_that_come_unasked_end_the_connection() -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
        await reader.read()
        writer.close()

    async def ask() -> list[bytes]:
        async with connected(play) as made:
            first = await made.request(REQUEST)
            await asyncio.sleep(0.15)
            return [first.body, (await made.request(REQUEST)).body]

    assert asyncio.run(ask()) == [b"ok", b"ok"]


def test_an_answer_that_closes_is_followed_by_a_new_connection() -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    upstream = Upstream(closing, OK)
    answers_of(upstream, 2)
    assert upstream.connections == 2


def test_a_connection_unused_for_too_long_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0)
    upstream = Upstream(OK, OK)
    answers_of(upstream, 2)
    assert upstream.connections == 2


def test_a_body_without_framing_ends_with_the_connection() -> None:
    upstream = Upstream(b"HTTP/1.1 500 No\r\n\r\nsorry", keep_open=False)
    assert answers_of(upstream, 1)[0].body == b"sorry"


def test_informational_answers_come_before_the_answer() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    answer = answers_of(Upstream(early + OK), 1)[0]
    assert (answer.status, answer.body) == (200, b"ok")
    assert answer.headers == [(b"Content-Length", b"2")]


def test_chunked_answers_are_put_together() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
    assert [answer.body for answer in answers_of(Upstream(chunked, chunked), 2)] == [b"ok"] * 2


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="in its headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", id="in its body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok", id="in a chunk"
        ),
        pytest.param(
            b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx", id="upgraded"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            id="framed twice",
        ),
    ],
)
def test_an_answer_that_is_cut_off_or_no_http_breaks(raw: bytes) -> None:
    with pytest.raises(ConnectionBroke):
        answers_of(Upstream(raw, keep_open=False), 1)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, id="body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3000, id="header"),
        pytest.param(b"HTTP/1.1 103 Hint\r\n\r\n" * 200, id="hints"),
    ],
)
def test_an_answer_longer_than_the_limit_breaks(raw: bytes) -> None:
    with pytest.raises(AnswerTooLong):
        answers_of(Upstream(raw), 1)


def test_an_answer_of_the_limits_length_passes() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * LIMIT
    assert len(answers_of(Upstream(raw), 1)[0].body) == LIMIT


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_connection_that_can_not_be_made_is_told_apart(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionNotMade):
        asyncio.run(Connections(urlsplit(f"http://{host}:{port}/"), LIMIT).request(REQUEST))


def test_where_an_address_refuses_the_next_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(_host: str, port: int, *_: object, **flags: int) -> list[object]:
        if flags["flags"] & socket.AI_NUMERICHOST:
            raise socket.gaierror
        return [(socket.AF_INET, 1, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]

    async def ask() -> bytes:
        server = await asyncio.start_server(Upstream(OK), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(socket, "getaddrinfo", two)
        made = Connections(urlsplit(f"http://accounts.spotify.test:{port}/"), LIMIT)
        try:
            return (await made.request(REQUEST)).body
        finally:
            made.close()
            server.close()
            await asyncio.sleep(0.05)

    assert asyncio.run(ask()) == b"ok"


def test_a_caller_that_gives_up_takes_its_connection_along() -> None:
    upstream = Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsec", OK)

    async def ask() -> bytes:
        async with connected(upstream) as made:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await made.request(REQUEST)
            return (await made.request(REQUEST)).body

    assert asyncio.run(ask()) == b"ok"
    assert upstream.connections == 2


def test_a_kept_connection_that_fails_takes_along_what_was_used_before_it() -> None:
    """Their packets get lost where its did; the next request goes over a new connection."""
    lost: list[bool] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_late = bool(lost)
        while await reader.read(65536) and (is_late or not lost):
            writer.write(OK)
        await reader.read()
        writer.close()

    async def ask() -> bytes:
        async with connected(play) as made:
            await asyncio.gather(*(made.request(REQUEST) for _ in range(5)))
            lost.append(True)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await made.request(REQUEST)
            async with asyncio.timeout(5):
                return (await made.request(REQUEST)).body

    assert asyncio.run(ask()) == b"ok"


def test_a_connection_closed_while_idle_is_not_used() -> None:
    upstream = Upstream(OK, OK, keep_open=False)

    async def ask() -> list[bytes]:
        async with connected(upstream) as made:
            first = await made.request(REQUEST)
            await asyncio.sleep(0.05)
            return [first.body, (await made.request(REQUEST)).body]

    assert asyncio.run(ask()) == [b"ok", b"ok"]
    assert upstream.connections == 2


def test_what_came_unasked_is_not_the_next_answer_even_if_nobody_has_read_it_yet() -> None:
    """The loop is busy while it comes: only the kernel knows of it."""

    class Poisoned(Upstream):
        async def __call__(
            self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            self.sockets.append(writer.get_extra_info("socket"))
            await super().__call__(reader, writer)

        sockets: ClassVar[list[socket.socket]] = []

    upstream = Poisoned(OK, OK)

    async def ask() -> Answered:
        async with connected(upstream) as made:
            await made.request(REQUEST)
            os.write(upstream.sockets[0].fileno(), OK.replace(b"ok", b"no"))
            return await made.request(REQUEST)

    assert asyncio.run(ask()).body == b"ok"
    assert upstream.connections == 2


def test_a_trailer_is_no_header() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n"
    [answered] = answers_of(Upstream(chunked), 1)
    assert answered.headers == [(b"Transfer-Encoding", b"chunked")]


def test_blanks_behind_a_value_are_not_part_of_it() -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nX:  y \t\r\n\r\n")
    assert answers_of(Upstream(answer), 1)[0].headers[-1] == (b"X", b"y")


def test_headers_have_a_bound() -> None:
    many = b"X: y\r\n" * 20_000
    with pytest.raises(AnswerTooLong):
        asyncio.run(_ask_once(b"HTTP/1.1 200 OK\r\n" + many + b"Content-Length: 0\r\n\r\n"))


async def _ask_once(answer: bytes) -> Answered:
    upstream = Upstream(answer)
    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    made = Connections(urlsplit(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), 10**6)
    try:
        return await made.request(REQUEST)
    finally:
        made.close()
        server.close()
        await asyncio.sleep(0.05)


def test_connections_that_nobody_needs_any_more_are_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream = Upstream(*[OK] * 20)

    async def ask() -> int:
        async with connected(upstream) as made:
            await asyncio.gather(*(made.request(REQUEST) for _ in range(5)))
            for _ in range(5):
                monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05)
                await asyncio.sleep(0.1)
                monkeypatch.setattr(connections, "IDLE_SECONDS", 30.0)
                await made.request(REQUEST)
                monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05)
                await made.request(REQUEST)
            return len(made._idle)  # noqa: SLF001 - what is open is seen nowhere else

    assert asyncio.run(ask()) <= 2
