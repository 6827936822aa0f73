"""The application on a socket, served by uvicorn in this process.

What happens below HTTP is the reason for a protocol of its own: handlers get the transport of
their connection, to cut it, and header names as the client wrote them.
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
    """uvicorn's HTTP protocol, open about what lies beneath."""

    def on_message_begin(self) -> None:
        """Start a request whose ASGI scope has the extension ``simulator.exchange`` reads."""
        super().on_message_begin()
        self._as_written: list[tuple[bytes, bytes]] = []
        extension: dict[object, object] = {
            "transport": self.transport,
            "headers": self._as_written,
        }
        self.scope["extensions"] = {EXTENSION: extension}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header as it was written, too: uvicorn's list has its name in lower case."""
        super().on_header(name, value)
        self._as_written.append((name, value))

    def shutdown(self) -> None:
        """Drop the connection: waiting for it would take as long as a fault does."""
        self.transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that accepts from now on, on port 0 at a free port; OSError if it cannot."""
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family, backlog=2048)


def url_of(listener: socket.socket) -> str:
    """Return the base URL of what listens on a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server_of(app: Litestar, *, verbose: bool = False) -> uvicorn.Server:
    """Return a server, which ``run(sockets=[listener])`` starts and ``should_exit`` ends."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=OpenProtocol,
            ws="none",
            interface="asgi3",
            lifespan="off",
            proxy_headers=False,  # the record shows who is on the line, not who else was named
            server_header=False,
            access_log=verbose,
            log_config=LOGGING_CONFIG if verbose else None,
        )
    )


@contextmanager
def running(app: Litestar, preferred: int = 0) -> Iterator[str]:
    """Serve an application on a thread for as long as the block lasts; yields its base URL.

    It is at the `preferred` port of 127.0.0.1 if nobody is there, else at any that is free.
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
