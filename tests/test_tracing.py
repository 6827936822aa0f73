import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service import __version__, logs
from service import settings as service_settings
from service.app import create_app
from service.settings import SettingsError, tracing_enabled
from service.tracing import FLUSH_SECONDS, LOG_SECONDS, Tracing, create
from tests.conftest import LogLines
from tests.running import CLIENT_ID, CLIENT_SECRET, environment, running
from tests.simulator.requests import minted_refresh_token
from tests.test_routes import CREDENTIALS, REFRESH, SEALER, order
from tests.volley import volley

PATH = CREDENTIALS
FORM = {"grant_type": "client_credentials"}
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
SECRET = "Qx7-a-secret-in-a-header-Zw9"
LIMIT = 64 * 2**20
"""Bytes after which an endless response is taken for read."""

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
    """Return a function that serves the service with the environment of the process."""

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
        app = create_app(settings, transport=transport, tracing=tracing or create(os.environ))
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
    return Tracing(SimpleSpanProcessor(exporter), {})


def fault_next(kind: str) -> None:
    """Make the next call to the simulator fail."""
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


def test_server_span_follows_the_http_conventions(
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
        "spotify_api_server.flow": "client_credentials",
    }
    assert server.status.status_code is StatusCode.UNSET
    assert SECRET not in server.to_json()


def test_client_span_is_of_the_httpx_instrumentation(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, simulator: httpx.Client
) -> None:
    with serve(tracing) as client:
        client.post(PATH, data=FORM)
    child, server = spans(exporter)
    assert child.parent is not None
    assert (f"{child.parent.trace_id:032x}", f"{child.parent.span_id:016x}") == ids(server)
    assert child.instrumentation_scope is not None
    assert child.instrumentation_scope.name == "opentelemetry.instrumentation.httpx"
    assert child.name == "POST /api/token"
    assert attributes(child) == {
        "http.request.method": "POST",
        "url.full": f"{simulator.base_url}/api/token",
        "server.address": "127.0.0.1",
        "server.port": simulator.base_url.port,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": simulator.base_url.port,
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }
    assert child.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("status", [400, 503])
