import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service import logs, telemetry
from service import settings as service_settings
from service.app import create_app
from service.export import encode
from service.routes import CLIENT_FLOW, CODE_FLOW
from service.tracing import FLUSH_SECONDS, Tracing
from tests.conftest import LogLines
from tests.running import environment, running
from tests.simulator.requests import minted_refresh_token
from tests.test_routes import CREDENTIALS, REFRESH, SEALER, order
from tests.volley import volley

PATH = f"{CLIENT_FLOW}/retrieve-tokens"
FORM = {"grant_type": "client_credentials"}
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
SECRET = "Qx7-a-secret-in-a-header-Zw9"

Serve = Callable[..., AbstractContextManager[httpx.Client]]


@pytest.fixture(autouse=True)
def _no_opentelemetry_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def serve(
    simulator: httpx.Client,
    log_lines: LogLines,  # noqa: ARG001 - puts back what configuring the logs changes
    monkeypatch: pytest.MonkeyPatch,
) -> Serve:
    """Return what serves the service as `python -m service` does: by the process's environment."""

    @contextmanager
    def served(
        tracing: Tracing | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        **changes: str,
    ) -> Iterator[httpx.Client]:
        environ = environment(f"{simulator.base_url}/api/token", **changes)
        for name, text in environ.items():
            monkeypatch.setenv(name, text)
        settings = service_settings.load(environ)
        logs.configure(settings)
        made = tracing or telemetry.create(os.environ, "1.2.3")
        app = create_app(settings, transport=transport, tracing=made)
        with (
            running(app, environ) as url,
            httpx.Client(base_url=url, trust_env=False, timeout=20) as client,
        ):
            yield client

    return served


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    """Return tracing into memory."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider, "test")


def fault_next(kind: str) -> None:
    """Have the simulator of the service under test fail the next call."""
    url = httpx.URL(os.environ["SPOTIFY_TOKEN_URL"]).join("/admin/faults")
    httpx.post(url, json={"kind": kind}, trust_env=False).raise_for_status()


def spans(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, ReadableSpan]:
    """Return the client span and the server span of one request."""
    client, server = exporter.get_finished_spans()
    assert (client.kind, server.kind) == (SpanKind.CLIENT, SpanKind.SERVER)
    return client, server


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def ids(span: ReadableSpan) -> tuple[str, str]:
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def test_the_server_span_has_the_stable_names_alone(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    with serve(tracing) as client:
        client.post(f"{PATH}?x={SECRET}", data=FORM, headers={"User-Agent": SECRET})
    _, server = spans(exporter)
    assert server.name == f"POST {PATH}"
    assert attributes(server) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": client.base_url.port,
        "http.route": PATH,
        "url.path": PATH,
        "http.response.status_code": 200,
    }
    assert server.status.status_code is StatusCode.UNSET
    assert SECRET not in server.to_json()


def test_the_client_span_is_the_server_spans_child_with_the_stable_names(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, simulator: httpx.Client
) -> None:
    with serve(tracing) as client:
        client.post(PATH, data=FORM)
    child, server = spans(exporter)
    assert child.parent is not None
    assert (f"{child.parent.trace_id:032x}", f"{child.parent.span_id:016x}") == ids(server)
    assert child.name == "POST"
    assert attributes(child) == {
        "http.request.method": "POST",
        "url.full": f"{simulator.base_url}/api/token",
        "server.address": "127.0.0.1",
        "server.port": simulator.base_url.port,
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }
    assert child.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("status", [400, 503])
def test_an_error_of_spotifys_is_one_of_the_client_span(
    serve: Serve,
    tracing: Tracing,
    exporter: InMemorySpanExporter,
    simulator: httpx.Client,
    status: int,
) -> None:
    simulator.post("/admin/faults", json={"kind": "answer", "status": status, "body": SECRET})
    with serve(tracing) as client:
        assert client.post(PATH, data=FORM).status_code == status
    child, _ = spans(exporter)
    assert child.status.status_code is StatusCode.ERROR
    assert attributes(child)["error.type"] == str(status)
    assert SECRET not in child.to_json()


def test_a_call_that_takes_too_long_is_an_error_of_the_client_span(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    class Hanging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(60)
            raise AssertionError(request)

    with serve(tracing, Hanging(), UPSTREAM_TIMEOUT="1") as client:
        assert client.post(PATH, data=FORM).status_code == 504
    child, server = spans(exporter)
    assert attributes(child)["error.type"] == "CancelledError"
    assert attributes(server)["error.type"] == "504"


def test_a_request_without_a_call_to_spotify_is_one_span(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    with serve(tracing) as client:
        client.get("/")
    [span] = exporter.get_finished_spans()
    assert (span.name, span.parent) == ("GET /", None)


def test_a_request_that_shares_a_call_or_a_token_has_no_client_span(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, simulator: httpx.Client
) -> None:
    refresh = {"refresh_token": SEALER.seal(minted_refresh_token(simulator, pkce=False))}
    with serve(tracing) as client:
        for path, form in ((CREDENTIALS, {"a": "b"}), (REFRESH, refresh)):
            order(simulator, {"kind": "delay", "seconds": 0.5})
            assert [shot.status for shot in volley(client, path, [form] * 5)] == [200] * 5
        client.post(CREDENTIALS, data={"a": "b"}).raise_for_status()
    kinds = [span.kind for span in exporter.get_finished_spans()]
    assert (kinds.count(SpanKind.SERVER), kinds.count(SpanKind.CLIENT)) == (11, 2)


def test_a_path_that_is_not_there_has_no_route_and_is_not_told(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    with serve(tracing) as client:
        client.get(f"/{SECRET}")
    [span] = exporter.get_finished_spans()
    assert span.name == "GET"
    assert {"http.route", "url.path"}.isdisjoint(attributes(span))
    assert attributes(span)["http.response.status_code"] == 404
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(("fault", "status"), [("close", 502), ("status", 503)])
def test_a_5xx_is_an_error_of_its_status(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, fault: str, status: int
) -> None:
    with serve(tracing, UPSTREAM_TIMEOUT="5") as client:
        fault_next(fault)
        assert client.post(PATH, data=FORM).status_code == status
    _, server = spans(exporter)
    assert server.status.status_code is StatusCode.ERROR
    assert not server.status.description
    assert attributes(server)["error.type"] == str(status)


def test_a_refusal_of_the_client_is_no_error(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    with serve(tracing) as client:
        client.post(f"{CODE_FLOW}/refresh-tokens", data={"refresh_token": SECRET})
    [server] = exporter.get_finished_spans()
    assert server.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(server)


def test_an_exception_of_the_transport_is_told_by_type_alone(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    """A span names the exception, without its text, its notes or its stack."""

    class Exploding(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise RuntimeError(f"{request.method} {SECRET}")

    with serve(tracing, Exploding()) as client:
        assert client.post(PATH, data=FORM).status_code == 500
    child, server = spans(exporter)
    assert attributes(server)["error.type"] == "RuntimeError"
    assert attributes(child)["error.type"] == "RuntimeError"
    assert child.status.status_code is StatusCode.ERROR
    assert SECRET not in server.to_json()
    assert SECRET not in child.to_json()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz/", "/readyz/?x=y"])
def test_probes_make_no_spans(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, path: str
) -> None:
    with serve(tracing) as client:
        assert client.get(path).status_code == 200
    assert exporter.get_finished_spans() == ()


def test_a_traceparent_is_taken_in(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, simulator: httpx.Client
) -> None:
    traceparent = f"00-{TRACE_ID}-{PARENT_ID}-01"
    with serve(tracing) as client:
        client.post(PATH, data=FORM, headers={"Traceparent": traceparent})
    child, server = spans(exporter)
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == PARENT_ID
    assert {ids(server)[0], ids(child)[0]} == {TRACE_ID}
    [request] = simulator.get("/admin/requests").json()
    assert "traceparent" not in {name.lower() for name, _ in request["headers"]}


@pytest.mark.parametrize(
    "traceparent",
    ["", "nonsense", SECRET, f"00-{'0' * 32}-{PARENT_ID}-01", f"00-{TRACE_ID}-{'0' * 16}-01"],
)
def test_a_broken_traceparent_starts_a_trace_of_our_own(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, traceparent: str
) -> None:
    with serve(tracing) as client:
        assert client.get("/", headers={"Traceparent": traceparent}).status_code == 200
    [server] = exporter.get_finished_spans()
    assert server.parent is None
    assert ids(server)[0] not in {TRACE_ID, "0" * 32}


def test_requests_without_traceparent_share_nothing(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    with serve(tracing) as client:
        for _ in range(3):
            client.post(PATH, data=FORM)
    traces = {ids(span)[0] for span in exporter.get_finished_spans()}
    assert len(traces) == 3


def test_the_line_of_a_request_carries_the_ids_of_its_span(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, log_lines: LogLines
) -> None:
    with serve(tracing) as client:
        client.post(PATH, data=FORM)
        client.get("/healthz")
    _, server = spans(exporter)
    [line] = [line for line in log_lines.lines if "request_id" in line]
    assert (line["trace_id"], line["span_id"]) == ids(server)
    for line in log_lines.of("server.started"):
        assert "trace_id" not in line


@pytest.mark.parametrize("baggage", [f"{SECRET}", f"key={SECRET}", f"a=b,{SECRET},=,"])
def test_baggage_is_neither_kept_nor_logged(
    serve: Serve,
    tracing: Tracing,
    exporter: InMemorySpanExporter,
    log_lines: LogLines,
    baggage: str,
) -> None:
    with serve(tracing) as client:
        client.post(PATH, data=FORM, headers={"Baggage": baggage})
    assert SECRET not in "".join(span.to_json() for span in exporter.get_finished_spans())
    assert SECRET not in log_lines.text


def test_no_header_is_captured_even_if_an_operator_asks_for_all(
    serve: Serve,
    tracing: Tracing,
    exporter: InMemorySpanExporter,
    simulator: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for side in ("CLIENT", "SERVER"):
        for way in ("REQUEST", "RESPONSE"):
            monkeypatch.setenv(f"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_{side}_{way}", ".*")
    headers = [["X-Told", SECRET]]
    fault = {"kind": "answer", "status": 400, "headers": headers, "body": "{}"}
    simulator.post("/admin/faults", json=fault)
    with serve(tracing) as client:
        client.post(PATH, data=FORM, headers={"Authorization": SECRET, "Cookie": SECRET})
    child, server = spans(exporter)
    [request] = simulator.get("/admin/requests").json()
    basic = next(text for name, text in request["headers"] if name.lower() == "authorization")
    assert not {name for span in (child, server) for name in attributes(span) if "header" in name}
    for text in (SECRET, basic, basic.removeprefix("Basic ")):
        assert text not in child.to_json() + server.to_json()


class Receiver:
    """What an OTLP receiver was sent."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        self.requests.append(request)

    @property
    def spans(self) -> dict[str, Any]:
        return {
            span.name: span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    @property
    def resource(self) -> dict[str, str]:
        [resource] = {
            tuple((each.key, each.value.string_value) for each in spans.resource.attributes)
            for request in self.requests
            for spans in request.resource_spans
        }
        return dict(resource)


@contextmanager
def receiving() -> Iterator[tuple[str, Receiver]]:
    """Receive OTLP over HTTP."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.paths.append(self.path)
            receiver.headers.append({name.lower(): text for name, text in self.headers.items()})
            receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", receiver
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def receiving_grpc() -> Iterator[tuple[str, Receiver]]:
    """Receive OTLP over gRPC."""
    receiver = Receiver()

    def export(body: bytes, _context: object) -> bytes:
        receiver.take(body)
        return bytes(ExportTraceServiceResponse().SerializeToString())

    name = "opentelemetry.proto.collector.trace.v1.TraceService"
    method = grpc.unary_unary_rpc_method_handler(export)
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, {"Export": method})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", receiver
    finally:
        server.stop(None).wait()


def assert_received(receiver: Receiver) -> None:
    server, child = receiver.spans[f"POST {PATH}"], receiver.spans["POST"]
    assert child.trace_id == server.trace_id
    assert child.parent_span_id == server.span_id
    assert receiver.resource["service.name"] == "spotify-api-server"
    assert receiver.resource["service.version"] == "1.2.3"
    names = {each.key for span in (server, child) for each in span.attributes}
    assert {"http.request.method", "http.response.status_code", "url.full"} <= names
    assert {"http.method", "http.status_code", "http.url"}.isdisjoint(names)


def test_spans_are_exported_over_http_before_the_service_stops(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    with receiving() as (endpoint, receiver):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-token={SECRET}")
        with serve(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as client:
            assert client.post(PATH, data=FORM).status_code == 200
            assert receiver.requests == []  # they wait for a batch, or for the end
    assert receiver.paths == ["/v1/traces"]
    assert receiver.headers[0]["x-token"] == SECRET
    assert_received(receiver)
    assert SECRET not in log_lines.text


def test_spans_are_exported_over_grpc_before_the_service_stops(serve: Serve) -> None:
    with receiving_grpc() as (endpoint, receiver):
        protocol = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        with serve(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **protocol) as client:
            assert client.post(PATH, data=FORM).status_code == 200
    assert_received(receiver)


def test_spans_are_exported_to_an_endpoint_of_traces(serve: Serve) -> None:
    with receiving() as (endpoint, receiver):
        path = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{endpoint}/mine"}
        with serve(**path) as client:
            client.post(PATH, data=FORM)
    assert receiver.paths == ["/mine"]
    assert_received(receiver)


def test_spans_are_written_as_the_sdk_would_write_them(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    """Of every kind: with and without parents, remote ones, routes, statuses and errors."""
    parent = {"Traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}
    with serve(tracing, CLIENT_CREDENTIALS_CACHE="false") as client:
        for headers in ({}, parent, {}, parent):
            client.get("/", headers=headers)
            client.get("/nowhere", headers=headers)
            client.post(PATH, data=FORM, headers=headers)
            fault_next("status")
            client.post(PATH, data=FORM, headers=headers)
    finished = exporter.get_finished_spans()
    assert len(finished) == 4 * 6
    for _ in range(2):  # the second time all kinds are known
        assert encode(finished) == encode_spans(finished)


@pytest.mark.parametrize(
    "named",
    [
        {"OTEL_SERVICE_NAME": "mine"},
        {"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine,deployment.environment.name=test"},
    ],
)
def test_the_service_has_the_name_that_an_operator_gives_it(
    serve: Serve, named: dict[str, str]
) -> None:
    with (
        receiving() as (endpoint, receiver),
        serve(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **named) as client,
    ):
        client.get("/")
    assert receiver.resource["service.name"] == "mine"


def test_a_sampler_of_opentelemetrys_own_is_obeyed(serve: Serve) -> None:
    with receiving() as (endpoint, receiver):
        sampler = {"OTEL_TRACES_SAMPLER": "always_off"}
        with serve(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **sampler) as client:
            client.post(PATH, data=FORM)
    assert receiver.requests == []


def test_spans_on_the_console_are_lines_of_json_between_those_of_the_log(
    simulator: httpx.Client,
) -> None:
    environ = environment(
        f"{simulator.base_url}/api/token",
        PATH=os.environ["PATH"],
        PORT="0",
        OTEL_TRACES_EXPORTER="console",
    )
    command = [sys.executable, "-m", "service"]
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        url = f"http://127.0.0.1:{started['port']}{PATH}"
        answer = httpx.post(url, data=FORM, trust_env=False)
        process.terminate()
        out, err = process.communicate(timeout=20)
    lines = [json.loads(line) for line in out.splitlines()]
    assert answer.status_code == 200
    assert [line["name"] for line in lines if "name" in line] == ["POST", f"POST {PATH}"]
    assert "token.retrieved" in {line.get("event") for line in lines}
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_receiver_that_is_down_changes_no_answer(serve: Serve, protocol: str) -> None:
    down = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "20",
    }
    with serve(**down) as client:
        for _ in range(5):
            began = time.monotonic()
            assert client.post(PATH, data=FORM).status_code == 200
            assert time.monotonic() - began < 1
            time.sleep(0.03)


def test_an_exporter_that_hangs_does_not_keep_the_service_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hanging(SpanExporter):
        released = threading.Event()

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            self.released.wait(10)
            return SpanExportResult.FAILURE if spans else SpanExportResult.SUCCESS

    monkeypatch.setattr("service.tracing.FLUSH_SECONDS", 0.1)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Hanging()))
    provider.get_tracer("test").start_span("unsent").end()
    began = time.monotonic()
    Tracing(provider, "test").flush()
    assert 0.1 <= time.monotonic() - began < 2
    Hanging.released.set()
    assert 0 < FLUSH_SECONDS <= 5


PROGRAM = """
import json, os, sys
from service import logs, settings, telemetry
from service.app import create_app
loaded = settings.load(os.environ)
logs.configure(loaded)
tracing = telemetry.create(os.environ, "test")
create_app(loaded, tracing=tracing)
imported = sorted(name for name in sys.modules if name.startswith("opentelemetry.sdk"))
sys.stderr.write(json.dumps([tracing is None, bool(imported)]))
"""


def built(**otel: str) -> tuple[str, list[bool]]:
    """Build the app in a process of its own; return its log, and what it found."""
    environ = {"PATH": os.environ["PATH"], **environment("https://127.0.0.1:1/"), **otel}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout, json.loads(done.stderr)


@pytest.mark.parametrize(
    "otel",
    [
        {},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
    ids=["unset", "disabled", "none"],
)
def test_without_an_exporter_the_sdk_is_not_even_imported_and_nothing_logged(
    otel: dict[str, str],
) -> None:
    assert built(**otel) == ("", [True, False])


def test_with_an_endpoint_the_sdk_is_imported() -> None:
    """The test above can fail."""
    assert built(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1") == ("", [False, True])


@pytest.mark.parametrize(
    ("environ", "enabled"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": " none "}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": " TRUE "}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_tracing_is_on_when_an_exporter_or_an_endpoint_is_named(
    environ: dict[str, str],
    enabled: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert telemetry.is_enabled(environ) is enabled
