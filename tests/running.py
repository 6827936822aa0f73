"""The service on a real socket, in a thread of the test process, so that its coverage is seen."""

import io
import itertools
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from litestar import Litestar

from service import settings as service_settings
from service.server import Server

CLIENT_ID = "simulator-client-id"
CLIENT_SECRET = "simulator-client-secret"
SECRET_KEY = "golden-secret-key-0123456789"
COMMAND = (sys.executable, "-m", "service")


def environment(token_url: str, **changes: str) -> dict[str, str]:
    """Return an environment in which the service calls the simulator."""
    return {
        "CLIENT_ID": CLIENT_ID,
        "CLIENT_SECRET": CLIENT_SECRET,
        "SECRET_KEY": SECRET_KEY,
        "SPOTIFY_TOKEN_URL": token_url,
        "DRAIN_SECONDS": "0",
        "METRICS_PORT": "0",
        **changes,
    }


# Below the ephemeral range, so that no other socket takes a port meanwhile; a thousand for each
# worker of pytest-xdist, and no port twice in a row.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST = 20_000 + 1_000 * (_WORKER % 12)
_PORTS = itertools.cycle(secrets.SystemRandom().sample(range(_FIRST, _FIRST + 1_000), 1_000))


def free_port() -> int:
    """Return a free port, which no other worker gets."""
    while True:
        port = next(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def is_listening(port: int) -> bool:
    """Return whether a connection to `port` on loopback is accepted."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds: the service logs and counts after it has responded."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class _Buffer(io.BytesIO):
    """Notifies `grown` of each write."""

    def __init__(self) -> None:
        super().__init__()
        self.grown = threading.Condition()

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        with self.grown:
            written = super().write(data)
            self.grown.notify_all()
        return written


class Stdout(io.TextIOWrapper):
    """Replaces stdout and keeps the output, whichever thread writes it."""

    def __init__(self) -> None:
        self._written = _Buffer()
        self._read = 0
        super().__init__(self._written, encoding="utf-8", write_through=True)

    @property
    def text(self) -> str:
        """The whole output so far."""
        return self._written.getvalue().decode()

    def new_text(self) -> str:
        """Return the output since the last call."""
        text = self.text
        new, self._read = text[self._read :], len(text)
        return new

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until the output makes `condition` true, for 20 s at most."""
        with self._written.grown:
            self._written.grown.wait_for(condition, 20)


class End(NamedTuple):
    """The state of one end of a TCP connection."""

    has_read: bool
    """Whether its process has accepted the connection and read all that was sent."""
    is_closed: bool


def other_end(connection: socket.socket) -> End:
    """Return the state of the other end of a connection on this machine (Linux)."""
    [end] = other_ends(connection)
    return end


def other_ends(*connections: socket.socket) -> list[End]:
    """Return the state of each other end; the kernel's list, which may be long, is read once."""
    ends: dict[tuple[str, str], End] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines():
        _, local, remote, _, queues, *_, inode = line.split()[:10]
        is_open = inode != "0"
        ends[local[-5:], remote[-5:]] = End(is_open and queues.endswith(":00000000"), not is_open)
    closed = End(has_read=False, is_closed=True)
    return [ends.get(_ports(connection), closed) for connection in connections]


def _ports(connection: socket.socket) -> tuple[str, str]:
    """Return the ports as the kernel's list has them for the other end."""
    try:
        there, here = connection.getpeername()[1], connection.getsockname()[1]
    except OSError:  # this end is closed as well
        return "", ""
    return f":{there:04X}", f":{here:04X}"


@contextmanager
def running(app: Litestar, environ: dict[str, str]) -> Iterator[str]:
    """Serve `app` for as long as the block lasts; yields its base URL."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=512)) as listening:
        server = Server(app, service_settings.load(environ))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            while not app.state["readiness"].started:
                assert thread.is_alive()
                time.sleep(0.005)
            if metrics_port := int(environ.get("METRICS_PORT", 0)):
                wait_until(lambda: is_listening(metrics_port))  # after it is ready
            host, port = listening.getsockname()
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def minimal_environ(environ: dict[str, str]) -> dict[str, str]:
    """Return `environ` with the variables that a process needs to start, and no others."""
    names = ("PATH", "LANG", "HOME", "COVERAGE_PROCESS_CONFIG")
    return {name: os.environ[name] for name in names if name in os.environ} | environ


def wait_until_ready(process: "subprocess.Popen[Any]", url: str) -> None:
    """Return once the service at `url` is ready; fail if its process ends instead."""

    def is_ready() -> bool:
        assert process.poll() is None
        return status(url, "/readyz") == 200

    wait_until(is_ready)


def status(url: str, path: str) -> int | None:
    try:
        return httpx.get(url + path, trust_env=False).status_code
    except httpx.TransportError:
        return None
