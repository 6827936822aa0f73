"""HTTP/1.1 to one origin: connections, kept alive, each carrying one request at a time.

asyncio makes the connections and does TLS, httptools (llhttp) parses the answers; what is here is
who waits for what. Why not a whole client: docs/decisions/0001-http-client.md.
"""

import asyncio
import select
import ssl
from collections import deque
from typing import Final, NamedTuple, cast
from urllib.parse import SplitResult

import httptools

from service.names import Name

IDLE_SECONDS: Final = 30.0
"""A connection unused for longer is not used again: the other side may be closing it."""

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of an answer's headers."""

_INFORMATIONAL: Final = range(100, 200)


class ConnectionNotMade(OSError):
    """No connection: nothing of the request has left. The text is the cause's type, or "closed"."""


class ConnectionBroke(OSError):
    """The connection ended, or what came was no HTTP; the request may have arrived."""


class AnswerTooLong(ConnectionBroke):
    """More bytes came than are wanted."""


class Answered(NamedTuple):
    """An answer, complete; the body as it came."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Connections:
    """Connections to the host of `url`; answers have at most `limit` bytes."""

    def __init__(self, url: SplitResult, limit: int) -> None:
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._name = Name(self._host, self._port)
        self._tls = _verifying() if url.scheme == "https" else None
        self._limit = limit
        self._idle: deque[_Connection] = deque()

    async def request(self, message: bytes) -> Answered:
        """Send `message`, a whole request, and return the answer.

        Raises ConnectionNotMade before, ConnectionBroke after the request may have left. Nothing
        is repeated. If the caller is cancelled, the connection is dropped.
        """
        connection = self._take() or await self._connect()
        try:
            answered = await connection.exchange(message)
        except BaseException:
            connection.drop()
            self._drop_unproven(connection.last_used)
            raise
        if connection.is_reusable():
            self._idle.append(connection)
        else:
            connection.drop()
        if self._idle and self._idle[0].is_stale():
            self._idle.popleft().drop()  # the one unused for longest; one each time is enough
        return answered

    def close(self) -> None:
        """Drop the idle connections."""
        while self._idle:
            self._idle.pop().drop()

    def _drop_unproven(self, since: float) -> None:
        """Drop what was used last no later than a connection that failed.

        Where its packets got lost, theirs do too, and each would cost a request its whole time.
        """
        while self._idle and self._idle[0].last_used <= since:
            self._idle.popleft().drop()

    def _take(self) -> "_Connection | None":
        """Return the connection used last, which is the least likely to be closed meanwhile."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.drop()
        return None

    async def _connect(self) -> "_Connection":
        try:
            addresses = await self._name.addresses()
        except OSError as error:
            raise ConnectionNotMade(type(error).__name__) from None
        why = ""
        for address in addresses:
            try:
                return await self._connect_to(address)
            except OSError as error:  # try the next; ssl.SSLError is one too
                why = type(error).__name__
        raise ConnectionNotMade(why)

    async def _connect_to(self, address: str) -> "_Connection":
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(loop, self._limit),
            address,
            self._port,
            ssl=self._tls,
            server_hostname=self._host if self._tls else None,
        )
        return connection


class _Connection(asyncio.Protocol):
    """One connection: writes a request, collects the answer; httptools calls the `on_` methods."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self._loop = loop
        self._limit = limit
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Answered] | None = None
        self._poll = select.poll()
        self.last_used = 0.0
        self._reusable = False
        self._in_body = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self._received = 0

    async def exchange(self, message: bytes) -> Answered:
        if self._transport.is_closing():
            raise ConnectionNotMade("closed")
        self._reusable = self._in_body = False
        self._received = 0
        self._waiter = self._loop.create_future()
        self._transport.write(message)
        return await self._waiter

    def is_reusable(self) -> bool:
        """Tell whether the answer left the connection open, and nothing behind it."""
        return self._reusable and not self._transport.is_closing()

    def is_stale(self) -> bool:
        return self._loop.time() - self.last_used >= IDLE_SECONDS

    def is_usable(self) -> bool:
        """Tell whether a request can be sent: nothing, not even the end, came since the answer.

        The kernel is asked too: what came may not have been read yet.
        """
        unread = self._poll.poll(0)
        return not (unread or self.is_stale() or self._transport.is_closing())

    def drop(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            # Nobody asked. On no account may it be taken for the answer to the next request.
            self.drop()
            return
        self._received += len(data)
        if self._received > 2 * self._limit:  # headers and framing have no other bound
            self._fail(AnswerTooLong("too long"))
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(ConnectionBroke("not HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._ends_with_connection():
            self._complete()
        self._fail(ConnectionBroke("closed"))

    def on_message_begin(self) -> None:
        if self._waiter is None:
            self.drop()  # a second answer behind the first
        self._headers, self._body = [], bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # a trailer is no header (RFC 9110, section 6.5.1)
        self._headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._in_body = True
        if self._received > HEAD_LIMIT and _length(self._headers) > HEAD_LIMIT:
            self._fail(AnswerTooLong("too long"))

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > self._limit:
            self._fail(AnswerTooLong("too long"))

    def on_message_complete(self) -> None:
        self._in_body = False
        if self._parser.get_status_code() in _INFORMATIONAL:
            return  # the answer itself is still to come (RFC 9110, section 15.2)
        self._reusable = self._parser.should_keep_alive()
        self._complete()

    def _complete(self) -> None:
        self.last_used = self._loop.time()
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        body = bytes(self._body)
        waiter.set_result(Answered(self._parser.get_status_code(), self._headers, body))

    def _fail(self, error: ConnectionBroke) -> None:
        self.drop()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def _ends_with_connection(self) -> bool:
        """Tell whether the body ends where the connection does (RFC 9112, section 6.3)."""
        framing = {b"content-length", b"transfer-encoding"}
        framed = any(name.lower() in framing for name, _ in self._headers)
        return self._in_body and not framed


def _length(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)  # colon, blank, line end


def _verifying() -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, or those of SSL_CERT_FILE.

    NOTE: not ssl.create_default_context(), which would also write keys to SSLKEYLOGFILE.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # RFC 9525, section 2: the subject names nobody
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context
