"""ASGI middleware: request id, server span, log line and metrics of every request.

It is one ASGI middleware outside Litestar's router, so that a 404 is recorded like a success. The
only client input in a log line is a well-formed request id: routes are templates, never paths.
"""

import logging
import re
import time
from random import getrandbits
from typing import TYPE_CHECKING, Any, Final

from litestar import Request
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from service import errors, health, logs
from service.errors import (
    ClientGone,
    InternalError,
    NotFound,
    Outcome,
    ServiceError,
    Stopping,
)
from service.grants import Endpoint, Flow
from service.health import Readiness
from service.logs import log
from service.metrics import Metrics
from service.rate_limit import Clients
from service.responses import Reuse, TokenResponse

if TYPE_CHECKING:
    from service.tracing import ServerSpan, Tracing

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_LOGGED_METHODS: Final = frozenset(["GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"])
_STATE_KEY: Final = "record"


class RequestRecord:
    """The facts about a request; its handler adds flow, event and Spotify's response."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.started = time.perf_counter()
        self.status: int = ClientGone.status
        self.route: str | None = None
        self.endpoint: Endpoint | None = None
        self.flow: Flow | None = None
        self.event: str | None = None
        self.response: TokenResponse | None = None
        self.error: ServiceError | None = None

    def complete(self, scope: Scope) -> None:
        """Add the error, the route and the endpoint, which Litestar stored in `scope`.

        A request that is refused because the server stops counts nowhere: it is not overload.
        """
        self.error = scope["state"].get(errors.STATE_KEY)
        self.route = scope.get("path_template")
        if isinstance(self.error, Stopping):
            return
        handler = scope.get("route_handler")  # absent without a route, despite its type
        opt: dict[str, Any] = getattr(handler, "opt", {})
        self.endpoint = opt.get("endpoint")
        self.flow = self.flow or opt.get("flow")

    @property
    def outcome(self) -> Outcome:
        """How the token request ended."""
        if self.error is not None:
            return self.error.outcome
        if self.response is None:
            return Outcome.ABANDONED
        if self.response.is_success:
            return Outcome.SUCCESS
        return Outcome.REFUSED if self.response.status < 500 else Outcome.UPSTREAM_ERROR  # noqa: PLR2004

    @property
    def reused(self) -> Reuse | None:
        """Why the request needed no upstream call of its own, if it did not."""
        if self.error is not None and self.error.shared:
            return Reuse.SHARED
        return self.response.reused if self.response else None

    @property
    def level(self) -> int:
        """The level of the log line."""
        if self.route in health.PATHS:
            return logging.DEBUG
        if self.status < 500:  # noqa: PLR2004
            return logging.INFO
        return logging.ERROR if isinstance(self.error, InternalError) else logging.WARNING

    @property
    def name(self) -> str:
        """The event of the log line."""
        if self.route in health.PATHS:
            return "probe.answered"
        if self.error is not None:
            return self.error.event
        if self.response is None:
            return ClientGone.event if self.status == ClientGone.status else "request.served"
        if self.outcome is Outcome.SUCCESS:
            return self.event or "request.served"
        return "token.refused" if self.outcome is Outcome.REFUSED else "upstream.failed"

    def details(self) -> dict[str, Any]:
        """Return the reason of a local error and, for a defect, its type and place."""
        if self.error is None:
            return {}
        cause = self.error.__cause__
        defect = logs.exception(cause) if isinstance(self.error, InternalError) and cause else {}
        return {**defect, "reason": self.error.reason}


def record_of(scope: Scope) -> RequestRecord:
    """Return the record of the request in `scope`."""
    record: RequestRecord = scope["state"][_STATE_KEY]
    return record


def new_request_id() -> str:
    """Return an id for a request without a valid one.

    NOTE: a predictable generator is intentional: the id grants nothing.
    """
    return f"{getrandbits(128):032x}"


class RequestMiddleware:
    """The ASGI app around `app`.

    Paths count as they are sent: any other spelling of a path (`//`, percent-encoding) is a 404,
    because a proxy in front may filter by path.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        readiness: Readiness,
        metrics: Metrics,
        clients: Clients,
        tracing: "Tracing | None",
    ) -> None:
        self._app = app
        self._readiness = readiness
        self._metrics = metrics
        self._clients = clients
        self._tracing = tracing
        self._log = log.bind()  # bound once: `log` looks up its configuration at every use
        self._in_flight = 0
        metrics.gauge("requests_in_flight", "Requests in flight.", lambda: self._in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        record = RequestRecord(_request_id(scope))
        scope["state"][_STATE_KEY] = record
        span = self._start_span(scope)
        ids = span.correlation() if span else {}
        clear_contextvars()
        bind_contextvars(request_id=record.request_id, **ids)
        self._in_flight += 1
        try:
            app = self._app if _is_canonical(scope) else _not_found
            await app(scope, receive, self._wrap(record, send))
        finally:
            self._in_flight -= 1
            self._finish(record, scope, span)

    def _start_span(self, scope: Scope) -> "ServerSpan | None":
        if self._tracing is None or health.is_probe(scope["path"]):
            return None
        return self._tracing.start(scope, trusted=self._clients.trusts_peer(scope))

    def _wrap(self, record: RequestRecord, send: Send) -> Send:
        """Return `send` that notes the status and adds the request id."""

        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = int(message["status"])  # Litestar sends an HTTPStatus
                _add_headers(message, record, draining=self._readiness.draining)
            await send(message)

        return wrapped

    def _finish(self, record: RequestRecord, scope: Scope, span: "ServerSpan | None") -> None:
        """Write the log line, count the request and end its span."""
        record.complete(scope)
        details = record.details()
        self._log.log(record.level, record.name, **_fields(record, scope, details))
        if record.endpoint is not None:
            self._metrics.count(record.endpoint, record.flow, record.outcome, record.reused)
        if span is not None:
            span.end(
                route=record.route,
                status=record.status,
                error_type=details.get("error_type"),
                flow=record.flow,
                reused=record.reused,
            )


def _add_headers(message: HTTPResponseStartEvent, record: RequestRecord, *, draining: bool) -> None:
    headers = [*message["headers"], (b"x-request-id", record.request_id.encode())]
    if draining:
        # Connections that are kept alive move to another replica before this one closes them.
        headers.append((b"connection", b"close"))
    message["headers"] = headers


def _fields(record: RequestRecord, scope: Scope, details: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the log line."""
    method = scope.get("method")
    response = record.response
    error_code = response.error_code if response and response.is_error else None
    return {
        **({"flow": record.flow} if record.flow else {}),
        "method": method if method in _LOGGED_METHODS else "other",
        "route": record.route,
        "status": record.status,
        "duration_ms": round((time.perf_counter() - record.started) * 1000, 2),
        **({"error": error_code} if error_code else {}),
        **({record.reused: True} if record.reused else {}),
        **details,
    }


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request[Any, Any, Any](scope, receive, send)
    response = errors.handle(request, NotFound())
    await response.to_asgi_response(app=None, request=request)(scope, receive, send)


def _is_canonical(scope: Scope) -> bool:
    """Return whether the path is spelled as the router's own paths are."""
    raw_path = scope["raw_path"].partition(b"?")[0]  # some servers leave the query in it
    return b"%" not in raw_path and b"//" not in raw_path


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(sent := value.strip(b" \t")):
            return sent.decode("ascii")
    return new_request_id()
