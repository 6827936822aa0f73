"""One request with its response, and operations of faults on the connection."""

import asyncio
import socket
import struct
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

from litestar.exceptions import HTTPException
from litestar.types import HTTPScope, Receive, Scope, Send

from simulator import forms
from simulator.record import Entry
from simulator.responses import Headers, RawResponse

EXTENSION = "simulator"
"""The ASGI extension under which ``simulator.server`` passes a request's transport and headers."""

_BODY_LIMIT = 2**20
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_NO_LINGER = struct.pack("ii", 1, 0)  # closing drops unsent data and sends RST


class Exchange:
    """A received request, with methods to respond to it or to break its connection.

    ``received`` creates it. ``entry`` records the request and the status of the response. Each
    method ends the exchange, except ``client_left`` with a timeout.
    """

    def __init__(
        self, entry: Entry, transport: asyncio.Transport, receive: Receive, send: Send
    ) -> None:
        self.entry = entry
        self._transport = transport
        self._receive = receive
        self._send = send

    async def respond(self, response: RawResponse) -> None:
        """Send a response."""
        body = b"" if response.status in _BODILESS else response.body
        await self._begin(response.status, response.headers, len(body))
        await self._continue(body, more=False)

    async def dribble(self, response: RawResponse, interval: float) -> None:
        """Send a response with a pause before each byte of its body, until the client leaves."""
        await self._begin(response.status, response.headers, len(response.body))
        for position in range(len(response.body)):
            if await self.client_left(within=interval):
                return
            more = position + 1 < len(response.body)
            await self._continue(response.body[position : position + 1], more=more)

    async def truncate(self, response: RawResponse, missing: int) -> None:
        """Send a response with a Content-Length that is too large, and close the connection."""
        await self._begin(response.status, response.headers, len(response.body) + missing)
        await self._continue(response.body, more=True)
        await self.close()

    async def shout(self, text: bytes) -> None:
        """Send raw bytes, and close the connection."""
        self._transport.write(text)
        await self.close()

    async def close(self) -> None:
        """Close the connection with a TCP FIN."""
        self._transport.close()
        await self.client_left()

    async def reset(self) -> None:
        """Close the connection with a TCP RST."""
        peer = self._transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()
        await self.client_left()

    async def client_left(self, within: float | None = None) -> bool:
        """Wait until the client leaves, or for ``within`` seconds; return whether it left."""
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
    """Read a request; return None if the client leaves before its end.

    HTTPException with status 413 if the body is larger than 1 MiB.
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
