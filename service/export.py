"""Where spans go, as the standard variables say, and what they look like on the way."""

from collections.abc import Mapping, Sequence
from importlib import import_module

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
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
    # gRPC's core costs 20 MiB that only its users should pay.
    way = "grpc" if protocol.strip() == "grpc" else "http"
    module = import_module(f"opentelemetry.exporter.otlp.proto.{way}.trace_exporter")
    # NOTE: reaching into the exporter is intentional: it takes no encoder, and its own one costs
    # more than the span does. A test compares what the two make of the same spans.
    vars(module)["encode_spans"] = encode
    exporter: SpanExporter = module.OTLPSpanExporter()
    return exporter


def encode(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """Write `spans`, all of them ours, as the SDK's own encoder would.

    They share resource and scope, and those of one kind differ in ids and times alone: the SDK's
    encoder is asked once a kind, and the rest are copies. 3 µs a span instead of 26.
    """
    request = encode_spans(spans[:1])
    encoded = request.resource_spans[0].scope_spans[0].spans
    for span in spans[1:]:
        _copy(span, encoded.add())
    return request


_kinds: dict[tuple[object, ...], Span] = {}
"""An encoded span of each kind; their number is bounded as that of a metric's series is."""


def _copy(span: ReadableSpan, to: Span) -> None:
    """Write `span` into `to`. Ours have no events, no links and no trace state."""
    to.CopyFrom(_like(span))
    to.trace_id = span.context.trace_id.to_bytes(16, "big")
    to.span_id = span.context.span_id.to_bytes(8, "big")
    if span.parent:
        to.parent_span_id = span.parent.span_id.to_bytes(8, "big")
    to.start_time_unix_nano = span.start_time or 0
    to.end_time_unix_nano = span.end_time or 0


def _like(span: ReadableSpan) -> Span:
    """Return an encoded span of the same kind."""
    remote = span.parent is not None and span.parent.is_remote
    told = (span.name, span.kind, span.status.status_code, span.dropped_attributes, remote)
    # A copy is a plain dict: walking the SDK's own mapping takes ten times as long.
    kind = (*told, *(span.attributes or {}).copy().items())  # type: ignore[attr-defined]
    if (found := _kinds.get(kind)) is None:
        found = _kinds[kind] = encode_spans([span]).resource_spans[0].scope_spans[0].spans[0]
    return found
