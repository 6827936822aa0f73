"""One request, seen from outside: its id, its span, its duration, its one line in the log.

Wraps the whole application, so that a 404 is seen as a success is. Nothing the client chose gets
into the line but a sane request id: routes are the templates that matched, never paths.
"""

import re
import time
from random import getrandbits
from typing import TYPE_CHECKING, Final

from service import probes
from service.answers import is_error
from service.asgi import App, Message, Receive, Scope, Send
from service.errors import ClientGone, InternalError, Overloaded, Throttled
from service.logs import current, log
from service.metrics import Metrics
from service.probes import Readiness

if TYPE_CHECKING:
    from service.tracing import ServerSpan, Tracing

REQUEST_ID: Final = b"x-request-id"
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_LOGGED_METHODS = frozenset(["GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"])
_OUTCOMES_OF_EVENTS: Final = {
    "upstream.failed": "upstream_error",
    "token.refused": "refused",
    "request.rate_limited": "rate_limited",
}
_OUTCOMES: Final = {
    InternalError.status: "failed",
    ClientGone.status: "abandoned",
    Overloaded.status: "overloaded",
    Throttled.status: "throttled",
}


class Observation:
    """What is known of a request; rooms on its way add what they find out."""

    __slots__ = (
        "details",
        "error",
        "event",
        "flow",
        "request_id",
        "span",
        "spared",
        "started",
        "status",
    )

    def __init__(self, scope: Scope) -> None:
        self.request_id = _request_id(scope)
        self.started = time.perf_counter()
        self.status = ClientGone.status
        self.flow: str | None = None
        self.event: str | None = None
        self.error: str | None = None
        self.spared: str | None = None
        self.details: dict[str, object] = {}
        self.span: ServerSpan | None = None

    def correlation(self) -> dict[str, str]:
        """Return the ids that every line of this request carries."""
        ids = {"request_id": self.request_id}
        return ids | self.span.correlation() if self.span else ids

    def log(self, scope: Scope, route: str | None) -> None:
        """Write the request's line."""
        method = scope["method"]
        log.emit(
            self._level(route),
            self.event or self._event(route),
            **({"flow": self.flow} if self.flow else {}),
            method=method if method in _LOGGED_METHODS else "other",
            route=route,
            status=self.status,
            duration_ms=round((time.perf_counter() - self.started) * 1000, 2),
            **({"error": self.error} if self.error else {}),
            **({self.spared: True} if self.spared else {}),
            **self.details,
        )

    @property
    def outcome(self) -> str:
        """What the request came to, one of metrics.OUTCOMES."""
        if self.event in _OUTCOMES_OF_EVENTS:
            return _OUTCOMES_OF_EVENTS[self.event]
        if not is_error(self.status):
            return "success"
        return _OUTCOMES.get(self.status, "rejected")

    def _level(self, route: str | None) -> str:
        if route in probes.PATHS:
            return "debug"
        if self.status < 500:  # noqa: PLR2004
            return "info"
        return "error" if self._is_defect() else "warning"

    def _is_defect(self) -> bool:
        """Tell whether it was we who failed."""
        return self.status == InternalError.status and self.event is None

    def _event(self, route: str | None) -> str:
        """Name the request's event, where no room has."""
        if route in probes.PATHS:
            return "probe.answered"
        if self._is_defect():
            return "request.failed"
        if self.status == ClientGone.status:
            return "request.abandoned"
        return "request.refused" if is_error(self.status) else "request.served"


def of(scope: Scope) -> Observation:
    """Return the observation of the request in `scope`."""
    observation: Observation = scope["state"]["observation"]
    return observation


class Observer:
    """The application around the application: observes each request of `app`."""

    def __init__(
        self, app: App, readiness: Readiness, metrics: Metrics, tracing: "Tracing | None"
    ) -> None:
        self._app = app
        self._readiness = readiness
        self._metrics = metrics
        self._tracing = tracing
        self._in_flight = 0
        metrics.gauge("requests_in_flight", "Requests under way.", lambda: self._in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        observation = Observation(scope)
        scope["state"]["observation"] = observation
        token = current.set(observation)
        self._in_flight += 1
        if self._tracing and not probes.is_probe(scope["path"]):
            observation.span = self._tracing.start(scope)
        try:
            await self._app(scope, receive, self._stamped(observation, send))
        finally:
            self._in_flight -= 1
            self._finish(observation, scope)
            current.reset(token)

    def _stamped(self, observation: Observation, send: Send) -> Send:
        """Return `send` that notes the status and adds the request id."""

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                observation.status = message["status"]
                headers: list[tuple[bytes, bytes]] = message["headers"]
                headers.append((REQUEST_ID, observation.request_id.encode()))
                if self._readiness.draining:
                    # Kept-alive connections move to another replica before this one closes them.
                    headers.append((b"connection", b"close"))
            await send(message)

        return stamped

    def _finish(self, observation: Observation, scope: Scope) -> None:
        route: str | None = scope.get("path_template")
        observation.log(scope, route)
        if observation.flow is not None:
            self._metrics.count(observation.flow, observation.outcome, observation.spared)
        if observation.span is not None:
            error_type = observation.details.get("error_type")
            observation.span.end(
                route=route,
                status=observation.status,
                error_type=str(error_type) if error_type else None,
            )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == REQUEST_ID and _SANE_REQUEST_ID.fullmatch(sent := value.strip(b" \t")):
            return str(sent, "ascii")
    return new_request_id()


def new_request_id() -> str:
    """Return an id for a request that came without a sane one.

    NOTE: a generator that can be foreseen is intentional: an id opens nothing.
    """
    return f"{getrandbits(128):032x}"
