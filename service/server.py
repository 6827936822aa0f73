"""The HTTP server: uvicorn with deadlines, limits, a drain and a port for metrics.

docs/decisions/0002-asgi-server.md says why uvicorn, with its figures.
"""

import asyncio
import contextlib
import gc
import heapq
import itertools
import resource
import signal
import socket
import string
from collections import deque
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any, cast

import httptools
import uvicorn
from litestar import Litestar
from litestar.response.base import ASGIResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service import __version__, errors, logs
from service.errors import MalformedBody
from service.health import Readiness
from service.logs import log
from service.metrics import Metrics
from service.middleware import new_request_id
from service.responses import Headers
from service.sealing import fingerprint
from service.settings import Settings
from service.upstream import Upstream

HEAD_LIMIT = 32 * 1024
"""Bytes of a request's line and headers."""
HEADER_LIMIT = 100
"""Headers of a request: a short header uses many times its size in memory."""
MESSAGE_LIMIT = 128 * 1024
"""Bytes of a whole request as sent: chunk framing, trailers and an unread body included."""
PIPELINE_LIMIT = 16
"""Requests that wait on one connection for the response before theirs."""
HOST_BYTES = b"!$%&'()*+,-.:;=[]_~" + string.digits.encode() + string.ascii_letters.encode()
"""The characters of a host and a port (RFC 3986, section 3.2.2)."""
FOREIGN_METHODS = frozenset(
    b"CONNECT SOURCE DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER "
    b"REDIRECT RECORD FLUSH".split()
)
"""Methods of tunnels, Icecast and RTSP, which llhttp reads as well."""

CONNECTION_LIMIT = 2048
"""Open connections of clients."""
RESERVED_FRACTION = 8
"""1/8 of the connections is unavailable to requests that wait for Spotify: probes need some."""
METRICS_CONNECTION_LIMIT = 64
"""Open connections to the metrics port."""
EVICTED_FRACTION = 32
"""1/32 of the connections is closed at once when the limit is reached: the search is O(n)."""
WARNING_SECONDS = 60.0
"""Time between two log lines about the connection limit of a port."""
SPARE_FILES = 64
"""Files that the process itself, traces and a rate limit storage need."""
BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
"""Longer than the idle timeout of common load balancers, so that they close first."""
LAST_REQUEST_SECONDS = 1.0
"""Seconds to complete a request that is being sent when accepting ends."""
LAST_RESPONSE_SECONDS = 2
"""Seconds for the responses to those requests, all of them refusals or probes."""
GC_THRESHOLD = 10_000
"""New objects that start a garbage collection."""

TOO_LONG = "The request is too long."


class _Refused(Exception):
    """Raised in a parser callback to stop parsing."""


class Parser(httptools.HttpRequestParser):
    """uvicorn's parser, for a server that declines offers to upgrade (RFC 9110, section 7.8).

    httptools stops after the head of a request that offers another protocol, such as `h2c`: that
    protocol might follow. Here the body of the request follows, and the protocol reads it unparsed.
    """

    def __init__(self, protocol: "Protocol") -> None:
        super().__init__(protocol)
        self._protocol = protocol

    def feed_data(self, data: Any) -> None:  # noqa: ANN401 - any buffer, as httptools has it
        """Parse `data`, except the body behind an offer to upgrade."""
        rest = self._protocol.take_body(data)
        while rest:
            try:
                super().feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                rest = self._protocol.take_body(rest[offer.args[0] :])
            else:
                return


