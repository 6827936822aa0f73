"""Prometheus metrics: outcomes of requests, calls to Spotify, requests in flight.

Each label has a closed list of values: nothing that a client or Spotify sends becomes one.
docs/operations.md describes each metric.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, cast

from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Receive, Scope, Send
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

from service.errors import Outcome
from service.grants import Endpoint, Flow
from service.responses import Reuse

_PREFIX: Final = "spotify_api_server"
# Spotify responds in tens of milliseconds; UPSTREAM_TIMEOUT's default is 10 s.
_SECONDS: Final = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0)


class Metrics:
    """The metrics of one app, in a registry of its own.

    The children of each metric but `spotify_errors`, which would be many, are created at the start:
    a rate needs a zero to start from, and `labels()` costs more than counting.
    """

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        requests = self._counter("requests", "Requests for tokens.", "flow", "outcome")
        self._requests = {
            (flow, outcome): requests.labels(flow, outcome) for flow in Flow for outcome in Outcome
        }
        endpoints = self._counter(
            "endpoint_requests", "Requests for tokens by endpoint.", "endpoint", "outcome"
        )
        self._endpoints = {
            (endpoint, outcome): endpoints.labels(endpoint, outcome)
            for endpoint in Endpoint
            for outcome in Outcome
        }
        avoided = self._counter(
            "avoided_calls", "Requests served without a call to Spotify.", "flow", "reason"
        )
        self._avoided = {
            (flow, reason): avoided.labels(flow, reason) for flow in Flow for reason in Reuse
        }
        upstream = Histogram(
            f"{_PREFIX}_upstream_duration_seconds",
            "Duration of calls to Spotify, failed ones included.",
            ["flow"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._upstream = {flow: upstream.labels(flow) for flow in Flow}
        self._spotify_errors = self._counter(
            "spotify_errors", "Error responses of Spotify by their code.", "flow", "error"
        )
        build = Gauge(f"{_PREFIX}_build_info", "This build.", ["version"], registry=registry)
        build.labels(version).set(1)

    def gauge(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is that of `value()` at the time of a scrape."""
        gauge = Gauge(f"{_PREFIX}_{name}", documentation, registry=self._registry)
        gauge.set_function(value)

    def flow_gauge(self, name: str, documentation: str, value: Callable[[Flow], float]) -> None:
        """Add a gauge with the value of `value(flow)` for each flow at the time of a scrape."""
        gauge = Gauge(f"{_PREFIX}_{name}", documentation, ["flow"], registry=self._registry)
        for flow in Flow:
            gauge.labels(flow).set_function(partial(value, flow))

    def counter(self, name: str, documentation: str) -> Callable[[], None]:
        """Add a counter; return the function that increments it."""
        return self._counter(name, documentation).inc

    def tokens_opened(self, keys: Iterable[tuple[str, str]]) -> Callable[[int], None]:
        """Add a counter for each key: "current" or "previous", and its fingerprint.

        Returns the function that counts a token for the key at a position in `keys`.
        """
        opened = self._counter(
            "tokens_opened",
            "Sealed refresh tokens by the key that opened them.",
            "key",
            "fingerprint",
        )
        children = [opened.labels(*key) for key in keys]
        return lambda position: children[position].inc()

    def count(
        self, endpoint: Endpoint, flow: Flow | None, outcome: Outcome, reused: Reuse | None
    ) -> None:
        """Count a token request that has ended; `flow` is None if its form did not name one."""
        self._endpoints[endpoint, outcome].inc()
        if flow is None:
            return
        self._requests[flow, outcome].inc()
        if reused is not None:
            self._avoided[flow, reused].inc()

    def observe_upstream(self, flow: Flow, seconds: float, error: str | None) -> None:
        """Count a call to Spotify and its duration."""
        self._upstream[flow].observe(seconds)
        if error is not None:
            self._spotify_errors.labels(flow, error).inc()

    def app(self) -> ASGIApp:
        """Return the ASGI application that serves /metrics, and 404 elsewhere."""
        exposition = make_asgi_app(self._registry)
        not_found = ASGIResponse(status_code=404)

        async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"].rstrip("/") != "/metrics":
                await not_found(scope, receive, send)
                return
            # prometheus_client fails if these are not UTF-8.
            headers = [field for field in scope["headers"] if field[1].isascii()]
            query = scope["query_string"] if scope["query_string"].isascii() else b""
            clean = {**scope, "headers": headers, "query_string": query}
            await exposition(cast("Scope", clean), receive, send)

        return metrics

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", documentation, labels, registry=self._registry)
