"""Runs in the image's Python: exports a span by each protocol to a receiver beside it.

What the Dockerfile takes out of the packages is missed here, if it is missed.
"""

import os
import pkgutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import certifi
import grpc  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from service.tracing import create

received: list[ExportTraceServiceRequest] = []


class OverGRPC(TraceServiceServicer):
    def Export(  # noqa: N802
        self, request: ExportTraceServiceRequest, _context: object
    ) -> ExportTraceServiceResponse:
        received.append(request)
        return ExportTraceServiceResponse()


class OverHTTP(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        received.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def export(protocol: str, port: int) -> None:
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{port}"
    os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
    tracing = create(os.environ)
    assert tracing
    scope = {"method": "GET", "scheme": "http", "http_version": "1.1", "headers": []}
    span = tracing.start(scope, trusted=False)
    span.end(route=protocol, status=200, error_type=None, flow=None, reused=None)
    tracing.flush()


grpc_server = grpc.server(ThreadPoolExecutor(1))
add_TraceServiceServicer_to_server(OverGRPC(), grpc_server)  # type: ignore[no-untyped-call]
grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
grpc_server.start()
http_server = HTTPServer(("127.0.0.1", 0), OverHTTP)
threading.Thread(target=http_server.serve_forever, daemon=True).start()

export("grpc", grpc_port)
export("http/protobuf", http_server.server_port)
names = [request.resource_spans[0].scope_spans[0].spans[0].name for request in received]
assert names == ["GET grpc", "GET http/protobuf"], names

roots = pkgutil.get_data("grpc._cython", "_credentials/roots.pem")
assert roots == Path(certifi.where()).read_bytes()
grpc.ssl_channel_credentials()
sys.stdout.write(" and ".join(names))