class BatchingTransport(asyncio.Transport):
    """Sends the writes of one event-loop iteration with one system call.

    uvicorn writes the head and the body of a response separately, and uvloop would send each at
    once. Writes to a transport that is closing are dropped, as `transport` itself drops them.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._unsent: list[bytes] = []

    def write(self, data: Any) -> None:  # noqa: ANN401 - any buffer, as asyncio has it
        """Queue `data` until the end of this iteration."""
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(data)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and not self._transport.is_closing():
            self._transport.writelines(unsent)

    def close(self) -> None:
        """Send the queued data, then close."""
        self._send()
        self._transport.close()

    def abort(self) -> None:
        """Close without sending the queued data."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Return whether the transport is closing."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: object = None) -> Any:  # noqa: ANN401 - asyncio's
        """Return information about the connection, such as `peername`."""
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Return the bytes that were sent in earlier iterations and not received by the client."""
        return self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Pause reading from the client."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading from the client."""
        self._transport.resume_reading()


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 with limits on the size of a request, on its time and on that of its response.

    uvicorn's own protocol does the work. The methods here add checks, and never change what was
    received. A request's head has REQUEST_TIMEOUT to arrive, and so has what is left of a body
    whose response is complete (the time of a body that is being read is limited by its reader).
    """

    server_state: "Connections"

    _client_since: float | None = None
    """Time since when the client has to send something; None while it need not."""
    _unsent_since: float | None = None
    """Time since when a part of a response waits to be taken by the client."""
    _message_bytes = 0
    _in_head = True
    _declined_bytes = 0
    """Remaining bytes of the body of a request that offers an upgrade."""
    _reason: str | None = None
    _is_refused = False

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: "Connections",
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = Parser(self)
        self._unanswered: deque[RequestResponseCycle] = deque()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the first request's time, unless there are too many connections."""
        is_admitted = self.server_state.admit(self.loop.time())
        super().connection_made(BatchingTransport(transport, self.loop))
        self._client_since = self.loop.time()
        if not is_admitted:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse `data`, within the limits."""
        if self._is_refused:
            return
        if self._client_since is None:  # line ends between two requests count as well
            self._client_since = self.loop.time()
        self._message_bytes += len(data)
        super().data_received(data)
        if self._message_bytes > (HEAD_LIMIT if self._in_head else MESSAGE_LIMIT):
            self.send_400_response(TOO_LONG)

    def on_message_begin(self) -> None:
        """Start the time of a request's head."""
        if len(self.pipeline) >= PIPELINE_LIMIT:
            raise _Refused
        super().on_message_begin()
        self._client_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Check the head, then start the app."""
        self._reason = _reason_to_refuse(self.parser, self.url, self.headers)
        if self._reason:
            raise _Refused
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        self._in_head = False
        self._client_since = self.loop.time()
        if self.parser.should_upgrade():
            self._declined_bytes = int(dict(self.headers).get(b"content-length", 0))
        self.headers = []  # of this list: trailers are no headers (RFC 9110, section 6.5.1)

    def take_body(self, data: bytes) -> bytes:
        """Take the body of a request that offers an upgrade; return what follows it."""
        if not self._declined_bytes or not data:
            return data
        body = data[: self._declined_bytes]
        self._declined_bytes -= len(body)
        self.on_body(body)
        self.on_message_complete()
        return data[len(body) :]

    def on_message_complete(self) -> None:
        """Wait for the response, or for the next request if there was one already."""
        if self._declined_bytes:
            return  # httptools expects no body here
        super().on_message_complete()
        self._in_head, self._message_bytes = True, 0
        self._client_since = self.loop.time() if self.cycle.response_complete else None

    def on_response_complete(self) -> None:
        """Start the next request, or refuse invalid bytes after this one."""
        self._unanswered.popleft()
        super().on_response_complete()
        if self._is_refused and not self._is_answering() and not self.transport.is_closing():
            self._refuse()

    def connection_lost(self, exc: Exception | None) -> None:
        """Mark every request as disconnected; uvicorn marks only the last one."""
        super().connection_lost(exc)
        for cycle in self._unanswered:
            cycle.disconnected = True

    def eof_received(self) -> bool:  # type: ignore[override]
        """Respond to a client that closed only its own direction, if its request is complete."""
        super().eof_received()
        if self.is_waiting():
            self.transport.close()  # sends a response that is queued
        else:
            self.cycle.keep_alive = False
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuse invalid HTTP in our own form, after earlier responses, and stop reading.

        NOTE: not calling uvicorn's method is intentional: it writes plain text at once, and so
        ahead of the response to a request before.
        """
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self._reason = self._reason or msg
        if self.is_waiting():
            self._refuse()
        elif self.cycle.more_body:
            self.pipeline[0] = (self.cycle, self._malformed(msg))  # type: ignore[assignment]
            self.cycle.keep_alive = False
        # Otherwise it follows a complete request, and waits for that one's response.

    def _refuse(self) -> None:
        """Respond and close; close without a response if the request already has one."""
        if self._in_head or self._is_answering():
            response = self._malformed(self._reason or "")
            fields = [*self.server_state.default_headers, *response.encode_headers()]
            head = b"".join([b"%s: %s\r\n" % field for field in fields])
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + response.body)
        self.transport.close()

    def shutdown(self) -> None:
        """Close after the current request; wait LAST_REQUEST_SECONDS for one being sent."""
        if self._client_since is None or self._is_answering():
            super().shutdown()
        else:
            self.loop.call_later(LAST_REQUEST_SECONDS, super().shutdown)

    def check(self, now: float, timeout: float) -> None:
        """Close the connection if its client is late in sending a request or taking a response."""
        if not self.transport.get_write_buffer_size():
            self._unsent_since = None
        elif self._unsent_since is None:
            self._unsent_since = now
        elif now - self._unsent_since >= timeout:
            self.transport.abort()
        since = now if self._client_since is None or self._is_answering() else self._client_since
        if now - since >= timeout:
            self.transport.close()

    def is_waiting(self) -> bool:
        """Return whether the connection waits for its client: for a request, or more of a body."""
        return not self._is_answering() or (not self.pipeline and self.cycle.more_body)

    def patience(self) -> tuple[bool, float]:
        """Return the order in which waiting connections are closed: without a request first."""
        return self._message_bytes > 0, self._client_since or 0.0

    def _malformed(self, reason: str) -> ASGIResponse:
        """Log a request that is not valid HTTP, and return its response."""
        request_id = new_request_id()
        log.info("request.malformed", request_id=request_id, status=int(MalformedBody.status))
        headers = {"x-request-id": request_id, "connection": "close", **dict(errors.NO_STORE)}
        path = self.url.partition(b"?")[0].rstrip(b"/").decode("latin-1")
        body = errors.body(MalformedBody(reason), oauth=path in self.server_state.oauth_paths)
        return ASGIResponse(body=body, status_code=MalformedBody.status, headers=headers)

    def _is_answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete


