"""Rounds: every server in turn, started afresh, so that a slow moment of the machine hits them all.

A server runs for its turn alone: no other one competes for its core, every turn yields a readiness
time, and memory at few connections is not that of many. It is measured after a warm-up as long as
its runtime needs. Each round begins with another server.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.load import check_response, drive, wait_ready
from bench.processes import cpu_seconds, rss_mib
from bench.receiver import Receiver, receiver
from bench.rig import Cores, Process, free_port, spawned
from bench.servers import USUAL, Server
from bench.tokens import SECRET_KEY
from bench.tools import BenchError
from bench.upstream import TOKEN_PATH, Upstream, upstream

_SETTLE_SECONDS: Final = 1
_MICROSECONDS: Final = 1e6


@dataclass(frozen=True)
class Plan:
    """Number of rounds, and the seconds of each load."""

    rounds: int
    seconds: int


@dataclass(frozen=True)
class Sample:
    """One measurement: CPU per request, requests a second, peak memory under load, readiness."""

    server: str
    connections: int
    round: int
    cpu_us: float
    per_second: float
    rss_mib: float
    ready_seconds: float


@dataclass
class Served:
    """A running server; `responses` counts those of all its loads."""

    server: Server
    process: Process
    port: int
    ready_seconds: float
    responses: int = 0

    def drive(self, connections: int, seconds: int, tick: Callable[[], None]) -> int:
        """Load the server, and return the number of responses."""
        responses = drive(self.port, self.server.workload, connections, seconds, tick)
        self.responses += responses
        return responses


@dataclass(frozen=True)
class Rig:
    """The context of every round."""

    plan: Plan
    cores: Cores
    directory: Path
    upstream: Upstream
    receiver: Receiver


def samples(rig: Rig, servers: Sequence[Server]) -> Iterator[Sample]:
    """Yield the samples of all rounds."""
    for number in range(rig.plan.rounds):
        first = number % len(servers)
        for server in (*servers[first:], *servers[:first]):
            try:
                yield from _turn(rig, number, server)
            except BenchError as error:
                raise BenchError(f"{server.name}: {error}") from error


def _turn(rig: Rig, number: int, server: Server) -> Iterator[Sample]:
    calls, spans = rig.upstream.calls(), rig.receiver.spans
    with serving(rig, server) as served:
        for connections in server.connections:
            sample = _sample(rig, number, served, connections)
            log(
                rig,
                number,
                f"{server.name}  {connections} connections: {sample.cpu_us:.0f} µs, "
                f"{sample.per_second:.0f}/s, {sample.rss_mib:.0f} MiB, "
                f"ready in {sample.ready_seconds:.2f} s",
            )
            yield sample
    calls, spans = rig.upstream.calls() - calls, rig.receiver.spans - spans
    if server.workload.refreshes and calls < served.responses:
        raise BenchError(f"{served.responses} refreshes were only {calls} calls to the upstream")
    if spans < server.spans * served.responses:
        raise BenchError(f"only {spans} spans of {served.responses} requests arrived")


@contextmanager
def serving(rig: Rig, server: Server) -> Iterator[Served]:
    """Start `server`, and warm it up."""
    port = free_port()
    values = {
        "port": str(port),
        "metrics_port": str(free_port()),
        "upstream": rig.upstream.origin,
        "tls_upstream": rig.upstream.tls_origin,
        "ca": str(rig.upstream.certificate),
        "receiver": rig.receiver.url,
    }
    command = [part.format_map(values) for part in server.command]
    env = {name: value.format_map(values) for name, value in _env(server).items()}
    start = time.monotonic()
    with spawned(command, rig.cores.server, rig.directory / f"{server.name}.log", env) as process:
        wait_ready(process, port, server.ready_path, server.workload)
        served = Served(server, process, port, time.monotonic() - start)
        served.drive(USUAL, server.warm_up_seconds, process.check_alive)
        yield served


def _sample(rig: Rig, number: int, served: Served, connections: int) -> Sample:
    process, rss = served.process, []

    def tick() -> None:
        rss.append(rss_mib(process.pid))

    check_response(served.port, served.server.workload)
    served.drive(connections, _SETTLE_SECONDS, tick)
    before = cpu_seconds(process.pid)
    responses = served.drive(connections, rig.plan.seconds, tick)
    spent = cpu_seconds(process.pid) - before
    tick()
    process.check_alive()
    return Sample(
        served.server.name,
        connections,
        number,
        cpu_us=spent / responses * _MICROSECONDS,
        per_second=responses / rig.plan.seconds,
        rss_mib=max(rss),
        ready_seconds=served.ready_seconds,
    )


def _env(server: Server) -> Mapping[str, str]:
    """Build an environment with nothing of the caller's but PATH: no proxy, no tuned runtime."""
    return {
        "PATH": os.environ["PATH"],
        "CLIENT_ID": "bench-client",
        "CLIENT_SECRET": "bench-secret",
        "SECRET_KEY": SECRET_KEY,
        "PORT": "{port}",
        "SPOTIFY_TOKEN_URL": f"{{upstream}}{TOKEN_PATH}",
        **server.env,
    }


def log(rig: Rig, number: int, text: str) -> None:
    """Print progress on standard error."""
    print(f"round {number + 1}/{rig.plan.rounds}  {text}", file=sys.stderr)


@contextmanager
def rigged(plan: Plan) -> Iterator[Rig]:
    """Set up the rig, and take it down."""
    cores = Cores.claim()
    with TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with upstream(cores.load, directory) as spotify, receiver() as spans:
            yield Rig(plan, cores, directory, spotify, spans)
