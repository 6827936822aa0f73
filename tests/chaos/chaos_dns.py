"""Names do not resolve, or resolve to unreachable addresses.

c-ares resolves without threads that could delay the stop: UPSTREAM_TIMEOUT bounds a request, the
event loop goes on, and names resolve again as soon as the name server responds.
"""

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import blackhole
from tests.chaos.conftest import Figure, StartService
from tests.chaos.flows import all_flows, get, request
from tests.chaos.load import Tally, Worker, for_seconds, load, once, run
from tests.chaos.processes import Service, Simulator, eventually
from tests.chaos.proxy import full_queue
from tests.chaos.resolver import NAME_ERROR, SERVER_FAILURE, Resolver, world

UPSTREAM_TIMEOUT = 1.0
SLACK = 1.5
RECOVERY_SECONDS = 15.0
"""c-ares repeats its query after some seconds; all requests meanwhile share the lookup."""


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    with contextlib.closing(Resolver("127.83.53.1")) as server:
        yield server


@pytest.fixture
def service(
    resolver: Resolver, simulator: Simulator, start_service: StartService, tmp_path: Path
) -> Service:
    """Return a service whose Spotify is a name."""
    return start_service(
        f"http://accounts.spotify.test:{simulator.port}/api/token",
        prefix=world(tmp_path, resolver.address),
        ALLOW_INSECURE_UPSTREAM="true",
        UPSTREAM_TIMEOUT=str(UPSTREAM_TIMEOUT),
    )


def _is_healthy(service: Service) -> bool:
    return run(once(service.address, request("refresh"))).status == 200


@pytest.mark.parametrize("code", [NAME_ERROR, SERVER_FAILURE], ids=["NXDOMAIN", "SERVFAIL"])
def test_resolver_error_is_502(
    code: int, resolver: Resolver, service: Service, figure: Figure
) -> None:
    """An error of the resolver: 502 in time, and 200 after its next response."""
    resolver.code = code
    tally = run(load(service.address, all_flows(), 2, workers=8, pause=0.02))
    assert set(tally.outcomes) == {"502"}, tally
    assert max(tally.seconds) < UPSTREAM_TIMEOUT + SLACK
    resolver.code = 0
    recovery = eventually(lambda: _is_healthy(service), 3, "recovered")
    figure(f"{tally}, slowest {max(tally.seconds):.2f} s, well after {recovery:.2f} s")
    service.assert_no_defect()


def test_resolver_timeout_is_504(
    resolver: Resolver, service: Service, short: bool, figure: Figure
) -> None:
    """The resolver times out: 504 in time, probes succeed, and 200 after it recovers."""
    resolver.mute = True
    before = service.footprint()

    async def both() -> tuple[Tally, Tally]:
        seconds = 4 if short else 15
        alive, more = Tally(), for_seconds(seconds)
        probe = Worker(
            lambda: service.address, itertools.repeat(get("/healthz")), alive, pause=0.02
        )
        asked, _ = await asyncio.gather(
            load(service.address, all_flows(), seconds, workers=64, pause=0.02), probe.work(more)
        )
        return asked, alive

    asked, alive = run(both())
    resolver.mute = False
    lookups = resolver.asked
    after = service.footprint()
    recovery = eventually(lambda: _is_healthy(service), RECOVERY_SECONDS, "recovered")
    figure(
        f"{asked}, slowest {max(asked.seconds):.2f} s;"
        f" /healthz p99 {alive.percentile_ms(99):.0f} ms of {len(alive.seconds)};"
        f" {lookups} datagrams to the resolver;"
        f" {after.threads - before.threads} threads more; well after {recovery:.2f} s"
    )
    # c-ares abandons a lookup after some 10 s: requests that wait for it then get a 502.
    assert asked.outcomes["504"] > 10 * asked.outcomes["502"], asked
    assert set(asked.outcomes) <= {"502", "504"}, asked
    assert max(asked.seconds) < UPSTREAM_TIMEOUT + SLACK
    assert set(alive.outcomes) == {"200"}
    assert alive.percentile_ms(99) < 250
    assert after.threads - before.threads <= 8
    service.assert_no_defect()


def test_hanging_lookup_does_not_delay_the_stop(
    resolver: Resolver, service: Service, figure: Figure
) -> None:
    """A lookup that hangs does not delay the exit after SIGTERM."""
    resolver.mute = True
    assert run(once(service.address, request("refresh"))).status == 504
    seconds = service.stop()
    figure(f"ended {seconds:.2f} s after SIGTERM")
    assert seconds < 3


KUBERNETES = (
    "search service.svc.cluster.local svc.cluster.local cluster.local",
    "options ndots:5",
)


@pytest.mark.parametrize("options", [(), KUBERNETES], ids=["plain", "search list and ndots:5"])
def test_unreachable_first_address_is_skipped(
    options: tuple[str, ...],
    resolver: Resolver,
    start_service: StartService,
    tmp_path: Path,
    figure: Figure,
) -> None:
    """The first address drops packets (a full accept queue): the second one responds in 1 s."""
    with (
        full_queue() as unreachable,
        Simulator(tmp_path, unreachable.getsockname()[1], host="127.0.0.2") as simulator,
    ):
        resolver.addresses = ["127.0.0.1", "127.0.0.2"]
        service = start_service(
            f"http://{resolver.name}:{simulator.port}/api/token",
            prefix=world(tmp_path, resolver.address, *options),
            ALLOW_INSECURE_UPSTREAM="true",
        )
        responses = [run(once(service.address, request("refresh"))) for _ in range(8)]
    figure(f"slowest {max(response.seconds for response in responses):.2f} s")
    assert {response.status for response in responses} == {200}
    assert max(response.seconds for response in responses) < 1


def test_unreachable_ipv6_address_is_skipped(tmp_path: Path, short: bool, figure: Figure) -> None:
    """The IPv6 address drops packets: every first call of a service gets its response in 1 s."""
    command = (*blackhole.world(tmp_path), sys.executable, "-m", "tests.chaos.blackhole")
    arguments = (str(tmp_path), "2" if short else "5")
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    calls = [call for line in done.stdout.splitlines() for call in json.loads(line)]
    slowest = max(seconds for _, seconds in calls)
    figure(f"{len(calls)} calls, slowest {slowest:.2f} s")
    assert {status for status, _ in calls} == {200}
    assert 0.2 < slowest < 1  # it was tried first


def test_ipv6_only_name_resolves(
    resolver: Resolver, start_service: StartService, tmp_path: Path
) -> None:
    """A name with IPv6 addresses only resolves too."""
    with Simulator(tmp_path, host="::1") as simulator:
        resolver.addresses = ["::1"]
        service = start_service(
            f"http://{resolver.name}:{simulator.port}/api/token",
            prefix=world(tmp_path, resolver.address),
            ALLOW_INSECURE_UPSTREAM="true",
        )
        assert _is_healthy(service)
