"""The process that serves: uvicorn's server, with a drain, a port for metrics and enough files.

docs/decisions/0002-asgi-server.md says why uvicorn, with its figures.
"""

import asyncio
import contextlib
import gc
import math
import resource
import signal
import socket
from types import FrameType

import uvicorn
from uvicorn.server import ServerState

from service import __version__, logs
from litestar import Litestar as App
from service.logs import log
from service.protocol import CONNECTION_LIMIT, Protocol
from service.sealing import fingerprint
from service.settings import Settings

BACKLOG = 2048
SPARE_FILES = 64
"""What the process itself has open, and metrics, traces and a storage need."""
GC_THRESHOLD = 10_000
"""Objects that are new since the collector came last."""
KEEP_ALIVE_SECONDS = 75
"""Longer than common load balancers keep a connection, so that they close it, not we."""


class Server(uvicorn.Server):
    """Serves until a signal, then drains: not ready at once, but serving for DRAIN_SECONDS more.

    What is under way then is finished, and what comes meanwhile refused, but for probes. A second
    signal ends the process at once.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        limits = {
            "request_timeout": settings.request_timeout,
            "connection_limit": _connection_limit(settings),
        }
        protocol = type("Protocol", (Protocol,), limits)
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            interface="asgi3",
            loop="uvloop",
            lifespan="on",
            log_config=None,
            access_log=False,
            backlog=BACKLOG,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_grace(settings),
        )
        super().__init__(config)
        self._app = app
        self._settings = settings

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to drain; the second time, die as the signal would have it."""
        if self._app.state["readiness"].draining:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._app.state["readiness"].draining = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say where."""
        logs.watch(asyncio.get_running_loop())
        await super().startup(sockets)
        await self._serve_metrics()
        # What was imported stays: the collector need not walk it again and again. 5 % of a request.
        # And it need not come for a few hundred objects, which is what one request makes: 2 %.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        for listening in sockets or ():
            host, port = listening.getsockname()[:2]
            keys = [fingerprint(key) for key in self._settings.keyring]
            log.notice("server.started", version=__version__, host=host, port=port, keys=keys)

    async def _serve_metrics(self) -> None:
        """Serve /metrics on a port of its own, which an ingress doesn't reach.

        NOTE: going on without it is intentional: tokens are what this is for, and a second service
        on one host, or a port that is taken, is no reason to refuse them.
        """
        host, port = self._settings.host, self._settings.metrics_port
        if not port:
            return
        try:
            listening = listen(host, port)
        except OSError as error:
            log.error("metrics.failed", host=host, port=port, problem=error.strerror)
            return
        config = uvicorn.Config(
            self._app.state["metrics"].app(), ws="none", log_config=None, access_log=False
        )
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Protocol(config, state, {}), sock=listening)
        self.servers.append(server)

    async def on_tick(self, counter: int) -> bool:
        """Tell whether to stop; uvicorn's `should_exit` would skip the drain as the start ends."""
        return await super().on_tick(counter) or self._app.state["readiness"].draining

    async def main_loop(self) -> None:
        """Serve until told to stop, and DRAIN_SECONDS longer."""
        await super().main_loop()
        self._app.state["readiness"].draining = True
        log.notice("server.draining", seconds=self._settings.drain_seconds)
        loop = asyncio.get_running_loop()
        end, tick = loop.time() + self._settings.drain_seconds, 0
        while loop.time() < end:
            await self.on_tick(tick := tick + 1)  # keeps the Date header right
            await asyncio.sleep(0.1)
        self._accept_no_more()
        if under_way := set(self.server_state.tasks):
            # The port stays open for them, so that the liveness probe finds a process that lives.
            await asyncio.wait(under_way, timeout=_grace(self._settings))
        # uvicorn waits for the last requests: both waits together end when the first one would.
        left = end + _grace(self._settings) - loop.time()
        self.config.timeout_graceful_shutdown = max(1, math.ceil(left))

    def _accept_no_more(self) -> None:
        """Let each connection end with its request, and those to come ask for no tokens."""
        self._app.state["readiness"].stopping = True
        for connection in list(self.server_state.connections):
            connection.shutdown()


def _grace(settings: Settings) -> int:
    """Return whole seconds in which every request in flight has ended by its own deadlines."""
    return int(settings.request_timeout + settings.upstream_timeout) + 2


def listen(host: str, port: int) -> socket.socket:
    """Return a socket to listen with, or raise OSError."""
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening


def _open_files() -> None:
    """Allow as many connections as the system lets us: its soft limit is often 1,024 files.

    Clients that only connect would else take the files that calls to Spotify need.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a limit that it doesn't tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _connection_limit(settings: Settings) -> int:
    """Return how many connections there may be, so that calls to Spotify find files left."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return CONNECTION_LIMIT
    left = files - settings.upstream_max_in_flight - SPARE_FILES
    return min(CONNECTION_LIMIT, max(left, files // 4))


def run(app: App, settings: Settings, listening: socket.socket) -> None:
    """Serve `app` on `listening` until a signal."""
    _open_files()
    Server(app, settings).run(sockets=[listening])
