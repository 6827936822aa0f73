"""Serve the application with uvicorn.

A subclass of uvicorn's protocol gives handlers the transport of their connection, so that faults
can close it, and the header names as the client wrote them.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn
from litestar import Litestar
from uvicorn.config import LOGGING_CONFIG
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from simulator.exchange import EXTENSION


class OpenProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which passes transport and original headers to handlers."""

    def on_message_begin(self) -> None:
        """Add the extension that ``simulator.exchange`` reads to the ASGI scope."""
        super().on_message_begin()
        self._as_written: list[tuple[bytes, bytes]] = []
        extension: dict[object, object] = {
            "transport": self.transport,
            "headers": self._as_written,
        }
        self.scope["extensions"] = {EXTENSION: extension}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the header unchanged; uvicorn's list has lower-case names."""
        super().on_header(name, value)
        self._as_written.append((name, value))

    def shutdown(self) -> None:
        """Drop the connection, so that the server does not wait for a fault to end."""
        self.transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, on a free port for port 0; OSError if that fails."""
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family, backlog=2048)


def url_of(listener: socket.socket) -> str:
    """Return the base URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server_of(app: Litestar, *, verbose: bool = False) -> uvicorn.Server:
    """Return a server; ``run(sockets=[listener])`` starts it, ``should_exit`` stops it."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=OpenProtocol,
            ws="none",
            interface="asgi3",
            lifespan="off",
            proxy_headers=False,  # the record has the port of the connection
            server_header=False,
            access_log=verbose,
            log_config=LOGGING_CONFIG if verbose else None,
        )
    )


@contextmanager
def running(app: Litestar, preferred: int = 0) -> Iterator[str]:
    """Serve an application in a thread during a with block; yield its base URL.

    Listens on the ``preferred`` port of 127.0.0.1, or on a free port if that one is in use.
    """
    with closing(_listen_near(preferred)) as listener:
        server = server_of(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join()


def _listen_near(preferred: int) -> socket.socket:
    try:
        return listen("127.0.0.1", preferred)
    except OSError:
        return listen("127.0.0.1", 0)
