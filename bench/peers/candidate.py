"""One small Litestar app, served and connected as the command line says.

    python -m bench.peers.candidate SERVER CLIENT

It does what our service does per request and nothing more, so that two runs differ by the server or
the client alone. The httpx transports are called without httpx.AsyncClient, as our service does it.
"""

import asyncio
import base64
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import msgspec
import structlog
import uvicorn
import uvloop
from litestar import Litestar, Request, Response, post
from litestar.status_codes import HTTP_200_OK

from bench.tokens import opened, sealed
from service.connections import Connections
from service.spotify import ANSWER_LIMIT, Transport

TOKEN_URL = os.environ["SPOTIFY_TOKEN_URL"]
PORT = int(os.environ["PORT"])
BACKLOG = 2048
POOL = 512

_basic = f"{os.environ['CLIENT_ID']}:{os.environ['CLIENT_SECRET']}".encode()
HEADERS = {
    "host": httpx.URL(TOKEN_URL).netloc.decode(),
    "authorization": f"Basic {base64.b64encode(_basic).decode()}",
    "content-type": "application/x-www-form-urlencoded",
    "accept": "application/json",
    "accept-encoding": "identity",
}

Call = Callable[[bytes], Awaitable[bytes]]
Serve = Callable[[Litestar], Awaitable[None]]


def _limits() -> httpx.Limits:
    return httpx.Limits(max_connections=POOL, max_keepalive_connections=POOL)


def _pyreqwest() -> Any:  # noqa: ANN401 - the package is optional
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().no_proxy().follow_redirects(False)
    return builder.gzip(False).brotli(False).zstd(False).deflate(False).build()


def _by_transport(transport: httpx.AsyncBaseTransport) -> Call:
    url, headers = httpx.URL(TOKEN_URL), httpx.Headers(HEADERS)

    async def call(body: bytes) -> bytes:
        request = httpx.Request("POST", url, headers=headers, content=body)
        return await (await transport.handle_async_request(request)).aread()

    return call


def async_client() -> Call:
    """Call through httpx.AsyncClient and its own pool."""
    client = httpx.AsyncClient(limits=_limits(), trust_env=False)

    async def call(body: bytes) -> bytes:
        return (await client.post(TOKEN_URL, headers=HEADERS, content=body)).content

    return call


def httpx_pool() -> Call:
    """Call httpx's own pool, without the client above it."""
    return _by_transport(httpx.AsyncHTTPTransport(limits=_limits(), trust_env=False))


def aiohttp_transport() -> Call:
    """Call aiohttp through httpx's interface."""
    import aiohttp
    from httpx_aiohttp import AiohttpTransport

    def connect() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=POOL))

    return _by_transport(AiohttpTransport(client=connect))


def pyreqwest_transport() -> Call:
    """Call pyreqwest through httpx's interface."""
    from pyreqwest.compatibility.httpx import HttpxTransport

    return _by_transport(HttpxTransport(_pyreqwest()))


def pyreqwest_direct() -> Call:
    """Call pyreqwest by its own interface."""
    client = _pyreqwest()

    async def call(body: bytes) -> bytes:
        request = client.post(TOKEN_URL).headers(HEADERS).body_bytes(body).build()
        return bytes(await (await request.send()).bytes())

    return call


def ours_transport() -> Call:
    """Call our own connections through httpx's interface."""
    return _by_transport(Transport(TOKEN_URL))


def ours_direct() -> Call:
    """Call our own connections by their own interface."""
    connections = Connections(urlsplit(TOKEN_URL), ANSWER_LIMIT)
    lines = [f"POST {urlsplit(TOKEN_URL).path} HTTP/1.1", *map(": ".join, HEADERS.items())]
    head = "\r\n".join([*lines, "content-length: "]).encode()

    async def call(body: bytes) -> bytes:
        message = b"%b%d\r\n\r\n%b" % (head, len(body), body)
        return (await connections.request(message)).body

    return call


async def on_uvicorn(app: Litestar) -> None:
    """Serve on uvicorn with httptools."""
    config = uvicorn.Config(
        app, port=PORT, http="httptools", log_level="error", access_log=False, backlog=BACKLOG
    )
    await uvicorn.Server(config).serve()


async def on_granian(app: Litestar) -> None:
    """Serve on granian, embedded in our own loop."""
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    server = Server(
        app,
        port=PORT,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        backlog=BACKLOG,
    )
    await server.serve()


SERVERS: Mapping[str, Serve] = {"uvicorn": on_uvicorn, "granian": on_granian}
CLIENTS: Mapping[str, Callable[[], Call]] = {
    "httpx.AsyncClient": async_client,
    "httpx-pool": httpx_pool,
    "httpx-aiohttp": aiohttp_transport,
    "pyreqwest-transport": pyreqwest_transport,
    "pyreqwest": pyreqwest_direct,
    "ours-transport": ours_transport,
    "ours": ours_direct,
}

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _resealed(answer: bytes) -> bytes:
    members = _members.decode(answer)
    token = sealed(msgspec.json.decode(members["refresh_token"], type=str))
    members["refresh_token"] = msgspec.Raw(msgspec.json.encode(token))
    return msgspec.json.encode(members)


def application(call: Call) -> Litestar:
    """Return the app that refreshes by `call`."""
    log = _logger()

    @post("/authorization-code-flow-pkce/refresh-tokens", status_code=HTTP_200_OK)
    async def refresh(request: Request[Any, Any, Any]) -> Response[bytes]:
        start = time.perf_counter()
        form = dict(parse_qsl((await request.body()).decode()))
        token = opened(form["refresh_token"])
        body = urlencode({"grant_type": "refresh_token", "refresh_token": token})
        answer = _resealed(await call(body.encode()))
        log.info("token.refreshed", duration_ms=round((time.perf_counter() - start) * 1e3, 2))
        return Response(
            answer, headers={"cache-control": "no-store"}, media_type="application/json"
        )

    return Litestar([refresh], openapi_config=None, logging_config=None)


def _logger() -> structlog.typing.FilteringBoundLogger:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(lambda event, **_: msgspec.json.encode(event)),
        ],
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


async def main(server: str, client: str) -> None:
    """Serve until a signal comes; the client is made here, where the loop runs."""
    await SERVERS[server](application(CLIENTS[client]()))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
