import base64
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from service.tracing import OnceAMinute, Tracing
from tests.conftest import LogLines
from tests.fakes import HeldSpotify
from tests.flows import CREDENTIALS, REFRESH, SEALER
from tests.running import CLIENT_ID, CLIENT_SECRET, environment, running
from tests.volley import connected, read_response, request

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
        app = create_app(settings, transport=transport, tracing=tracing)
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


def test_4xx_of_spotify_is_an_error_of_the_client_span(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, simulator: httpx.Client
) -> None:
    simulator.post("/admin/faults", json={"kind": "answer", "status": 400, "body": SECRET})
    with serve(tracing) as client:
        assert client.post(PATH, data=FORM).status_code == 400
    child, server = spans(exporter)
    assert (child.status.status_code, server.status.status_code) == (
        StatusCode.ERROR,
        StatusCode.UNSET,
    )
    assert attributes(child)["error.type"] == "400"
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
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    refresh = request(REFRESH, {"refresh_token": SEALER.seal("AQ")})
    with HeldSpotify() as spotify, serve(tracing, SPOTIFY_TOKEN_URL=spotify.url) as client:
        shared = [connected(client) for _ in range(5)]
        for connection in shared:
            connection.sendall(refresh)
        spotify.wait_for_request()
        for _ in range(2):  # connections are read in turns, so that all five are under way then
            client.get("/healthz").raise_for_status()
        spotify.release.set()
        assert [read_response(connection).status for connection in shared] == [200] * 5
        for connection in shared:
            connection.close()
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
def test_5xx_is_an_error_of_both_spans(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter, fault: str, status: int
) -> None:
    with serve(tracing) as client:
        fault_next(fault)
        assert client.post(PATH, data=FORM).status_code == status
    child, server = spans(exporter)
    assert child.status.status_code is server.status.status_code is StatusCode.ERROR
    assert not server.status.description
    assert attributes(server)["error.type"] == str(status)


def test_local_4xx_is_no_error_of_the_server_span(
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


def test_probes_have_no_spans(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    with serve(tracing) as client:
        for path in ("/healthz", "/readyz/?x=y"):
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


def test_broken_traceparent_starts_a_new_trace(
    serve: Serve, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    broken = ["", "nonsense", f"00-{'0' * 32}-{PARENT_ID}-01", f"00-{TRACE_ID}-{'0' * 16}-01"]
    with serve(tracing) as client:
        for traceparent in broken:
            assert client.get("/", headers={"Traceparent": traceparent}).status_code == 200
    finished = exporter.get_finished_spans()
    assert [span.parent for span in finished] == [None] * len(broken)
    assert len({ids(span)[0] for span in finished} - {TRACE_ID, "0" * 32}) == len(broken)


@pytest.mark.parametrize(
    ("sampler", "flag", "spans_for_stranger", "spans_for_proxy"),
    [
        ("parentbased_always_off", "01", 0, 2),
        ("parentbased_always_on", "00", 2, 0),
        ("always_on", "00", 2, 2),
        ("", "00", 2, 0),
    ],
)
def test_only_a_trusted_proxy_decides_about_sampling(
    serve: Serve, sampler: str, flag: str, spans_for_stranger: int, spans_for_proxy: int
) -> None:
    headers = {"Traceparent": f"00-{TRACE_ID}-{PARENT_ID}-{flag}"}
    for trusted, expected in (("192.0.2.1", spans_for_stranger), ("127.0.0.0/8", spans_for_proxy)):
        exporter = InMemorySpanExporter()
        tracing = Tracing(SimpleSpanProcessor(exporter), {"OTEL_TRACES_SAMPLER": sampler})
        with serve(tracing, TRUSTED_PROXIES=trusted) as client:
            client.post(PATH, data=FORM, headers=headers).raise_for_status()
        assert len(exporter.get_finished_spans()) == expected


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
def test_untrusted_client_cannot_force_sampling_by_the_trace_id(
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
        self._arrived = threading.Condition()
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()

    def wait_for(self, count: int) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, 20)

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


def test_service_name_can_be_set(serve: Serve) -> None:
    for named in (
        {"OTEL_SERVICE_NAME": "mine"},
        {"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine,deployment.environment.name=test"},
    ):
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


@pytest.mark.parametrize("status", [200, 302])
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


def test_failing_exports_are_logged_once(simulator: httpx.Client) -> None:
    with receiving() as (endpoint, receiver):
        receiver.status = 400
        exports = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "10"}
        with process(simulator, **exports) as (service, url):
            for number in range(3):
                httpx.get(url, trust_env=False)
                receiver.wait_for(number + 1)
            service.terminate()
            out, err = service.communicate(timeout=20)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines].count("library.logged") == 1
    assert err == ""


def test_failing_exports_are_logged_again_after_a_minute() -> None:
    now = 1000.0
    once = OnceAMinute(lambda: now)
    warning, info = (
        logging.LogRecord("exporter", level, "f", 1, "failed", (), None)
        for level in (logging.WARNING, logging.INFO)
    )
    assert [once.filter(record) for record in (warning, warning, info)] == [True, False, True]
    now += 59.9
    assert not once.filter(warning)
    now += 0.1
    assert once.filter(warning)


@contextmanager
def process(simulator: httpx.Client, **otel: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the service as a process; yields it and its URL. It ends with the block."""
    environ = environment(f"{simulator.base_url}/api/token", PATH=os.environ["PATH"], PORT="0")
    with subprocess.Popen(
        [sys.executable, "-m", "service"],
        env=environ | otel,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stdout is not None
        try:
            started = json.loads(service.stdout.readline())
            yield service, f"http://127.0.0.1:{started['port']}"
        finally:
            service.kill()


def test_console_exporter_writes_json_lines_between_log_lines(
    simulator: httpx.Client,
) -> None:
    with process(simulator, OTEL_TRACES_EXPORTER="console") as (service, url):
        assert httpx.post(f"{url}{PATH}", data=FORM, trust_env=False).status_code == 200
        service.terminate()
        out, err = service.communicate(timeout=20)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["name"] for line in lines if "name" in line] == ["POST /api/token", f"POST {PATH}"]
    assert "token.retrieved" in {line.get("event") for line in lines}
    assert (service.returncode, err) == (0, "")


def test_hanging_receiver_delays_no_response(serve: Serve) -> None:
    with (
        HeldSpotify() as receiver,
        serve(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_BSP_SCHEDULE_DELAY="10") as client,
    ):
        client.post(PATH, data=FORM).raise_for_status()
        receiver.wait_for_request()
        client.post(PATH, data=FORM).raise_for_status()
        receiver.release.set()


def test_hanging_exporter_does_not_delay_the_stop() -> None:
    class Hanging(SpanExporter):
        released, finished = threading.Event(), threading.Event()

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
            self.released.wait(20)
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            self.finished.set()

    exporter = Hanging()
    tracing = Tracing(BatchSpanProcessor(exporter), {})
    scope = {"method": "GET", "scheme": "http", "http_version": "1.1", "headers": []}
    span = tracing.start(scope, trusted=False)
    span.end(route=None, status=404, error_type=None, flow=None, reused=None)
    tracing.flush(0.1)
    assert not exporter.finished.is_set()
    exporter.released.set()
    assert exporter.finished.wait(20)
