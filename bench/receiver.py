"""A receiver of OTLP over HTTP that counts the spans it gets."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.rig import free_port

_MAX_BODY_BYTES = 64 * 2**20


class Receiver:
    """The number of `spans` received at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans = 0

    async def take(self, request: web.Request) -> web.Response:
        """Count the spans in the body."""
        message = ExportTraceServiceRequest.FromString(await request.read())
        self.spans += sum(
            len(scope.spans) for spans in message.resource_spans for scope in spans.scope_spans
        )
        return web.Response(content_type="application/x-protobuf")


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Receive until the context ends, in a thread of this process."""
    port = free_port()
    receiver = Receiver(f"http://127.0.0.1:{port}")
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app.router.add_post("/v1/traces", receiver.take)
    started = threading.Event()
    with asyncio.Runner() as runner:
        loop, stopped = runner.get_loop(), asyncio.Event()

        async def serve() -> None:
            server = web.AppRunner(app, access_log=None)
            await server.setup()
            await web.TCPSite(server, "127.0.0.1", port, shutdown_timeout=1).start()
            started.set()
            await stopped.wait()
            await server.cleanup()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        try:
            started.wait()
            yield receiver
        finally:
            loop.call_soon_threadsafe(stopped.set)
            thread.join()
