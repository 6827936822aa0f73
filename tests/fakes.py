"""Fakes of parts that a test replaces."""

import asyncio
import queue
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx

from service.grants import TokenRequest
from service.responses import TokenResponse

Outcome = TokenResponse | Exception


class FakeEndpoint:
    """A token endpoint: its n-th call, from 1, returns or raises `respond(n)` when `go` is set."""

    def __init__(self, respond: Callable[[int], Outcome]) -> None:
        self._respond = respond
        self.calls = 0
        self.finished = 0
        self.go = asyncio.Event()
        self.go.set()

    async def fetch(self, _request: TokenRequest) -> TokenResponse:
        self.calls += 1
        number = self.calls
        try:
            await self.go.wait()
        finally:
            self.finished += 1
        outcome = self._respond(number)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class HeldTransport(httpx.AsyncBaseTransport):
    """Holds calls until `release`, then passes them to `transport`.

    For a service in another thread: its calls are in flight for as long as a test needs.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.calls = 0
        self._transport = transport
        self._arrived = threading.Event()
        self._go = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        self._loop = asyncio.get_running_loop()
        self._arrived.set()
        await self._go.wait()
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()

    def wait_for_call(self) -> None:
        assert self._arrived.wait(30)

    def release(self) -> None:
        """Release the calls, after the first one has arrived."""
        self.wait_for_call()
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._go.set)


async def settle() -> None:
    """Let tasks that are ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


class HeldSpotify(ThreadingHTTPServer):
    """A token endpoint over HTTP whose responses wait for `release`."""

    daemon_threads = False  # so that none outlives the block

    def __init__(
        self,
        status: int = 200,
        body: bytes = b'{"access_token":"BQ","token_type":"Bearer","expires_in":3600}',
    ) -> None:
        super().__init__(("127.0.0.1", 0), _HeldResponse)
        self.response = status, body
        self.release = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._arrived: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._serving = threading.Thread(target=self.serve_forever, args=(0.01,))

    def wait_for_request(self) -> None:
        """Wait until one more request has arrived."""
        self._arrived.get(timeout=20)

    def arrived(self) -> None:
        self._arrived.put(None)

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.shutdown()
        self._serving.join()
        self.server_close()


class _HeldResponse(BaseHTTPRequestHandler):
    server: HeldSpotify

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.arrived()
        self.server.release.wait()
        status, body = self.server.response
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
