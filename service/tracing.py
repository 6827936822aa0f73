"""The spans themselves; imported only when they are wanted, for the SDK is large.

Not in a span: query, user agent and client address, which hold what clients like, and any header.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

import httpx
from opentelemetry import context, propagate, trace
from opentelemetry.sdk.trace import TracerProvider

from service.answers import is_error

# Free texts of the client's, which the SDK would put into spans and warnings.
_UNREAD = frozenset({b"tracestate", b"baggage"})
FLUSH_SECONDS: Final = 5.0

_METHODS = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
)


class Tracing:
    """The tracer of one app over `provider`."""

    def __init__(self, provider: TracerProvider, version: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("service", version)
        fields = propagate.get_global_textmap().fields
        self._propagated = {field.lower().encode() for field in fields} - _UNREAD

    def instrument(self, transport: httpx.AsyncBaseTransport, url: str) -> httpx.AsyncBaseTransport:
        """Return `transport` with a client span around every call, all of which go to `url`."""
        parsed = httpx.URL(url)
        attributes: dict[str, str | int] = {
            "url.full": url,
            "server.address": parsed.host,
            "server.port": parsed.port or (443 if parsed.scheme == "https" else 80),
            "network.protocol.version": "1.1",
        }
        return _Traced(transport, self._tracer, attributes)

    def start(self, scope: Mapping[str, Any]) -> "ServerSpan":
        """Start the server span of the request in `scope`, below the trace it came with."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in self._propagated
        }
        parent = context.Context()
        if headers:
            parent = propagate.extract(headers, context=parent)
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


class _Traced(httpx.AsyncBaseTransport):
    """`transport` with a client span around every call; what all spans share is `attributes`.

    An error is told by its type, since its text, which the SDK would record, may quote anything.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        tracer: trace.Tracer,
        attributes: Mapping[str, str | int],
    ) -> None:
        self._transport = transport
        self._tracer = tracer
        self._attributes = attributes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        method = request.method
        known = {"http.request.method": method, **self._attributes}
        span = self._tracer.start_span(method, kind=trace.SpanKind.CLIENT, attributes=known)
        try:
            response = await self._transport.handle_async_request(request)
        except BaseException as error:
            _fail(span, type(error).__qualname__)
            raise
        else:
            status = response.status_code
            span.set_attribute("http.response.status_code", status)
            if is_error(status):
                _fail(span, str(status))
            return response
        finally:
            span.end()

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
        known: dict[str, str | int] = {"http.response.status_code": status}
        if route is not None:
            self._span.update_name(f"{self._method} {route}")
            known |= {"http.route": route, "url.path": route}
        self._span.set_attributes(known)
        if status >= 500:  # noqa: PLR2004
            _fail(self._span, error_type or str(status))
        self._span.end()
        context.detach(self._token)


def _fail(span: trace.Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(trace.StatusCode.ERROR)
