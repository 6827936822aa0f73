"""Metrics for Prometheus: what requests came to, what Spotify took, what is under way.

Every label has a closed list of values: nothing that a client or Spotify sends becomes one.
docs/operations.md says what each is good for.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    make_asgi_app,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from typing import Any

App = Scope = Receive = Send = Any
SPARED = ("shared", "cached")

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
    "throttled",
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
        # Zeros at the start, so that a rate has something to start from.
        self._requests = {(flow, outcome): 0 for flow in FLOWS for outcome in OUTCOMES}
        self._spared = {(flow, reason): 0 for flow in FLOWS for reason in SPARED}
        counts = partial(iter, self._requests.items())
        registry.register(_Counts("requests", "Requests for tokens.", ["flow", "outcome"], counts))
        told = "Requests that were answered without a call to Spotify of their own."
        spared = partial(iter, self._spared.items())
        registry.register(_Counts("spared_calls", told, ["flow", "reason"], spared))
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

    def flow_gauge(self, name: str, documentation: str, value: Callable[[str], float]) -> None:
        """Show what `value` returns for each flow at the time of a scrape."""
        gauge = Gauge(f"{_PREFIX}_{name}", documentation, ["flow"], registry=self._registry)
        for flow in FLOWS:
            gauge.labels(flow).set_function(partial(value, flow))

    def tokens_opened(self, keys: Sequence[tuple[str, str]], counts: Sequence[int]) -> None:
        """Show what `counts` holds at a scrape, for each key: "current" or "previous", its name."""
        told = "Sealed refresh tokens, by the key that opened them."
        found = partial(zip, keys, counts, strict=True)
        self._registry.register(_Counts("tokens_opened", told, ["key", "fingerprint"], found))

    def count(self, flow: str, outcome: str, spared: str | None) -> None:
        """Count a request that has ended."""
        self._requests[flow, outcome] += 1
        if spared is not None:
            self._spared[flow, spared] += 1

    def observe_upstream(self, flow: str, seconds: float, error: str | None) -> None:
        """Add a call to Spotify, which took `seconds`."""
        self._upstream[flow].observe(seconds)
        if error is not None:
            self._spotify_errors.labels(flow, error).inc()

    def app(self) -> App:
        """Return the ASGI application that answers scrapes of /metrics, and nothing else."""
        exposition = make_asgi_app(self._registry)

        async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
            found = scope["path"].rstrip("/") == "/metrics"
            await exposition(scope, receive, send)

        return metrics


class _Counts(Collector):
    """Counts kept elsewhere, so that to count is an addition and takes no lock."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        counts: Callable[[], Iterator[tuple[Sequence[str], int]]],
    ) -> None:
        self._named = (f"{_PREFIX}_{name}", documentation)
        self._labels = labels
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        counter = CounterMetricFamily(*self._named, labels=self._labels)
        for labels, count in self._counts():
            counter.add_metric(labels, count)
        yield counter
