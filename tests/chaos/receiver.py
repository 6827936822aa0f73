"""An OTLP receiver over HTTP: healthy, slow, failing, silent or endless, by its `mood`."""

import asyncio
import threading
from typing import Literal, Self

import uvloop
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Mood = Literal["healthy", "slow", "failing", "silent", "endless"]
SLOW_SECONDS = 2.0


class Receiver:
    """Serves in a thread; `spans` counts the spans received while it was healthy or slow."""

    def __init__(self) -> None:
        self.mood: Mood = "healthy"
        self.spans = self.requests = 0
        self._loop = uvloop.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        begun = asyncio.run_coroutine_threadsafe(self._begin(), self._loop)
        self.port: int = begun.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _begin(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _end(self) -> None:
        assert self._server
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
                body = await reader.readexactly(int(length))
                writer.write(await self._respond(body))
                while self.mood == "endless":
                    writer.write(bytes(2**16))
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _respond(self, body: bytes) -> bytes:
        self.requests += 1
        if self.mood == "failing":
            return b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        if self.mood == "endless":
            return b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\r\n"
        if self.mood == "silent":
            await asyncio.sleep(3600)
        if self.mood == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        sent = ExportTraceServiceRequest.FromString(body)
        self.spans += sum(len(s.spans) for r in sent.resource_spans for s in r.scope_spans)
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
