"""The spans themselves; imported only when they are wanted, for the SDK is large.

Not in a span: query, user agent and client address, which hold what clients like, and any header.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

import httpx
from opentelemetry import context, propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HTTPSpanExporter,
)
from opentelemetry.instrumentation.httpx import AsyncOpenTelemetryTransport
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
)

from service.connections import ConnectionNotMade
from service.errors import ServiceError

# Free texts of the client's, which the SDK would put into spans and warnings.
_UNREAD = frozenset({b"tracestate", b"baggage"})
FLUSH_SECONDS: Final = 5.0

_METHODS = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
)


def provider(environ: Mapping[str, str], version: str) -> TracerProvider:
    """Return a provider that exports as `environ` says; the SDK reads the rest of it itself."""
    attributes: dict[str, str] = {"service.version": version}
    named = "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not named and not environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = "spotify-api-server"
    made = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    if environ.get("OTEL_TRACES_EXPORTER", "").strip() == "console":
        one_line = ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\n")
        made.add_span_processor(SimpleSpanProcessor(one_line))
    else:
        made.add_span_processor(BatchSpanProcessor(_otlp_exporter(environ)))
    return made


def _otlp_exporter(environ: Mapping[str, str]) -> SpanExporter:
    protocol = (
        environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        or "http/protobuf"
    )
    if protocol.strip() != "grpc":
        return HTTPSpanExporter()
    # gRPC's core costs 20 MiB that only its users should pay.
    from opentelemetry.exporter.otlp.proto.grpc import trace_exporter  # noqa: PLC0415

    return trace_exporter.OTLPSpanExporter()


class Tracing:
    """The tracer of one app over `provider`."""

    def __init__(self, provider: TracerProvider, version: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("service", version)

    def instrument(self, transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """Return `transport` with a client span around every call."""
        return AsyncOpenTelemetryTransport(_Discreet(transport), tracer_provider=self._provider)

    def start(self, scope: Mapping[str, Any]) -> "ServerSpan":
        """Start the server span of the request in `scope`, below the trace it came with."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name not in _UNREAD
        }
        parent = propagate.extract(headers, context=context.Context())
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
        }
        if server := scope.get("server"):
            attributes |= {"server.address": server[0], "server.port": server[1]}
        kind = trace.SpanKind.SERVER
        span = self._tracer.start_span(method, context=parent, kind=kind, attributes=attributes)
        return ServerSpan(span, method)

    def flush(self) -> None:
        """Export what is left, for FLUSH_SECONDS at most, whatever the receiver does."""
        # A daemon thread, since the exporter's own retries can take longer than we are given.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(FLUSH_SECONDS)


class _Discreet(httpx.AsyncBaseTransport):
    """A transport whose errors have no text: the client span records what they say."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._transport.handle_async_request(request)
        except ServiceError:
            raise
        except httpx.RequestError as error:
            cause = error.__cause__ if isinstance(error.__cause__, ConnectionNotMade) else None
            raise type(error)(type(error).__name__) from cause
        except Exception as error:  # noqa: BLE001 - whatever it is, its text must not pass
            raise RuntimeError(type(error).__name__) from None

    async def aclose(self) -> None:
        await self._transport.aclose()


class ServerSpan:
    """The span of one request, current from its start to `end()`."""

    def __init__(self, span: trace.Span, method: str) -> None:
        self._span = span
        self._method = method
        self._token = context.attach(trace.set_span_in_context(span))

    def correlation(self) -> dict[str, str]:
        """Return the ids that log lines carry."""
        ids = self._span.get_span_context()
        return {"trace_id": f"{ids.trace_id:032x}", "span_id": f"{ids.span_id:016x}"}

    def end(self, *, route: str | None, status: int, error_type: str | None) -> None:
        """End the span with what is known only after the answer."""
        if route is not None:
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attributes({"http.route": route, "url.path": route})
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:  # noqa: PLR2004
            self._span.set_attribute("error.type", error_type or str(status))
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()
        context.detach(self._token)