def _reason_to_refuse(  # noqa: PLR0911 - one for each reason
    parser: httptools.HttpRequestParser, url: bytes, headers: Headers
) -> str | None:
    """Return why a request is refused for its head, or None.

    The Host has no meaning here, but of two a proxy in front may have chosen the other one (RFC
    9112, section 3.2).
    """
    size = len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > HEAD_LIMIT or len(headers) > HEADER_LIMIT:
        return TOO_LONG
    if b"#" in url:  # not part of a path here, but perhaps for a proxy that filters by path
        return "The request target has a fragment."
    version = parser.get_http_version()
    if version not in {"1.1", "1.0"} or parser.get_method() in FOREIGN_METHODS:
        return "The protocol is not HTTP/1.1 or HTTP/1.0."
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 and (hosts or version == "1.1"):
        return "The request needs one Host header."
    if any(host.translate(None, HOST_BYTES) for host in hosts):
        return "The Host header is not valid."
    if parser.should_upgrade() and any(name == b"transfer-encoding" for name, _ in headers):
        return "A request that offers an upgrade needs a Content-Length."
    return None


class Connections(ServerState):
    """The connections of one port: at most `limit`, and none whose client is late.

    `timeout` is REQUEST_TIMEOUT in seconds. Errors on `oauth_paths` have RFC 6749's form.
    """

    def __init__(
        self, port: int, limit: int, timeout: float, oauth_paths: Collection[str] = ()
    ) -> None:
        super().__init__()
        self.oauth_paths = oauth_paths
        self._port = port
        self._limit = limit
        self._timeout = timeout
        self._next_warning = 0.0

    def admit(self, now: float) -> bool:
        """Return whether one more connection may be made, after closing some if that is needed.

        Only connections that wait for their client are closed, so that a client with a request, a
        probe for example, is admitted while others only hold connections.
        """
        if len(self.connections) < self._limit:
            return True
        if now >= self._next_warning:
            self._next_warning = now + WARNING_SECONDS
            log.warning("server.full", port=self._port, connections=self._limit)
        waiting = [connection for connection in self._all() if connection.is_waiting()]
        count = max(1, self._limit // EVICTED_FRACTION)
        for connection in heapq.nsmallest(count, waiting, key=Protocol.patience):
            self.connections.discard(connection)
            connection.transport.abort()
        return len(self.connections) < self._limit

    def check(self, now: float) -> None:
        """Close the connections whose client is late."""
        for connection in self._all():
            connection.check(now, self._timeout)

    def _all(self) -> list[Protocol]:
        return list(cast("set[Protocol]", self.connections))


class Server(uvicorn.Server):
    """Serve until a signal, then drain: not ready at once, but serving for DRAIN_SECONDS more.

    Requests under way then are finished, and new ones refused, except probes. A second signal ends
    the process at once.
    """

    def __init__(self, app: Litestar, settings: Settings) -> None:
        super().__init__(
            _config(
                app,
                lifespan="on",
                loop="uvloop",
                backlog=BACKLOG,
                timeout_graceful_shutdown=LAST_RESPONSE_SECONDS,
            )
        )
        self._readiness: Readiness = app.state["readiness"]
        self._metrics: Metrics = app.state["metrics"]
        self._settings = settings
        timeout = settings.request_timeout
        limit = _connection_limit(settings)
        upstream: Upstream = app.state["upstream"]
        upstream.limit = limit - limit // RESERVED_FRACTION
        self._clients = Connections(settings.port, limit, timeout, app.state["oauth_paths"])
        self._scrapers = Connections(settings.metrics_port, METRICS_CONNECTION_LIMIT, timeout)
        self.server_state = self._clients

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to drain; the second time, end as by the signal's default."""
        if self._readiness.draining:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._readiness.draining = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and log the address."""
        logs.watch(asyncio.get_running_loop())
        await super().startup(sockets)
        await self._serve_metrics()
        # Imported modules stay: the collector need not visit them again and again, 5 % of a
        # request. And it need not run for a few hundred objects, as many as a request makes: 2 %.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        for listening in sockets or ():
            host, port = listening.getsockname()[:2]
            keys = list(filter(None, map(fingerprint, self._settings.keyring)))
            log.notice("server.started", version=__version__, host=host, port=port, keys=keys)

    async def _serve_metrics(self) -> None:
        """Serve /metrics on its own port, which an ingress does not reach.

        NOTE: going on without it is intentional: tokens matter more, and a second service on one
        host, or a port that is taken, is no reason to refuse them.
        """
        host, port = self._settings.host, self._settings.metrics_port
        if not port:
            return
        try:
            listening = listen(host, port)
        except OSError as error:
            log.error("metrics.failed", host=host, port=port, problem=error.strerror)
            return
        config = _config(self._metrics.app())
        server = await asyncio.get_running_loop().create_server(
            lambda: Protocol(config, self._scrapers, {}),
            sock=listening,
            backlog=METRICS_CONNECTION_LIMIT,
        )
        self.servers.append(server)

    async def on_tick(self, counter: int) -> bool:
        """Close late connections once a second; return whether to stop.

        uvicorn's `should_exit` would skip the drain when the signal comes as the start ends.
        """
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            self._clients.check(now)
            self._scrapers.check(now)
        return await super().on_tick(counter) or self._readiness.draining

    async def main_loop(self) -> None:
        """Serve until a signal and DRAIN_SECONDS longer, then finish the requests under way."""
        await super().main_loop()
        self._readiness.draining = True
        log.notice("server.draining", seconds=self._settings.drain_seconds)
        await self._tick(self._settings.drain_seconds)
        self._readiness.stopping = True
        for connection in list(self._clients.connections):
            connection.shutdown()
        under_way = set(self._clients.tasks)
        # The port stays open meanwhile, so that liveness probes succeed.
        grace = self._settings.request_timeout + self._settings.upstream_timeout
        await self._tick(grace, until=lambda: under_way.isdisjoint(self._clients.tasks))

    async def _tick(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Run `on_tick` ten times a second, for `seconds` or until `until()` is true."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        for counter in itertools.count():
            if loop.time() >= end or until():
                return
            await self.on_tick(counter)
            await asyncio.sleep(0.1)


def _config(app: Any, **more: Any) -> uvicorn.Config:  # noqa: ANN401 - uvicorn's own types
    """Return uvicorn's configuration for both ports."""
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        **more,
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket to listen with, or raise OSError."""
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening


def _open_files() -> None:
    """Raise the limit of open files as far as the system allows: often it is 1,024 at first.

    Otherwise idle connections of clients would use up the files that calls to Spotify need.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a limit that it does not show
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _connection_limit(settings: Settings) -> int:
    """Return the number of clients' connections that leaves files for everything else."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return CONNECTION_LIMIT
    others = settings.upstream_max_in_flight + METRICS_CONNECTION_LIMIT + SPARE_FILES
    return min(CONNECTION_LIMIT, max(files - others, files // 4))


def run(app: Litestar, settings: Settings, listening: socket.socket) -> None:
    """Serve `app` on `listening` until a signal."""
    _open_files()
    Server(app, settings).run(sockets=[listening])
