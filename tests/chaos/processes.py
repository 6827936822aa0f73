"""The service and the simulator as processes, with their Linux metrics."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx

from bench.processes import cpu_seconds, rss_mib
from tests.running import environment, free_port

START_SECONDS = 30.0
Address = tuple[str, int]
_ESTABLISHED, _CLOSE_WAIT = "01", "08"  # linux/include/net/tcp_states.h


def allow_open_files() -> int:
    """Raise this process's limit of open files to the maximum; children inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def eventually(holds: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until `holds` is true; return the seconds, or fail after `seconds`."""
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - start


class Footprint(NamedTuple):
    """The resources of a process."""

    rss_mib: float
    files: int
    threads: int


class Process:
    """A process of this suite; its output goes to files in `directory`."""

    def __init__(self, command: tuple[str, ...], environ: dict[str, str], directory: Path) -> None:
        self._out, self._err = directory / "stdout", directory / "stderr"
        names = ("PATH", "LANG", "HOME")
        inherited = {name: os.environ[name] for name in names if name in os.environ}
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self._popen = subprocess.Popen(command, env=inherited | environ, stdout=out, stderr=err)
        self.pid = self._popen.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def wait(self, seconds: float) -> int:
        return self._popen.wait(seconds)

    def stop(self, seconds: float = 30) -> float:
        """Send SIGTERM; return the seconds until it exits, which must be with status 0."""
        start = time.monotonic()
        self.signal(signal.SIGTERM)
        status = self.wait(seconds)
        assert status == 0, f"ended with {status}: {self.errors()}"
        return time.monotonic() - start

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def footprint(self) -> Footprint:
        files = len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        threads = len(list(Path(f"/proc/{self.pid}/task").iterdir()))
        return Footprint(rss_mib(self.pid), files, threads)

    def output(self) -> str:
        return self._out.read_text(errors="backslashreplace")

    def errors(self) -> str:
        return self._err.read_text(errors="backslashreplace")


class Simulator(Process):
    """`python -m simulator` on a fixed port, with further flags."""

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        flags: Sequence[str] = (),
        host: str = "127.0.0.1",
    ) -> None:
        self.port = port or free_port()
        self.address = (host, self.port)
        arguments = ("--host", host, "--port", str(self.port), *flags)
        super().__init__((sys.executable, "-m", "simulator", *arguments), {}, directory)
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self.token_url = f"{self.url}/api/token"
        eventually(lambda: accepts(self.address), START_SECONDS, "the simulator listens")
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    def __exit__(self, *_: object) -> None:
        self.client.close()
        super().__exit__()

    def queue_faults(self, *faults: dict[str, object]) -> None:
        """Queue faults for the next requests."""
        self.client.post("/admin/faults", json=list(faults)).raise_for_status()

    def reset(self) -> None:
        self.client.post("/admin/reset").raise_for_status()

    def requests(self) -> list[dict[str, Any]]:
        """Return the recorded requests, at most the last thousand."""
        entries: list[dict[str, Any]] = self.client.get("/admin/requests").json()
        return entries


class Service(Process):
    """`python -m service`, ready; `changes` are settings by name, `module` replaces `service`."""

    def __init__(
        self,
        directory: Path,
        token_url: str,
        *,
        module: str = "service",
        prefix: tuple[str, ...] = (),
        **changes: str,
    ) -> None:
        self.port = int(changes.pop("PORT", 0)) or free_port()
        settings = environment(token_url, PORT=str(self.port), CLIENT_CREDENTIALS_CACHE="false")
        command = (*prefix, sys.executable, "-m", module)
        super().__init__(command, settings | changes, directory)
        self.address = ("127.0.0.1", self.port)
        self.url = f"http://127.0.0.1:{self.port}"
        # Every request uses a new connection.
        limits = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=20, limits=limits)
        try:
            eventually(self._is_ready_or_dead, START_SECONDS, "the service is ready")
            assert self.is_alive(), self.output() + self.errors()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        self.client.close()
        super().kill()

    def _is_ready_or_dead(self) -> bool:
        return not self.is_alive() or self.status("/readyz") == 200

    def status(self, path: str) -> int | None:
        """Return the status of a GET; None without a response."""
        try:
            return self.client.get(path).status_code
        except httpx.TransportError:
            return None

    def lines(self) -> list[dict[str, Any]]:
        """Return the log; every line must be JSON."""
        return [json.loads(line) for line in self.output().splitlines()]

    def assert_no_defect(self) -> None:
        """Fail if the service logged an error, or wrote to stderr."""
        blamed = [line for line in self.lines() if line["level"] in {"error", "critical"}]
        assert not blamed, blamed[:3]
        assert self.errors() == ""

    def clients(self) -> int:
        """Return the number of client connections that it has not closed."""
        ours = f":{self.port:04X}"
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[1].endswith(ours) and row[3] in {_ESTABLISHED, _CLOSE_WAIT} for row in rows)

    def assert_settled(self, before: Footprint, spare_files: int = 6) -> Footprint:
        """Wait until at most `spare_files` more files are open than before.

        c-ares opens four at the first call, and never closes them.
        """

        def settled() -> bool:
            return self.footprint().files <= before.files + spare_files

        eventually(settled, 20, f"files as before: {before}, {self.footprint()}")
        return self.footprint()


def accepts(address: Address) -> bool:
    """Return whether a server accepts connections at `address`."""
    try:
        socket.create_connection(address, timeout=2).close()
    except OSError:
        return False
    return True
