"""One request being answered, and all that can be done to its connection meanwhile."""

import asyncio
import socket
import struct
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

from litestar.exceptions import HTTPException
from litestar.types import HTTPScope, Receive, Scope, Send

from simulator import forms
from simulator.answers import Answer, Headers
from simulator.record import Entry

EXTENSION = "simulator"
"""The ASGI extension under which ``simulator.server`` passes a request's transport and headers."""

_BODY_LIMIT = 2**20
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_NO_LINGER = struct.pack("ii", 1, 0)  # closing throws away what is unsent and sends RST


class Exchange:
    """One received request, and the ways to answer it or not to.

    Takes what ``received`` has read; ``entry`` is the request, and notes how it was answered.
    After any of the methods that answer, cut or wait for the client, the exchange is over.
    """

    def __init__(
        self, entry: Entry, transport: asyncio.Transport, receive: Receive, send: Send
    ) -> None:
        self.entry = entry
        self._transport = transport
        self._receive = receive
        self._send = send

    async def answer(self, answer: Answer) -> None:
        """Send an answer whole."""
        body = b"" if answer.status in _BODILESS else answer.body
        await self._begin(answer.status, answer.headers, len(body))
        await self._continue(body, more=False)

    async def dribble(self, answer: Answer, interval: float) -> None:
        """Send an answer with a pause before each byte of its body; stop when the client goes."""
        await self._begin(answer.status, answer.headers, len(answer.body))
        for position in range(len(answer.body)):
            if await self.client_left(within=interval):
                return
            more = position + 1 < len(answer.body)
            await self._continue(answer.body[position : position + 1], more=more)

    async def truncate(self, answer: Answer, missing: int) -> None:
        """Send an answer that promises more bytes than it has, and close the connection."""
        await self._begin(answer.status, answer.headers, len(answer.body) + missing)
        await self._continue(answer.body, more=True)
        await self.close()

    async def shout(self, text: bytes) -> None:
        """Send bytes as they are, HTTP or not, and close the connection."""
        self._transport.write(text)
        await self.close()

    async def close(self) -> None:
        """End the connection in the orderly way of TCP, with FIN."""
        self._transport.close()
        await self.client_left()

    async def reset(self) -> None:
        """Tear the connection down with a TCP RST."""
        peer = self._transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()
        await self.client_left()

    async def client_left(self, within: float | None = None) -> bool:
        """Wait until the connection is gone, or for so many seconds; tell whether it is gone."""
        try:
            async with asyncio.timeout(within):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return False
        return True

    async def _begin(self, status: int, headers: Headers, length: int) -> None:
        self.entry.status = status
        described = [*headers, ("Content-Length", str(length))]
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in described]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    async def _continue(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


async def received(scope: Scope, receive: Receive, send: Send) -> Exchange | None:
    """Read a request to its end; return None when the client leaves before that.

    HTTPException with status 413 when the body is larger than any form sent here.
    """
    body = await _body(receive)
    if body is None:
        return None
    extension = (scope["extensions"] or {})[EXTENSION]
    headers = _texts(cast("Iterable[tuple[bytes, bytes]]", extension["headers"]))
    transport = cast("asyncio.Transport", extension["transport"])
    return Exchange(_entry(cast("HTTPScope", scope), headers, body), transport, receive, send)


async def _body(receive: Receive) -> bytes | None:
    body, more = bytearray(), True
    while more:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        more = message["more_body"]
        if len(body) > _BODY_LIMIT:
            raise HTTPException("The body is larger than 1 MiB", status_code=413)
    return bytes(body)


def _entry(scope: HTTPScope, headers: forms.Pairs, body: bytes) -> Entry:
    entry = Entry(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        http_version=scope["http_version"],
        headers=headers,
        body=body.decode(errors="replace"),
        form=[],
        client_port=scope["client"][1] if scope["client"] else None,
    )
    if entry.media_type() == forms.MEDIA_TYPE:
        entry.form = forms.pairs(body)
    return entry


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> forms.Pairs:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
