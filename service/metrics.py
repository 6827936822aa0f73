"""Metrics for Prometheus: what requests came to, what Spotify took, what is under way.

Every label has a closed list of values: nothing that a client or Spotify sends becomes one.
docs/operations.md says what each is good for.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    make_asgi_app,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service import answers
from service.asgi import App, Receive, Scope, Send
from service.errors import NotFound

FLOWS: Final = (
    "client_credentials",
    "authorization_code",
    "refresh",
    "pkce_authorization_code",
    "pkce_refresh",
)
OUTCOMES: Final = (
    "success",
    "refused",
    "rejected",
    "rate_limited",
    "upstream_error",
    "overloaded",
    "abandoned",
    "failed",
)
_PREFIX: Final = "spotify_api_server"
# Spotify answers in tens of milliseconds; UPSTREAM_TIMEOUT's default is 10 s.
_SECONDS: Final = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0)


class Metrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self, version: str) -> None:
        # A series more for each one, which nobody here asks about.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        requests = Counter(
            f"{_PREFIX}_requests", "Requests for tokens.", ["flow", "outcome"], registry=registry
        )
        upstream = Histogram(
            f"{_PREFIX}_upstream_duration_seconds",
            "From asking Spotify to its whole answer, or its lack.",
            ["flow"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._spotify_errors = Counter(
            f"{_PREFIX}_spotify_errors",
            "Errors that Spotify answered, by its code.",
            ["flow", "error"],
            registry=registry,
        )
        # Made at once, so that a rate has a zero to start from, and no request looks one up.
        self._requests = {
            (flow, outcome): requests.labels(flow, outcome)
            for flow in FLOWS
            for outcome in OUTCOMES
        }
        self._upstream = {flow: upstream.labels(flow) for flow in FLOWS}
        build = Gauge(f"{_PREFIX}_build_info", "This build.", ["version"], registry=registry)
        build.labels(version).set(1)

    def gauge(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Show what `value` returns at the time of a scrape."""
        gauge = Gauge(f"{_PREFIX}_{name}", documentation, registry=self._registry)
        gauge.set_function(value)

    def counter(self, name: str, documentation: str) -> Callable[[], None]:
        """Show a counter; return what counts one more."""
        return Counter(f"{_PREFIX}_{name}", documentation, registry=self._registry).inc

    def count(
        self, flow: str, outcome: str, error: str | None, upstream_seconds: float | None
    ) -> None:
        """Count a request that has ended; `error` is Spotify's code, from a closed list."""
        self._requests[flow, outcome].inc()
        if error is not None:
            self._spotify_errors.labels(flow, error).inc()
        if upstream_seconds is not None and outcome != "overloaded":  # then nobody was asked
            self._upstream[flow].observe(upstream_seconds)

    def app(self) -> App:
        """Return the ASGI application that answers scrapes of /metrics, and nothing else."""
        exposition = make_asgi_app(self._registry)

        async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
            found = scope["path"].rstrip("/") == "/metrics"
            await (exposition if found else answers.own_error(NotFound()))(scope, receive, send)

        return metrics