def test_upstream_error_is_an_error_of_the_client_span(
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


def test_timeout_is_an_error_of_the_client_span(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ReadTimeout("too slow", request=request)

    with serve(tracing, Slow()) as client:
        assert client.post(PATH, data=FORM).status_code == 504
    child, server = spans(exporter)
    assert child.status.status_code is StatusCode.ERROR
    assert attributes(child)["error.type"] == "ReadTimeout"
    assert attributes(server)["error.type"] == "504"


def test_request_without_an_upstream_call_is_one_span(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    with serve(tracing) as client:
        client.get("/")
    [span] = exporter.get_finished_spans()
    assert (span.name, span.parent) == ("GET /", None)


def test_cached_or_coalesced_response_has_an_attribute_and_no_client_span(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, simulator: httpx.Client
) -> None:
    refresh = {"refresh_token": SEALER.seal(minted_refresh_token(simulator, pkce=False))}
    with serve(tracing) as client:
        order(simulator, {"kind": "delay", "seconds": 0.5})
        assert [shot.status for shot in volley(client, REFRESH, [refresh] * 5)] == [200] * 5
        for _ in range(3):
            client.post(PATH, data=FORM).raise_for_status()
    finished = exporter.get_finished_spans()
    reused = [attributes(span).get("spotify_api_server.reused") for span in finished]
    assert (reused.count("shared"), reused.count("cached")) == (4, 2)
    assert [span.kind for span in finished].count(SpanKind.CLIENT) == 2


def test_unknown_path_is_in_no_span(
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
def test_5xx_is_an_error_of_the_server_span(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, fault: str, status: int
) -> None:
    with serve(tracing, UPSTREAM_TIMEOUT="5") as client:
        fault_next(fault)
        assert client.post(PATH, data=FORM).status_code == status
    _, server = spans(exporter)
    assert server.status.status_code is StatusCode.ERROR
    assert not server.status.description
    assert attributes(server)["error.type"] == str(status)


def test_4xx_is_no_error_of_the_server_span(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    with serve(tracing) as client:
        client.post(REFRESH, data={"refresh_token": SECRET})
    [server] = exporter.get_finished_spans()
    assert server.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(server)


def test_exception_is_recorded_by_type_without_its_text(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    class Exploding(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise RuntimeError(f"{request.method} {SECRET}") from ValueError(SECRET)

    with serve(tracing, Exploding()) as client:
        assert client.post(PATH, data=FORM).status_code == 500
    child, server = spans(exporter)
    assert attributes(server)["error.type"] == "RuntimeError"
    assert attributes(child)["error.type"] == "InternalError"
    assert child.status.status_code is StatusCode.ERROR
    assert SECRET not in server.to_json()
    assert SECRET not in child.to_json()


@pytest.mark.parametrize("path", ["/healthz", "/readyz/?x=y"])
def test_probes_have_no_spans(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, path: str
) -> None:
    with serve(tracing) as client:
        assert client.get(path).status_code == 200
    assert exporter.get_finished_spans() == ()


def test_traceparent_is_continued_and_not_sent_to_spotify(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, simulator: httpx.Client
) -> None:
    traceparent = f"00-{TRACE_ID}-{PARENT_ID}-01"
    with serve(tracing) as client:
        client.post(PATH, data=FORM, headers={"Traceparent": traceparent, "Tracestate": "a=b"})
    child, server = spans(exporter)
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == PARENT_ID
    assert {ids(server)[0], ids(child)[0]} == {TRACE_ID}
    [request] = simulator.get("/admin/requests").json()
    sent = {name.lower() for name, _ in request["headers"]}
    assert sent.isdisjoint({"traceparent", "tracestate", "baggage"})


def test_no_trace_header_reaches_any_transport(serve: Serve, tracing: Tracing) -> None:
    requests: list[httpx.Request] = []

    class Recording(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            requests.append(request)
            return httpx.Response(200, json={"access_token": "BQ"})

    with serve(tracing, Recording()) as client:
        headers = {"Traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}
        client.post(PATH, data=FORM, headers=headers).raise_for_status()
    [request] = requests
    assert set(request.headers).isdisjoint({"traceparent", "tracestate", "baggage"})


@pytest.mark.parametrize(
    "traceparent",
    ["", "nonsense", SECRET, f"00-{'0' * 32}-{PARENT_ID}-01", f"00-{TRACE_ID}-{'0' * 16}-01"],
)
def test_broken_traceparent_starts_a_new_trace(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, traceparent: str
) -> None:
    with serve(tracing) as client:
        assert client.get("/", headers={"Traceparent": traceparent}).status_code == 200
    [server] = exporter.get_finished_spans()
    assert server.parent is None
    assert ids(server)[0] not in {TRACE_ID, "0" * 32}


@pytest.mark.parametrize(
    ("sampler", "flag", "spans_for_stranger", "spans_for_proxy"),
    [
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, "01", 0, 2),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, "00", 2, 0),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, "00", 2, 2),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "01", 0, 0),
        (
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
            "01",
            0,
            2,
        ),
        ({}, "00", 2, 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("trusted", [False, True])
def test_only_a_trusted_proxy_decides_about_sampling(
    serve: Serve,
    exporter: InMemorySpanExporter,
    sampler: dict[str, str],
    flag: str,
    spans_for_stranger: int,
    spans_for_proxy: int,
    trusted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    proxies = {"TRUSTED_PROXIES": "127.0.0.0/8" if trusted else "192.0.2.1"}
    headers = {"Traceparent": f"00-{TRACE_ID}-{PARENT_ID}-{flag}"}
    with serve(Tracing(SimpleSpanProcessor(exporter), sampler), **proxies) as client:
        client.post(PATH, data=FORM, headers=headers).raise_for_status()
    expected = spans_for_proxy if trusted else spans_for_stranger
    assert len(exporter.get_finished_spans()) == expected


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
def test_stranger_cannot_force_sampling_by_the_trace_id(
    serve: Serve, exporter: InMemorySpanExporter, sampler: str
) -> None:
    """A ratio sampler takes every trace id that ends in zeros; the client span follows."""
    sampling = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    headers = {"Traceparent": f"00-{TRACE_ID[:16]}{'0' * 16}-{PARENT_ID}-01"}
    with serve(
        Tracing(SimpleSpanProcessor(exporter), sampling), CLIENT_CREDENTIALS_CACHE="false"
    ) as client:
        for _ in range(40):
            client.post(PATH, data=FORM, headers=headers).raise_for_status()
    kinds = [span.kind for span in exporter.get_finished_spans()]
    assert 0 < kinds.count(SpanKind.SERVER) < 40
    assert kinds.count(SpanKind.CLIENT) == kinds.count(SpanKind.SERVER)


def test_request_line_has_the_ids_of_its_span(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, log_lines: LogLines
) -> None:
    with serve(tracing) as client:
        client.post(PATH, data=FORM)
        client.get("/healthz")
    _, server = spans(exporter)
    [line] = log_lines.requests()
    assert (line["trace_id"], line["span_id"]) == ids(server)
    for line in log_lines.of("server.started"):
        assert "trace_id" not in line


def test_baggage_is_neither_kept_nor_logged(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, log_lines: LogLines
) -> None:
    with serve(tracing) as client:
        for baggage in (SECRET, f"key={SECRET}", f"a=b,{SECRET},=,"):
            client.post(PATH, data=FORM, headers={"Baggage": baggage})
    assert SECRET not in "".join(span.to_json() for span in exporter.get_finished_spans())
    assert SECRET not in log_lines.text


class Receiver:
    """What an OTLP receiver was sent; it responds with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[bytes] = []
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
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
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve `handler` on a free port; yields the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def receiving() -> Iterator[tuple[str, Receiver]]:
    """Receive OTLP over HTTP."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.paths.append(self.path)
            receiver.headers.append({name.lower(): text for name, text in self.headers.items()})
            receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(receiver.status)
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as endpoint:
        yield endpoint, receiver


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
    server, child = receiver.spans[f"POST {PATH}"], receiver.spans["POST /api/token"]
    assert child.trace_id == server.trace_id
    assert child.parent_span_id == server.span_id
    assert receiver.resource["service.name"] == "spotify-api-server"
    assert receiver.resource["service.version"] == __version__
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


def test_captured_headers_reveal_no_secret(
    serve: Serve, simulator: httpx.Client, log_lines: LogLines
) -> None:
    capture = {
        f"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_{side}_{way}": ".*"
        for side in ("CLIENT", "SERVER")
        for way in ("REQUEST", "RESPONSE")
    }
    headers = [[name, f"a={SECRET}"] for name in ("Content-Type", "Set-Cookie", "X-Token")]
    fault = {"kind": "answer", "status": 400, "headers": headers, "body": f'"{SECRET}"'}
    sealed = SEALER.seal(SECRET)
    with (
        receiving() as (endpoint, receiver),
        serve(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **capture) as client,
    ):
        simulator.post("/admin/faults", json=fault)
        incoming = {"Authorization": SECRET, "Cookie": SECRET}
        refresh = {"refresh_token": sealed}
        assert client.post(REFRESH, data=refresh, headers=incoming).status_code == 400
    exported = b"".join(receiver.bodies)
    assert b"http.response.header.set_cookie" in exported
    basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    for secret in (SECRET, sealed, CLIENT_SECRET, basic):
        assert secret.encode() not in exported
        assert secret not in log_lines.text


@pytest.mark.parametrize("status", [200, 302, 503])
def test_endless_response_of_a_receiver_is_not_read(serve: Serve, status: int) -> None:
    sent = 0

    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal sent
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            with suppress(ConnectionError):
                while sent < LIMIT:
                    sent += self.wfile.write(bytes(2**16))

        def log_message(self, *_: object) -> None:
            pass

    with serving(Endless) as endpoint, serve(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as client:
        client.post(PATH, data=FORM).raise_for_status()
    assert 0 < sent < LIMIT


def test_failing_exports_are_logged_once_a_minute(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    now = time.monotonic() + LOG_SECONDS
    monkeypatch.setattr("service.tracing.time", SimpleNamespace(monotonic=lambda: now))
    with receiving() as (endpoint, receiver):
        receiver.status = 400

        def export() -> list[str]:
            with serve(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as client:
                client.get("/")
            lines = log_lines.of("library.logged")
            return [line["message"] for line in lines if line["logger"] != "httpx"]

        export()  # reports what other tests left
        now += LOG_SECONDS
        *_, first = [export() for _ in range(3)][-1]
        now += LOG_SECONDS
        *before, last = export()
    assert before[1:] == [first]
    assert last == first
    assert len(receiver.requests) == 5


def test_console_exporter_writes_json_lines_between_log_lines(
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
    assert [line["name"] for line in lines if "name" in line] == [
        "POST /api/token",
        f"POST {PATH}",
    ]
    assert "token.retrieved" in {line.get("event") for line in lines}
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_receiver_that_is_down_delays_no_response(serve: Serve, protocol: str) -> None:
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


def test_exporter_that_hangs_does_not_delay_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hanging(SpanExporter):
        released = threading.Event()

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            self.released.wait(10)
            return SpanExportResult.FAILURE if spans else SpanExportResult.SUCCESS

    monkeypatch.setattr("service.tracing.FLUSH_SECONDS", 0.1)
    tracing = Tracing(BatchSpanProcessor(Hanging()), {})
    scope = {"method": "GET", "scheme": "http", "http_version": "1.1", "headers": []}
    span = tracing.start(scope, trusted=False)
    span.end(route=None, status=404, error_type=None, flow=None, reused=None)
    began = time.monotonic()
    tracing.flush()
    assert 0.1 <= time.monotonic() - began < 2
    Hanging.released.set()
    assert 0 < FLUSH_SECONDS <= 5


PROGRAM = """
import json, sys
from service.app import create_app
create_app()
traced = "service.tracing" in sys.modules
imported = any(name.startswith("opentelemetry.sdk") for name in sys.modules)
sys.stderr.write(json.dumps([traced, imported]))
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
    assert built(**otel) == ("", [False, False])


def test_with_an_endpoint_the_sdk_is_imported() -> None:
    """The test above can fail."""
    assert built(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1") == ("", [True, True])


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
    assert tracing_enabled(environ) is enabled


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
NONSENSE = [
    ("OTEL_TRACES_SAMPLER", ["nonsense", "ALWAYS", "jaeger_remote"]),
    ("OTEL_TRACES_SAMPLER_ARG", ["nonsense", "1.5", "-0.1", "nan", "1e-3"]),
    ("OTEL_PROPAGATORS", ["nonsense", "tracecontext,", "b3"]),
    ("OTEL_BSP_SCHEDULE_DELAY", ["nonsense", "0", "1.5"]),
    ("OTEL_BSP_EXPORT_TIMEOUT", ["nonsense", "-1"]),
    ("OTEL_BSP_MAX_QUEUE_SIZE", ["nonsense", "-1"]),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", ["nonsense", "0"]),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", ["nonsense", "-1"]),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", ["nonsense", "-1"]),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", ["nonsense", "-1"]),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", ["nonsense", "0", "inf"]),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", ["nonsense"]),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        ["nonsense", "collector:4317", "ftp://a", "http://", " http://a", "http://u:nonsense@a"],
    ),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ["nonsense", "http://a/?key=nonsense"]),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", ["/nonexist", "/"]),
    ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", ["/nonexist"]),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", ["/nonexist"]),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", ["/nonexist"]),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", ["nonsense"]),
    ("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE", ["nonsense("]),
    ("OTEL_PYTHON_HTTPX_EXCLUDED_URLS", ["nonsense("]),
]


@pytest.mark.parametrize(("name", "values"), NONSENSE)
def test_nonsense_stops_the_start_with_one_problem(name: str, values: list[str]) -> None:
    for value in values:
        with pytest.raises(SettingsError) as raised:
            service_settings.load({**environment("http://127.0.0.1:1/"), **ENDPOINT, name: value})
        [problem] = raised.value.problems
        assert problem.startswith(f"{name} ")
        assert "nonsense" not in problem
        assert "nonexist" not in problem


def test_all_nonsense_is_listed_by_the_process_with_status_78() -> None:
    nonsense = {name: values[0] for name, values in NONSENSE}
    environ = environment("http://127.0.0.1:1/", PATH=os.environ["PATH"], **nonsense)
    ended = subprocess.run(
        [sys.executable, "-m", "service"], env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 78
    problems = json.loads(ended.stdout.splitlines()[-1])["problems"]
    assert {problem.partition(" ")[0] for problem in problems} == set(nonsense)
    assert "nonsense" not in ended.stdout + ended.stderr


def test_nonsense_is_ignored_without_tracing() -> None:
    off = {"OTEL_SDK_DISABLED": "true"}
    nonsense = {name: values[0] for name, values in NONSENSE}
    service_settings.load({**environment("http://127.0.0.1:1/"), **nonsense, **off})


def test_good_telemetry_settings_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("certificate")
    good = {
        "OTEL_TRACES_SAMPLER_ARG": ["0", "1", "0.25", ".5", "1.0"],
        "OTEL_PROPAGATORS": ["tracecontext", "tracecontext, baggage", "none"],
        "OTEL_BSP_MAX_QUEUE_SIZE": ["2048"],
        "OTEL_EXPORTER_OTLP_TIMEOUT": ["0.5", "10"],
        "OTEL_EXPORTER_OTLP_ENDPOINT": ["http://collector:4318", "https://otlp.example/tenant/a"],
        "OTEL_EXPORTER_OTLP_CERTIFICATE": [str(tmp_path / "ca.pem")],
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST": [".*", "Content.*,X-.*"],
    }
    for name, values in good.items():
        for value in values:
            service_settings.load({**environment("http://127.0.0.1:1/"), **ENDPOINT, name: value})
