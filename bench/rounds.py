"""Rounds: every contender in turn, fresh each time, so that what slows the machine slows them all.

A contender is started anew for its turn and ended after it: nothing else of the rig's competes for
its core, every turn adds a readiness time, and its memory at few connections has not yet seen many.
It is measured after it has warmed up for as long as its runtime needs. Each round begins with
another contender.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.contenders import USUAL, Contender
from bench.load import check_answer, drive, wait_ready
from bench.processes import cpu_seconds, rss_mib
from bench.receiver import Receiver, receiver
from bench.rig import Cores, Process, free_port, spawned
from bench.tokens import SECRET_KEY
from bench.tools import BenchError
from bench.upstream import TOKEN_PATH, upstream

_SETTLE_SECONDS: Final = 1
_MICROSECONDS: Final = 1e6


@dataclass(frozen=True)
class Plan:
    """How often, and for how long each time."""

    rounds: int
    seconds: int


@dataclass(frozen=True)
class Sample:
    """One measurement: CPU per request, requests a second, peak memory under load, readiness."""

    contender: str
    connections: int
    round: int
    cpu_us: float
    per_second: float
    rss_mib: float
    ready_seconds: float


@dataclass
class Served:
    """A contender that runs: its processes, one port each, and how long they took to get ready.

    `answered` counts the requests so far.
    """

    contender: Contender
    processes: Sequence[Process]
    ports: Sequence[int]
    ready_seconds: float
    answered: int = 0

    def cpu_seconds(self) -> float:
        """Return the CPU time of all."""
        return sum(cpu_seconds(process.pid) for process in self.processes)

    def rss_mib(self) -> float:
        """Return the resident memory of all."""
        return sum(rss_mib(process.pid) for process in self.processes)

    def check_alive(self) -> None:
        """Raise BenchError if one has ended."""
        for process in self.processes:
            process.check_alive()

    def drive(self, connections: int, seconds: int, tick: Callable[[], None]) -> int:
        """Load all, and return how many requests were answered."""
        answered = drive(self.ports, self.contender.question, connections, seconds, tick)
        self.answered += answered
        return answered


@dataclass(frozen=True)
class Rig:
    """What every turn needs."""

    plan: Plan
    cores: Cores
    directory: Path
    upstream: str
    receiver: Receiver


def samples(rig: Rig, contenders: Sequence[Contender]) -> Iterator[Sample]:
    """Yield the samples of all rounds."""
    for number in range(rig.plan.rounds):
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            try:
                yield from _turn(rig, number, contender)
            except BenchError as error:
                raise BenchError(f"{contender.name}: {error}") from error


def _turn(rig: Rig, number: int, contender: Contender) -> Iterator[Sample]:
    received = rig.receiver.spans
    with serving(rig, contender) as served:
        for connections in contender.connections:
            cpu_us, per_second, rss = _load(rig, served, connections)
            ready = served.ready_seconds
            yield Sample(contender.name, connections, number, cpu_us, per_second, rss, ready)
            tell(
                rig,
                number,
                f"{contender.name}  {connections} connections: {cpu_us:.0f} µs, "
                f"{per_second:.0f}/s, {rss:.0f} MiB, ready in {ready:.2f} s",
            )
    received = rig.receiver.spans - received
    if contender.spans * served.answered > received:
        raise BenchError(f"{received} spans of {served.answered} requests arrived")


@contextmanager
def serving(rig: Rig, contender: Contender) -> Iterator[Served]:
    """Start `contender`, and warm it up; a second process has the load's core to share."""
    ports = [free_port() for _ in range(contender.processes)]
    cores = (rig.cores.server, rig.cores.load)
    start = time.monotonic()
    with ExitStack() as stack:
        processes = []
        for port, core in zip(ports, cores, strict=False):
            places = {"port": str(port), "upstream": rig.upstream, "receiver": rig.receiver.url}
            command = [_filled(part, places) for part in contender.command]
            env = {name: _filled(text, places) for name, text in _env(contender).items()}
            log = rig.directory / f"{contender.name}-{core}.log"
            processes.append(stack.enter_context(spawned(command, core, log, env)))
        for process, port in zip(processes, ports, strict=True):
            wait_ready(process, port, contender.ready_path, contender.question)
        served = Served(contender, processes, ports, time.monotonic() - start)
        served.drive(USUAL, contender.warm_up_seconds, served.check_alive)
        yield served


def _load(rig: Rig, served: Served, connections: int) -> tuple[float, float, float]:
    """Return CPU microseconds per request, requests a second, the peak of resident memory."""
    rss: list[float] = []

    def tick() -> None:
        rss.append(served.rss_mib())

    for port in served.ports:
        check_answer(port, served.contender.question)
    served.drive(connections, _SETTLE_SECONDS, tick)
    before = served.cpu_seconds()
    requests = served.drive(connections, rig.plan.seconds, tick)
    spent = served.cpu_seconds() - before
    tick()
    served.check_alive()
    return spent / requests * _MICROSECONDS, requests / rig.plan.seconds, max(rss)


def _env(contender: Contender) -> Mapping[str, str]:
    """Build from nothing but PATH: a proxy or a tuned runtime of the caller's would tell."""
    return {
        "PATH": os.environ["PATH"],
        "CLIENT_ID": "bench-client",
        "CLIENT_SECRET": "bench-secret",
        "SECRET_KEY": SECRET_KEY,
        "PORT": "{port}",
        "SPOTIFY_TOKEN_URL": f"{{upstream}}{TOKEN_PATH}",
        **contender.env,
    }


def _filled(text: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def tell(rig: Rig, number: int, text: str) -> None:
    """Tell whoever waits how far we are."""
    print(f"round {number + 1}/{rig.plan.rounds}  {text}", file=sys.stderr)


@contextmanager
def rigged(plan: Plan) -> Iterator[Rig]:
    """Set up the rig, and take it down."""
    cores = Cores.claim()
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        upstream(cores.load, Path(folder)) as origin,
        receiver() as spans,
    ):
        yield Rig(plan, cores, Path(folder), origin, spans)
