"""OpenTelemetry: a server span per request, a client span per call to Spotify, exported by OTLP.

Imported only when traces are on: the SDK is large. There is no global provider. The SDK, the
exporters and the instrumentation of httpx read their options from `OTEL_*` in the environment.

Not in a span: query, user agent and client address of a request, values of headers and texts of
exceptions.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import httpx
from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.httpx import AsyncOpenTelemetryTransport, RequestInfo
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
)
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, StatusCode, TraceState
from opentelemetry.util.types import Attributes

from service import __version__
from service.errors import InternalError, ServiceError
from service.settings import SettingsError

FLUSH_SECONDS: Final = 5.0
LOG_SECONDS: Final = 60.0
"""Failing exports are logged once in this time."""

_METHODS = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
)
# Free text from the client, which the SDK would put into spans and warnings.
_IGNORED_HEADERS = frozenset({b"tracestate", b"baggage"})
_PROPAGATOR: Final = propagate.get_global_textmap()
"""Reads trace headers, according to OTEL_PROPAGATORS."""
_UNTRUSTED = context.create_key("untrusted")
_EXPORT_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.sdk._shared_internal",  # the queue of BatchSpanProcessor
)


def create(environ: Mapping[str, str]) -> "Tracing":
    """Return tracing as the environment configures it.

    Raises SettingsError if the SDK rejects a value.
    """
    for name in _EXPORT_LOGGERS:
        logging.getLogger(name).addFilter(_once_a_minute)
    try:
        return Tracing(_processor(environ), environ)
    except Exception as error:  # noqa: BLE001 - the SDK may raise anything, and quote a value
        problem = f"OTEL_… can't be used as it is: {type(error).__name__}"
        raise SettingsError([problem]) from None


class Tracing:
    """The tracer of one app. `processor` receives the spans, `environ` has sampler and resource."""

    def __init__(self, processor: SpanProcessor, environ: Mapping[str, str]) -> None:
        self._provider = TracerProvider(
            sampler=_sampler(environ),
            resource=_resource(environ),
            # NOTE: an event would be an exception with its text, its causes' and a stack trace.
            span_limits=SpanLimits(max_events=0),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("service", __version__)
        fields = {field.lower().encode() for field in _PROPAGATOR.fields}
        self._propagated = fields - _IGNORED_HEADERS

    def instrument(self, transport: httpx.AsyncBaseTransport, url: str) -> httpx.AsyncBaseTransport:
        """Return `transport`, which calls `url` only, with a client span around every call."""
        # NOTE: the instrumentation adds trace headers by the global propagator, so that one has
        # none: Spotify must not see the trace of a client.
        propagate.set_global_textmap(CompositePropagator([]))
        # These two options of the instrumentation can be set in the environment only.
        os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"
        # An operator may capture headers: names only, since any value may hold a secret.
        os.environ["OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS"] = ".*"
        path = httpx.URL(url).path

        async def add_path(span: trace.Span, request: RequestInfo) -> None:
            span.update_name(f"{request.method.decode()} {path}")

        return AsyncOpenTelemetryTransport(
            _WithoutTexts(transport),
            tracer_provider=self._provider,
            meter_provider=NoOpMeterProvider(),
            request_hook=add_path,
        )

    def start(self, scope: Mapping[str, Any], *, trusted: bool) -> "ServerSpan":
        """Start the server span of the request in `scope`, within the trace of its `traceparent`.

        Only a trusted peer's sampling decision counts; the trace id of any peer is continued.
        """
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in self._propagated
        }
        parent = Context()
        if headers:
            parent = _PROPAGATOR.extract(headers, context=parent)
            if not trusted:
                parent = context.set_value(_UNTRUSTED, value=True, context=parent)
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
        }
        if server := scope.get("server"):
            attributes |= {"server.address": server[0], "server.port": server[1]}
        span = self._tracer.start_span(method, parent, SpanKind.SERVER, attributes)
        return ServerSpan(span, method)

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Export the remaining spans within `seconds`, even if the receiver hangs."""
        # A daemon thread: the retries of the exporter may take longer.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(seconds)


