"""The server's own writing of answers, spoken to over sockets; what it leaves to uvicorn too."""

import asyncio
import socket
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.asgi import App, Receive, Scope, Send
from service.protocol import Protocol

LENGTH = (b"content-length", b"2")


def answering(*messages: dict[str, Any]) -> App:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*headers]}


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def spoken(app: App, request: bytes) -> bytes:
    """Return what `app` answers to `request`."""

    async def speak() -> bytes:
        config = uvicorn.Config(app, ws="none", log_config=None, access_log=False)
        config.load()
        loop = asyncio.get_running_loop()
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        state = ServerState()
        server = await loop.create_server(lambda: Protocol(config, state, {}), sock=listening)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answered = b""
        writer.write(request)
        while not answered.endswith((b"\nok", b"0\r\n\r\n")):
            if not (data := await asyncio.wait_for(reader.read(65536), 5)):
                break
            answered += data
        writer.close()
        server.close()
        return answered

    return asyncio.run(speak())


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_an_answer_of_known_length_is_one_write() -> None:
    answer = spoken(answering(start(LENGTH, (b"x-a", b"b")), part(b"ok")), GET)
    assert answer == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nok"


@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([start(), part(b"ok")], b"2\r\nok\r\n0\r\n\r\n"),
        ([start(LENGTH), part(b"o", more=True), part(b"k")], b"ok"),
    ],
    ids=["no length", "in parts"],
)
def test_other_answers_are_sent_too(messages: list[dict[str, Any]], body: bytes) -> None:
    assert spoken(answering(*messages), GET).endswith(b"\r\n\r\n" + body)


def test_a_length_in_a_value_is_none() -> None:
    answer = spoken(answering(start((b"x-a", b"content-length: 2")), part(b"ok")), GET)
    assert answer.endswith(b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")


@pytest.mark.parametrize("value", [b"a\r\nx-b: c", b"a\rb", b"a\nb", b"a\0b", b"a\x7fb", b"\x0b"])
def test_a_header_cannot_become_two(value: bytes) -> None:
    answer = spoken(answering(start(LENGTH, (b"x-a", value)), part(b"ok")), GET)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"x-a" not in answer


@pytest.mark.parametrize(
    ("request_", "headers"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", ()),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", ()),
        (GET, ((b"connection", b"close"),)),
    ],
    ids=["1.0", "asked for", "told"],
)
def test_a_connection_that_is_to_close_says_so_once(
    request_: bytes, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    answer = spoken(answering(start(LENGTH, *headers), part(b"ok")), request_)
    assert answer.count(b"connection: close") == 1


def test_a_head_has_no_body() -> None:
    request = b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = spoken(answering(start(LENGTH), part(b"ok")), request)
    assert answer.endswith(b"content-length: 2\r\nconnection: close\r\n\r\n")
