"""Rounds: every contender in turn, fresh each time, so that what slows the machine slows them all.

A contender is started anew for its turn and ended after it: nothing else of the rig's competes for
its core, every turn adds a readiness time, and its memory at few connections has not yet seen many.
It is measured after it has warmed up for as long as its runtime needs. Each round begins with
another contender.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.contenders import USUAL, Contender
from bench.load import check_answer, drive, wait_ready
from bench.processes import cpu_seconds, rss_mib
from bench.rig import Cores, Process, free_port, spawned
from bench.tokens import SECRET_KEY
from bench.tools import BenchError
from bench.upstream import upstream

_SETTLE_SECONDS: Final = 1
_MICROSECONDS: Final = 1e6


@dataclass(frozen=True)
class Plan:
    """How often, and for how long each time."""

    rounds: int
    seconds: int


@dataclass(frozen=True)
class Sample:
    """One measurement: CPU per request, peak memory under load, and its process's readiness."""

    contender: str
    connections: int
    round: int
    cpu_us: float
    rss_mib: float
    ready_seconds: float


class Rounds:
    """Measures by `plan`, with everything that a turn needs at hand."""

    def __init__(self, plan: Plan, cores: Cores, directory: Path, token_url: str) -> None:
        self._plan = plan
        self._cores = cores
        self._directory = directory
        self._token_url = token_url

    def run(self, contenders: Sequence[Contender]) -> Iterator[Sample]:
        """Yield the samples of all rounds."""
        for number in range(self._plan.rounds):
            first = number % len(contenders)
            for contender in (*contenders[first:], *contenders[:first]):
                try:
                    yield from self._turn(number, contender)
                except BenchError as error:
                    raise BenchError(f"{contender.name}: {error}") from error

    def _turn(self, number: int, contender: Contender) -> list[Sample]:
        port = free_port()
        command = [part.replace("{port}", str(port)) for part in contender.command]
        log = self._directory / f"{contender.name}.log"
        start = time.monotonic()
        with spawned(command, self._cores.server, log, self._env(contender, port)) as process:
            wait_ready(process, port, contender.ready_path)
            ready = time.monotonic() - start
            drive(port, USUAL, contender.warm_up_seconds, process.check_alive)
            samples = []
            for connections in contender.connections:
                cpu_us, rss = self._load(process, port, connections)
                sample = Sample(contender.name, connections, number, cpu_us, rss, ready)
                self._tell(sample)
                samples.append(sample)
            return samples

    def _load(self, process: Process, port: int, connections: int) -> tuple[float, float]:
        """Return CPU microseconds per request and the peak of resident memory."""
        rss: list[float] = []

        def tick() -> None:
            rss.append(rss_mib(process.pid))

        check_answer(port)
        drive(port, connections, _SETTLE_SECONDS, tick)
        before = cpu_seconds(process.pid)
        requests = drive(port, connections, self._plan.seconds, tick)
        spent = cpu_seconds(process.pid) - before
        tick()
        process.check_alive()
        return spent / requests * _MICROSECONDS, max(rss)

    def _env(self, contender: Contender, port: int) -> Mapping[str, str]:
        """Build from nothing but PATH: a proxy or a tuned runtime of the caller's would tell."""
        return {
            "PATH": os.environ["PATH"],
            "CLIENT_ID": "bench-client",
            "CLIENT_SECRET": "bench-secret",
            "SECRET_KEY": SECRET_KEY,
            "PORT": str(port),
            "SPOTIFY_TOKEN_URL": self._token_url,
            **contender.env,
        }

    def _tell(self, sample: Sample) -> None:
        print(
            f"round {sample.round + 1}/{self._plan.rounds}  {sample.contender}  "
            f"{sample.connections} connections: {sample.cpu_us:.0f} µs, {sample.rss_mib:.0f} MiB, "
            f"ready in {sample.ready_seconds:.2f} s",
            file=sys.stderr,
        )


def measure(contenders: Sequence[Contender], plan: Plan) -> list[Sample]:
    """Set up the rig, let all rounds run, and take the rig down."""
    cores = Cores.claim()
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        upstream(cores.load, Path(folder)) as token_url,
    ):
        return list(Rounds(plan, cores, Path(folder), token_url).run(contenders))