class ServerSpan:
    """The span of one request, current from its start to `end()`."""

    def __init__(self, span: trace.Span, method: str) -> None:
        self._span = span
        self._method = method
        self._token = context.attach(trace.set_span_in_context(span))

    def correlation(self) -> dict[str, str]:
        """Return the ids for log lines."""
        ids = self._span.get_span_context()
        return {"trace_id": f"{ids.trace_id:032x}", "span_id": f"{ids.span_id:016x}"}

    def end(
        self,
        *,
        route: str | None,
        status: int,
        error_type: str | None,
        flow: str | None,
        reused: str | None,
    ) -> None:
        """End the span with the attributes that are known after the response.

        `route` is None for an unknown path; `reused` is why no call to Spotify was needed.
        """
        attributes: dict[str, str | int] = {"http.response.status_code": status}
        if route is not None:
            self._span.update_name(f"{self._method} {route}")
            attributes |= {"http.route": route, "url.path": route}
        if flow is not None:
            attributes["spotify_api_server.flow"] = flow
        if reused is not None:
            attributes["spotify_api_server.reused"] = reused
        self._span.set_attributes(attributes)
        if status >= 500:  # noqa: PLR2004
            self._span.set_attribute("error.type", error_type or str(status))
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
        context.detach(self._token)


class _WithoutTexts(httpx.AsyncBaseTransport):
    """`transport` for the instrumentation: its exceptions have fixed texts.

    NOTE: the text of an exception becomes the description of the failed client span. It may quote
    a request or a response, unless it is a local error's.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._transport.handle_async_request(request)
        except ServiceError:
            raise
        except httpx.TransportError as error:
            raise type(error)(type(error).__name__) from error
        except Exception as error:
            raise InternalError from error

    async def aclose(self) -> None:
        await self._transport.aclose()


class _EdgeSampler(Sampler):
    """Decides about a trace of an untrusted client as `sampler` does about a new one."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._ids = RandomIdGenerator()

    def should_sample(  # noqa: PLR0913, PLR0917 - the signature of the base
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if context.get_value(_UNTRUSTED, parent_context):
            # A ratio decides by the trace id, which the client chose.
            parent_context, trace_id = Context(), self._ids.generate_trace_id()
        return self._sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        return f"EdgeSampler{{{self._sampler.get_description()}}}"


def _sampler(environ: Mapping[str, str]) -> Sampler:
    """Return the sampler of OTEL_TRACES_SAMPLER, for a service with untrusted clients."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip() or "parentbased_always_on"
    ratio = float(environ.get("OTEL_TRACES_SAMPLER_ARG") or 1)
    roots = {
        "always_on": ALWAYS_ON,
        "always_off": ALWAYS_OFF,
        "traceidratio": TraceIdRatioBased(ratio),
    }
    root = roots[name.removeprefix("parentbased_")]
    edge = _EdgeSampler(ParentBased(root) if name.startswith("parentbased_") else root)
    # The client span follows its server span, whose decision may differ from the trace id's.
    return ParentBased(edge, remote_parent_sampled=edge, remote_parent_not_sampled=edge)


class _Resource(Resource):
    """`resource` with a stored hash: the exporter computes it for every span, which is slow."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def _resource(environ: Mapping[str, str]) -> Resource:
    attributes = {"service.version": __version__}
    is_named = "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not is_named and not environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = "spotify-api-server"
    return _Resource(Resource.create(attributes))


def _processor(environ: Mapping[str, str]) -> SpanProcessor:
    if environ.get("OTEL_TRACES_EXPORTER", "").strip() == "console":
        # One line a span, between the lines of the log.
        formatter = lambda span: span.to_json(indent=None) + "\n"  # noqa: E731
        return SimpleSpanProcessor(ConsoleSpanExporter(formatter=formatter))
    protocol = (
        environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        or "http/protobuf"
    )
    return BatchSpanProcessor(_grpc() if protocol.strip() == "grpc" else _http())


def _grpc() -> SpanExporter:
    # gRPC's C library writes its own lines to standard error, which are not JSON and may quote the
    # environment.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Imported here: gRPC costs 20 MiB.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    return OTLPSpanExporter()


def _http() -> SpanExporter:
    import requests  # noqa: PLC0415 - the exporter uses it
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    def discard_body(response: requests.Response, **_: object) -> None:
        if response.headers.get("Content-Length") == "0":
            response.raw.read()  # the connection can be used again
        response.close()

    # The exporter needs status and headers only. A body is not read: it may have no end.
    session = requests.Session()
    session.stream = True
    session.hooks["response"].append(discard_body)
    return OTLPSpanExporter(session=session)


class OnceAMinute(logging.Filter):
    """Passes one warning or error of all loggers it is added to in LOG_SECONDS."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log `record`."""
        if record.levelno < logging.WARNING:
            return True
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + LOG_SECONDS
        return True


_once_a_minute = OnceAMinute()
