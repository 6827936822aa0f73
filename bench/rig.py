"""The rig: two cores, free ports, and processes that end with their context.

The server under test has a core to itself; upstream, load and this program share the other one.
Everything listens on loopback.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.tools import BenchError, tool

ROOT: Final = Path(__file__).parent.parent
_STOP_SECONDS: Final = 10
_LOG_TAIL: Final = 2000
_CORES_NEEDED: Final = 2


@dataclass(frozen=True)
class Cores:
    """Which core serves and which one does all the rest."""

    server: int
    load: int

    @classmethod
    def claim(cls) -> "Cores":
        """Return the first and the last allowed core, and pin this process to the load's."""
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < _CORES_NEEDED:
            raise BenchError("two cores are needed, one for the server and one for the load")
        cores = cls(server=allowed[0], load=allowed[-1])
        os.sched_setaffinity(0, {cores.load})
        return cores


@dataclass(frozen=True)
class Process:
    """A process that we started, and the file that has its output."""

    popen: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        """Return the id of the root of the process tree."""
        return self.popen.pid

    def check_alive(self) -> None:
        """Raise BenchError with the end of its output if the process has ended."""
        if self.popen.poll() is not None:
            raise BenchError(f"the process ended:\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of its output."""
        return self.log.read_text(errors="replace")[-_LOG_TAIL:]


@contextmanager
def spawned(
    command: Sequence[str], core: int, log: Path, env: Mapping[str, str]
) -> Iterator[Process]:
    """Run `command` on `core`, its output in `log`, until the context ends."""
    pinned = [tool("taskset"), "--cpu-list", str(core), *command]
    with log.open("wb") as output:
        popen = subprocess.Popen(
            pinned,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Process(popen, log)
    finally:
        _stop(popen)


def _stop(popen: "subprocess.Popen[bytes]") -> None:
    popen.terminate()
    try:
        popen.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        popen.kill()
    finally:
        # It has its own process group, in which only its children are left.
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
