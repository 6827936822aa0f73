"""HTTP/1.1 of one connection: uvicorn's protocol, with read deadlines and bounds.

docs/decisions/0002-asgi-server.md says why uvicorn, with its figures.
"""

import asyncio
import heapq
import re
import string
from typing import cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service import middleware as observation
from service import errors as answers
from service.cycle import Cycle
from service.errors import MalformedBody
from service.logs import log

HEAD_LIMIT = 32 * 1024
"""Bytes of a request's line and headers."""
HEADER_LIMIT = 100
"""Headers of a request: a short one weighs many times in memory what it does on the way."""
MESSAGE_LIMIT = 128 * 1024
"""Bytes of a whole request as sent, chunks' framing, trailers and what nobody reads included."""
HOST_BYTES = b"!$%&'()*+,-.:;=[]_~" + string.digits.encode() + string.ascii_letters.encode()
"""What a host and a port are written in (RFC 3986, section 3.2.2)."""
UPGRADE_HINT = b"upgrade:"
CONNECTION_LIMIT = 2048
"""Connections of clients at the same time."""
EVICTED = 64
"""How many connections that wait make room at once: to find those costs a look at each."""
LAST_REQUEST_SECONDS = 1.0
"""How long a new connection's request is awaited when accepting has ended."""


class _Refused(Exception):
    """Raised in a callback of the parser, which then reads no further."""


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 with bounds: on a request's bytes, on its time, and on an answer nobody takes.

    Head and body each have REQUEST_TIMEOUT to arrive. A connection has one timer, which is looked
    at rather than rearmed: `_deadline` moves, and the timer finds out whether it has passed. It
    ends idle connections too.

    What uvicorn's class does for each request (pipelines, WebSockets, a timer for idle connections)
    is left out: the methods here say all that happens to one.

    One request at a time: what is sent before an answer is complete isn't read, and the connection
    closes after that answer (RFC 9112, section 9.3.2, leaves it to the client to send it again).
    """

    request_timeout = 10.0
    connection_limit = CONNECTION_LIMIT

    _deadline: float | None = None
    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _in_head = True
    _idle = False
    _deaf = False
    _is_new = True
    _head_bytes = 0
    _message_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the first request's time: it has to come soon."""
        if len(self.connections) >= self.connection_limit:
            self._make_room()
        is_one_too_many = len(self.connections) >= self.connection_limit
        super().connection_made(transport)
        if is_one_too_many:
            transport.abort()
        else:
            self._expect(self.request_timeout)

    def _make_room(self) -> None:
        """Close connections that wait for a client: those without a request, then the slow ones.

        So that a client who asks, a probe among them, gets in whatever crowd just holds on. None is
        closed whose request is complete: that is answered.
        """
        connections = cast("set[Protocol]", self.connections)
        waiting = [each for each in connections if each.is_waiting()]
        for each in heapq.nsmallest(EVICTED, waiting, key=Protocol.patience):
            self.connections.discard(each)
            each.transport.abort()

    def is_waiting(self) -> bool:
        """Tell whether it is the client's turn."""
        return not self._is_answering() or self.cycle.more_body

    def patience(self) -> tuple[bool, float]:
        """Return what orders connections that wait: first the idle ones, by their deadlines."""
        return not self._idle, self._deadline or 0.0

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timers."""
        self._deadline = None
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that has only closed its own direction."""
        if self.is_waiting():
            return False
        self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Parse, within the limits."""
        if self._deaf:
            return
        if self._idle:
            self._idle, self._deadline = False, None
        self._message_bytes += len(data)
        if self._in_head and UPGRADE_HINT in data.lower():
            data = _without_upgrade(data)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._message_bytes > (HEAD_LIMIT if self._in_head else MESSAGE_LIMIT):
            self.send_400_response("The request is too long.")
        elif self._in_head and self._deadline is None and not self._is_answering():
            self._expect(self.request_timeout)  # line ends between requests are no request

    def on_message_begin(self) -> None:
        """Start the head's time, if it isn't running since the connection was made."""
        if self._is_answering():
            raise _Refused
        super().on_message_begin()
        if self._deadline is None or self._idle:  # idle since a moment ago, in the same data
            self._idle = False
            self._expect(self.request_timeout)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer is none (RFC 9110, section 6.5.1)."""
        if not self._in_head:
            return
        self._head_bytes += len(name) + len(value) + 4  # colon, blank, line end
        if self._head_bytes > HEAD_LIMIT or len(self.headers) == HEADER_LIMIT:
            raise _Refused
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the body's time, and the app."""
        if self.parser.should_upgrade():
            # _without_upgrade() missed it, and the parser takes the body for another protocol.
            raise _Refused
        if not _is_addressed(self.parser.get_http_version(), self.headers):
            raise _Refused
        self._in_head = False
        self._expect(self.request_timeout)
        self._complete_scope()
        self.cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=self.scope["http_version"] != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        task = self.loop.create_task(self.cycle.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _complete_scope(self) -> None:
        """Add what is known once the headers are."""
        url = httptools.parse_url(self.url)
        raw_path = url.path or b"/"  # of a URL with a host alone
        path = raw_path.decode("ascii")
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = self.parser.get_http_version()
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"] = raw_path
        self.scope["query_string"] = url.query or b""

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body until the app takes it."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Stop the time."""
        self._deadline = None
        self._in_head, self._head_bytes, self._message_bytes = True, 0, 0
        self._is_new = False
        if self.cycle.response_complete:
            self._rest()
        else:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._in_head:  # else the rest of a body that was refused is still to come
            self._rest()

    def _rest(self) -> None:
        """Wait for the next request, for as long as an idle connection may."""
        self._idle = True
        self._expect(self.timeout_keep_alive)

    def shutdown(self) -> None:
        """Close after the request that is under way; one that has been sent already is served."""
        if self._is_answering():
            self.cycle.keep_alive = False
        elif self._is_new or self._message_bytes:
            self.loop.call_later(LAST_REQUEST_SECONDS, self._close_unless_answering)
        else:
            self.transport.close()

    def _close_unless_answering(self) -> None:
        if not self._is_answering():
            self.transport.close()

    def pause_writing(self) -> None:
        """Give the client time to take what it asked for."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.request_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def send_400_response(self, msg: str) -> None:
        """Refuse what isn't HTTP in our own form, and read no further."""
        if self._deaf or self.transport.is_closing():
            return
        self._deaf = True
        if self._is_answering() and not self.cycle.more_body:
            # The request before it is a good one, whose answer must not be overtaken.
            self.cycle.keep_alive = False
        elif self._is_answering() or self._in_head:
            self._write_400(msg)
            self.transport.close()
        else:
            self.transport.close()  # what is left of a body that was answered already

    def _write_400(self, msg: str) -> None:
        request_id = observation.new_request_id()
        log.info("request.malformed", request_id=request_id, status=MalformedBody.status)
        body = answers.respond(MalformedBody(msg)).content
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"cache-control: no-store\r\nx-request-id: {request_id}\r\nconnection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)

    def _is_answering(self) -> bool:
        if self.cycle is None:  # before the first request
            return False
        return not self.cycle.response_complete

    def _expect(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()  # it is an idle connection's, which may wait for longer
            self._timer = None
        if self._timer is None:
            self._timer = self.loop.call_at(self._deadline, self._check)

    def _check(self) -> None:
        """Close the connection if its request is late; else look again when it would be."""
        self._timer = None
        if self._deadline is None or self.transport.is_closing():
            return
        if self.loop.time() < self._deadline:
            self._timer = self.loop.call_at(self._deadline, self._check)
        elif self._is_answering():
            self._end_body()
        else:
            self.transport.close()

    def _end_body(self) -> None:
        """Give the app what there is of the body; it answers 408 and closes the connection."""

        self.cycle.more_body = False
        self.cycle.message_event.set()
        self._expect(self.request_timeout)


def _is_addressed(version: str, headers: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether a request has the Host that it must have (RFC 9112, section 3.2).

    It counts for nothing here, but a proxy in front may have chosen another one of two.
    """
    hosts = [value for name, value in headers if name == b"host"]
    if version not in {"1.1", "1.0"} or len(hosts) > 1:
        return False
    return not hosts[0].translate(None, HOST_BYTES) if hosts else version == "1.0"


def _without_upgrade(data: bytes) -> bytes:
    """Ignore an offer to upgrade, as a server may (RFC 9110, section 7.8).

    httptools takes the offer, and what should be the request's body for another protocol.

    NOTE: only a line that is known to be whole goes. What comes later would continue the header
    before it, by the rest of a value or by a fold; such an offer is left to be refused.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return re.sub(rb"(?i)\r\nupgrade:[^\r\n]*(?=\r\n[^ \t])", b"", head + end) + rest
