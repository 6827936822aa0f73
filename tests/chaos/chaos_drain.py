"""Two replicas restarted in turn, by SIGTERM at random moments under load: no request is lost.

Clients choose among the replicas that were ready when last heard of, as Kubernetes' clients do:
/readyz is asked every 100 ms, and what it says gets around up to 500 ms later. Half of them keep
their connection, half make one for each request. None repeats a request.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.conftest import Figure
from tests.chaos.flows import FLOWS, get, late, request
from tests.chaos.load import Lost, Tally, Worker, once, run, working
from tests.chaos.processes import Address, Service, Simulator
from tests.running import free_port

DRAIN_SECONDS = 2.0
PROBE_SECONDS = 0.1
PROPAGATION_SECONDS = 0.5
WORKERS = 16


class Replica:
    """A service that restarts on the same port."""

    def __init__(self, directory: Path, token_url: str) -> None:
        directory.mkdir()
        self._directory, self._token_url, self._port = directory, token_url, free_port()
        self.service = self._started()

    def _started(self) -> Service:
        drain, port = str(DRAIN_SECONDS), str(self._port)
        return Service(self._directory, self._token_url, DRAIN_SECONDS=drain, PORT=port)

    @property
    def address(self) -> Address:
        return self.service.address

    def kill(self) -> None:
        self.service.kill()

    def restart(self) -> float:
        """Restart the service; return the seconds of the stop."""
        seconds = self.service.stop()
        self.service = self._started()
        return seconds


class Endpoints:
    """The ready replicas, as the clients see them."""

    def __init__(self, replicas: list[Replica], chance: random.Random) -> None:
        self.known = [replica.address for replica in replicas]
        self._chance = chance

    def pick(self) -> Address:
        return self._chance.choice(self.known)

    async def until_known(self, address: Address) -> None:
        while address not in self.known:  # noqa: ASYNC110 - polling is enough
            await asyncio.sleep(0.05)

    async def watch(self, address: Address) -> None:
        """Poll the readiness of a replica; update the endpoints with a delay."""
        while True:
            is_ready = await _is_ready(address)
            if is_ready != (address in self.known):
                await asyncio.sleep(self._chance.uniform(0, PROPAGATION_SECONDS))
                (self.known.append if is_ready else self.known.remove)(address)
            await asyncio.sleep(PROBE_SECONDS)


async def _is_ready(address: Address) -> bool:
    try:
        return (await once(address, get("/readyz"))).status == 200
    except Lost:
        return False


def _requests() -> Iterator[bytes]:
    """Yield requests of all flows; a tenth take Spotify 300 ms."""
    for number, flow in enumerate(itertools.cycle(FLOWS)):
        yield request(flow, late(0.3) if number % 10 == 7 else None)


async def _restarts(
    replicas: list[Replica], count: int, chance: random.Random, tally: Tally
) -> list[float]:
    endpoints = Endpoints(replicas, chance)
    crew = [
        Worker(endpoints.pick, _requests(), tally, keeps=n % 2 == 0, pause=0.02)
        for n in range(WORKERS)
    ]
    watching = [asyncio.create_task(endpoints.watch(replica.address)) for replica in replicas]
    stops = []
    async with working(crew):
        for turn in range(count):
            replica = replicas[turn % 2]
            await asyncio.sleep(chance.uniform(0.2, 1.5))
            stops.append(await asyncio.to_thread(replica.restart))
            await endpoints.until_known(replica.address)
    for task in watching:
        task.cancel()
    await asyncio.wait(watching)
    return stops


def test_rolling_restarts_lose_no_request(
    simulator: Simulator, short: bool, tmp_path: Path, figure: Figure
) -> None:
    """SIGTERM at random moments under load: every response is 200."""
    seed = time.time_ns() % 1_000_000
    chance, tally = random.Random(seed), Tally()  # noqa: S311 - moments, no secrets
    count = 4 if short else 20
    replicas = [Replica(tmp_path / str(n), simulator.token_url) for n in range(2)]
    with contextlib.ExitStack() as stack:
        for replica in replicas:
            stack.callback(replica.kill)
        stops = run(_restarts(replicas, count, chance, tally))
    figure(
        f"{count} restarts, {tally}; p99 {tally.percentile_ms(99):.0f} ms,"
        f" longest {max(tally.seconds) * 1000:.0f} ms; ended {max(stops):.1f} s after SIGTERM at"
        f" most, {DRAIN_SECONDS:.0f} s of it DRAIN_SECONDS; seed {seed}"
    )
    assert set(tally.outcomes) == {"200"}, tally
    assert max(stops) < DRAIN_SECONDS + 3
    for replica in replicas:
        replica.service.assert_no_defect()
