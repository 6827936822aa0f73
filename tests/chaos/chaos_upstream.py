"""Spotify fails and recovers.

While it is away every answer is a 502 or a 504 in time; once it is back, so is the service, by
itself and without a connection that is stuck.
"""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import Figure, StartService
from tests.chaos.flows import all_flows, request
from tests.chaos.load import Response, Tally, Worker, load, once, run, working
from tests.chaos.processes import Service, Simulator, accepts, eventually
from tests.chaos.proxy import Proxy, full_queue, resetting

UPSTREAM_TIMEOUT = 1.0
SLACK = 1.5
RECOVERY_SECONDS = 3.0


class Upstream:
    """A simulator that is killed and restarted on the same port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._simulator: Simulator | None = Simulator(directory)
        self.port = self._simulator.port
        self.token_url = self._simulator.token_url

    @property
    def running(self) -> Simulator:
        assert self._simulator is not None
        return self._simulator

    def kill(self) -> None:
        if self._simulator is not None:
            self._simulator.__exit__()
            self._simulator = None

    def restart(self) -> None:
        self._simulator = Simulator(self._directory, self.port)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    simulated = Upstream(tmp_path)
    yield simulated
    simulated.kill()


def _call(service: Service, flow: str = "refresh") -> Response:
    return run(once(service.address, request(flow)))


def _is_healthy(service: Service) -> bool:
    return _call(service).status == 200


async def _through(service: Service, trouble: Callable[[], None], seconds: float) -> Tally:
    """Send load before, during and after `trouble`, which runs in a thread."""
    tally = Tally()
    crew = [Worker(lambda: service.address, all_flows(), tally, pause=0.01) for _ in range(16)]
    async with working(crew):
        await asyncio.sleep(seconds)
        await asyncio.to_thread(trouble)
        await asyncio.sleep(seconds)
    return tally


def _assert_in_time(tally: Tally, *allowed: int) -> None:
    assert set(tally.outcomes) <= {"200", *map(str, allowed)}, tally
    assert max(tally.seconds) < UPSTREAM_TIMEOUT + SLACK


def test_killed_upstream_recovers(
    upstream: Upstream, start_service: StartService, short: bool, figure: Figure
) -> None:
    """Killed under load three times, its port closed for a second each time."""
    service = start_service(upstream.token_url, UPSTREAM_TIMEOUT=str(UPSTREAM_TIMEOUT))
    run(load(service.address, all_flows(), 1))
    before = service.footprint()
    for _ in range(1 if short else 3):

        def trouble() -> None:
            upstream.kill()
            time.sleep(1)
            upstream.restart()

        tally = run(_through(service, trouble, 1))
        _assert_in_time(tally, 502, 504)
        assert tally.outcomes["502"] > 0
        recovery = eventually(lambda: _is_healthy(service), RECOVERY_SECONDS, "recovered")
        after = run(load(service.address, all_flows(), 0.5))
        assert set(after.outcomes) == {"200"}, after
        figure(f"{tally}, slowest {max(tally.seconds):.2f} s, well after {recovery:.2f} s")
    service.assert_settled(before, spare_files=32)  # idle connections to it are kept
    service.assert_no_defect()


def test_idle_restart_loses_no_request(
    upstream: Upstream, start_service: StartService, figure: Figure
) -> None:
    """Restarted while idle: no request is lost on a pooled connection."""
    service = start_service(upstream.token_url)
    assert set(run(load(service.address, all_flows(), 1, workers=16)).outcomes) == {"200"}
    upstream.kill()
    upstream.restart()
    tally = run(load(service.address, all_flows(), 1, workers=16))
    figure(str(tally))
    assert set(tally.outcomes) == {"200"}


def test_frozen_upstream_is_504(
    upstream: Upstream, start_service: StartService, figure: Figure
) -> None:
    """Stopped (SIGSTOP): connections succeed without a response: 504 in time."""
    service = start_service(upstream.token_url, UPSTREAM_TIMEOUT=str(UPSTREAM_TIMEOUT))

    def trouble() -> None:
        upstream.running.signal(signal.SIGSTOP)
        time.sleep(2.5)
        upstream.running.signal(signal.SIGCONT)

    tally = run(_through(service, trouble, 1))
    _assert_in_time(tally, 504)
    assert tally.outcomes["504"] > 0
    recovery = eventually(lambda: _is_healthy(service), RECOVERY_SECONDS, "recovered")
    figure(f"{tally}, slowest {max(tally.seconds):.2f} s, well after {recovery:.2f} s")
    service.assert_no_defect()


def test_unreachable_upstream_is_504(
    start_service: StartService, tmp_path: Path, figure: Figure
) -> None:
    """Connections time out, as with lost packets (a full accept queue): 504 in time."""
    with full_queue() as listening:
        port = listening.getsockname()[1]
        service = start_service(
            f"http://127.0.0.1:{port}/api/token", UPSTREAM_TIMEOUT=str(UPSTREAM_TIMEOUT)
        )
        before = service.footprint()
        tally = run(load(service.address, all_flows(), 2, workers=32))
        _assert_in_time(tally, 504)
        assert set(tally.outcomes) == {"504"}
        service.assert_settled(before)
    with Simulator(tmp_path, port):
        recovery = eventually(lambda: _is_healthy(service), RECOVERY_SECONDS, "recovered")
    figure(f"{tally}, slowest {max(tally.seconds):.2f} s, well after {recovery:.2f} s")
    service.assert_no_defect()


def test_reset_connections_are_502(
    start_service: StartService, tmp_path: Path, figure: Figure
) -> None:
    """Every connection reset as soon as it is made: 502."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        port = listening.getsockname()[1]
        thread = resetting(listening)
        service = start_service(
            f"http://127.0.0.1:{port}/api/token", UPSTREAM_TIMEOUT=str(UPSTREAM_TIMEOUT)
        )
        before = service.footprint()
        tally = run(load(service.address, all_flows(), 2, workers=16, pause=0.01))
        _assert_in_time(tally, 502)
        assert set(tally.outcomes) == {"502"}
        service.assert_settled(before)
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    eventually(lambda: not accepts(("127.0.0.1", port)), 5, "the port is closed")
    with Simulator(tmp_path, port):
        recovery = eventually(lambda: _is_healthy(service), RECOVERY_SECONDS, "recovered")
    figure(f"{tally}, slowest {max(tally.seconds):.2f} s, well after {recovery:.2f} s")
    service.assert_no_defect()


def test_stale_pooled_connections_cost_one_504(
    simulator: Simulator, start_service: StartService, figure: Figure
) -> None:
    """Pooled connections that lose packets, while new ones work, cost a single 504."""
    with contextlib.closing(Proxy(simulator.address)) as proxy:
        service = start_service(proxy.token_url, UPSTREAM_TIMEOUT=str(UPSTREAM_TIMEOUT))
        tally = run(load(service.address, all_flows(), 1, workers=16))
        assert set(tally.outcomes) == {"200"}
        pooled = proxy.open_connections()
        assert pooled > 4, "nothing to lose"
        proxy.freeze()
        statuses = [_call(service).status for _ in range(pooled + 2)]
    figure(f"{pooled} kept connections: {statuses.count(504)} × 504, {statuses.count(200)} × 200")
    assert set(statuses) == {200, 504}
    assert statuses.count(504) == 1
    service.assert_no_defect()
