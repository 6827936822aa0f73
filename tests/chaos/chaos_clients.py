"""Clients that are slow, read nothing, or hang up."""

import asyncio
import contextlib
import json
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from service.server import KEEP_ALIVE_SECONDS
from tests.chaos.conftest import Figure, StartService
from tests.chaos.flows import FLOWS, all_flows, get, late, request
from tests.chaos.load import Connection, Tally, load, once, run
from tests.chaos.processes import Footprint, Service, Simulator, eventually

CROWD_SECONDS = 16.0
REQUEST_TIMEOUT = 10.0
SLACK = 2.5
WINDOWS, WINDOW_SECONDS = 6, 1.3
"""p99 is the median of several windows, so that one pause of the machine affects only one."""
FORGIVEN_MS = 25.0
"""The noise of a p99 on a machine with two shared cores, in milliseconds."""


@contextlib.contextmanager
def crowd(service: Service, seconds: float, **kinds: int) -> Iterator["subprocess.Popen[str]"]:
    """Connect a crowd to the service, until the block or `seconds` end."""
    counts = [f"{kind}={count}" for kind, count in kinds.items()]
    command = [sys.executable, "-m", "tests.chaos.crowd", str(service.port), str(seconds)]
    with subprocess.Popen([*command, *counts], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "made\n"
            yield process
        finally:
            process.kill()


def _ends(process: "subprocess.Popen[str]") -> dict[str, Any]:
    output, _ = process.communicate(timeout=CROWD_SECONDS + 5)
    ends: dict[str, Any] = json.loads(output)
    return ends


def _assert_ended(ends: dict[str, Any], kinds: dict[str, int], statuses: dict[str, str]) -> None:
    for kind, end in ends.items():
        assert end["ended"] == kinds[kind], (kind, end)
        assert REQUEST_TIMEOUT - 0.5 < end["last"] < REQUEST_TIMEOUT + SLACK, (kind, end)
        assert set(end["statuses"]) == {statuses[kind]}, (kind, end)


def _normal(service: Service, seconds: float) -> Tally:
    tally = run(load(service.address, all_flows(), seconds, workers=8, pause=0.05))
    assert set(tally.outcomes) == {"200"}, tally
    return tally


def _p99_ms(service: Service) -> float:
    windows = [_normal(service, WINDOW_SECONDS) for _ in range(WINDOWS)]
    return statistics.median(tally.percentile_ms(99) for tally in windows)


def test_slow_clients_are_closed_at_their_deadline(
    simulator: Simulator, start_service: StartService, short: bool, figure: Figure
) -> None:
    """1,000 slow clients are closed at their deadline, and the p99 of others stays the same."""
    service = start_service(simulator.token_url)
    kinds = {"head": 400, "body": 300, "dribble": 300}
    _normal(service, 1)
    before = service.footprint()
    rounds = [_round(service, kinds) for _ in range(1 if short else 3)]
    alone = statistics.median(one.alone_ms for one in rounds)
    beside = statistics.median(one.beside_ms for one in rounds)
    held, last = rounds[-1].held, max(one.last for one in rounds)
    after = service.assert_settled(before, spare_files=16)
    figure(
        f"p99 {beside:.1f} ms beside them, {alone:.1f} ms alone;"
        f" all gone after {last:.1f} s; RSS {before.rss_mib:.0f} → {held.rss_mib:.0f}"
        f" → {after.rss_mib:.0f} MiB, files {before.files} → {held.files} → {after.files}"
    )
    assert held.files - before.files > 900
    assert beside < 1.5 * alone + FORGIVEN_MS
    service.assert_no_defect()


class Round(NamedTuple):
    """p99 without and with a crowd, the service's resources then, the end of the last client."""

    alone_ms: float
    beside_ms: float
    held: Footprint
    last: float


def _round(service: Service, kinds: dict[str, int]) -> Round:
    alone = _p99_ms(service)
    with crowd(service, CROWD_SECONDS, **kinds) as process:
        beside = _p99_ms(service)
        held = service.footprint()
        ends = _ends(process)
    _assert_ended(ends, kinds, {"head": "none", "body": "408", "dribble": "none"})
    return Round(alone, beside, held, max(end["last"] for end in ends.values()))


def test_clients_that_never_read_are_closed(
    simulator: Simulator, start_service: StartService, short: bool, figure: Figure
) -> None:
    """50 clients that request 1 MB and read nothing use bounded memory and are closed in time."""
    service = start_service(simulator.token_url)
    _normal(service, 1)
    before = service.footprint()
    with crowd(service, 10 if short else KEEP_ALIVE_SECONDS + 15, deaf=50) as process:
        tally = _normal(service, 6)
        held = service.footprint()
        # The kernel has buffered the responses: the connections are idle, and time out as such.
        if not short:
            gone = eventually(
                lambda: service.footprint().files <= before.files + 16,
                KEEP_ALIVE_SECONDS + 5,
                "closed while the crowd is still connected",
            )
            assert process.poll() is None
            figure(f"closed {gone:.0f} s later")
    figure(
        f"p99 {tally.percentile_ms(99):.1f} ms beside them;"
        f" RSS {before.rss_mib:.0f} → {held.rss_mib:.0f} MiB"
    )
    assert held.files >= before.files + 40
    assert held.rss_mib < before.rss_mib + 2 * 50
    service.assert_settled(before, spare_files=16)
    service.assert_no_defect()


async def _hang_up(service: Service, flow: str, *, rudely: bool) -> None:
    connection = await Connection.connect(service.address)
    asking = asyncio.ensure_future(connection.send(request(flow, late(0.5))))
    await asyncio.sleep(0.25)
    asking.cancel()
    if rudely:
        connection.abort_with_reset()
    await connection.close()
    await asyncio.wait([asking])


@pytest.mark.parametrize("rudely", [False, True], ids=["closed", "reset"])
def test_calls_finish_after_clients_disconnect(
    rudely: bool, simulator: Simulator, start_service: StartService, figure: Figure
) -> None:
    """Clients disconnect during a call: the call completes, and no connection is left."""
    service = start_service(simulator.token_url)
    simulator.reset()
    # A request for the app access token cannot name a delay.
    flows = [flow for flow in FLOWS if flow != "client_credentials"]

    async def hang_up() -> None:
        await asyncio.gather(
            *(_hang_up(service, flow, rudely=rudely) for flow in flows for _ in range(25))
        )

    run(hang_up())
    eventually(
        lambda: [entry["status"] for entry in simulator.requests()] == [200] * 100,
        10,
        "every call is complete",
    )
    eventually(lambda: service.clients() == 0, 10, "every client connection is closed")
    assert run(once(service.address, get("/healthz"))).status == 200
    figure("100 calls, each 200 at the simulator; no connection left")
    service.assert_no_defect()


def test_reset_connections_leak_nothing(
    simulator: Simulator, start_service: StartService, short: bool, figure: Figure
) -> None:
    """Thousands of connections that are reset at once leak no memory and no files."""
    service = start_service(simulator.token_url)
    _normal(service, 1)
    before = service.footprint()
    count = 2_000 if short else 10_000
    start = time.monotonic()
    for number in range(count):
        with socket.create_connection(service.address) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.sendall(request("refresh")[: number % 200])
    seconds = time.monotonic() - start
    after = service.assert_settled(before, spare_files=16)
    figure(f"{count} in {seconds:.1f} s; RSS {before.rss_mib:.0f} → {after.rss_mib:.0f} MiB")
    assert after.rss_mib - before.rss_mib < 8
    _normal(service, 1)
    service.assert_no_defect()
