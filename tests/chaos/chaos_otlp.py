"""The OTLP receiver is down, slow, failing, silent or endless: requests are not affected.

Each fault is compared with a second service whose receiver is healthy, in alternating rounds. The
medians of the rounds are compared, because the machine's noise affects both.
"""

import statistics
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.chaos.conftest import Figure, StartService
from tests.chaos.flows import all_flows, request
from tests.chaos.load import load, once, run
from tests.chaos.processes import Service, Simulator, eventually
from tests.chaos.receiver import Receiver
from tests.running import free_port

CPU_RATIO, FORGIVEN_MS = 1.25, 15.0
GROWTH_MIB = 12.0
"""The SDK's queue holds 2,048 spans, then drops."""
STOP_SECONDS = 8.0
"""FLUSH_SECONDS for the remaining spans, and a margin."""
TROUBLES = ("down", "slow", "failing", "silent", "endless")


class Turn(NamedTuple):
    """The cost of one round of load."""

    cpu_us: float
    p99_ms: float
    requests: int


def _turn(service: Service, seconds: float) -> Turn:
    before = service.cpu_seconds()
    tally = run(load(service.address, all_flows(), seconds, workers=8, pause=0.01))
    assert set(tally.outcomes) == {"200"}, tally
    count = len(tally.seconds)
    cpu = (service.cpu_seconds() - before) * 1e6 / count
    return Turn(cpu, tally.percentile_ms(99), count)


@pytest.fixture
def receivers() -> Iterator[tuple[Receiver, Receiver]]:
    with Receiver() as healthy, Receiver() as other:
        yield healthy, other


@pytest.mark.parametrize("trouble", TROUBLES)
def test_failing_receiver_does_not_affect_requests(
    trouble: str,
    receivers: tuple[Receiver, Receiver],
    simulator: Simulator,
    start_service: StartService,
    short: bool,
    figure: Figure,
) -> None:
    """CPU and p99 are those with a healthy receiver; memory and stop time are bounded."""
    healthy, other = receivers
    if trouble != "down":
        other.mood = trouble  # type: ignore[assignment]  # the others are its moods
    port = free_port() if trouble == "down" else other.port
    beside, troubled = (
        start_service(
            simulator.token_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{of}",
            OTEL_BSP_SCHEDULE_DELAY="500",
        )
        for of in (healthy.port, port)
    )
    for service in (beside, troubled):
        _turn(service, 1)
    before = troubled.footprint()
    seconds = 0.8 if short else 3.0
    turns = [(_turn(beside, seconds), _turn(troubled, seconds)) for _ in range(5)]
    after = troubled.footprint()
    cpu = statistics.median(ours.cpu_us / base.cpu_us for base, ours in turns)
    p99 = [statistics.median(turn.p99_ms for turn in side) for side in zip(*turns, strict=True)]
    stopped = troubled.stop()
    beside.stop()
    requests = sum(ours.requests for _, ours in turns)
    library = sum(line["event"] == "library.logged" for line in troubled.lines())
    figure(
        f"{requests} requests; CPU × {cpu:.2f}; p99 {p99[1]:.1f} ms beside {p99[0]:.1f} ms;"
        f" RSS {before.rss_mib:.0f} → {after.rss_mib:.0f} MiB, threads {before.threads} →"
        f" {after.threads}; {library} lines logged about it; ended {stopped:.1f} s after SIGTERM"
    )
    assert cpu < CPU_RATIO
    assert p99[1] < 1.5 * p99[0] + FORGIVEN_MS
    assert after.rss_mib - before.rss_mib < GROWTH_MIB
    assert after.threads == before.threads
    assert stopped < STOP_SECONDS
    assert library <= 2  # one a minute
    assert healthy.spans > 0
    assert troubled.errors() == beside.errors() == ""


def test_spans_resume_after_recovery(
    receivers: tuple[Receiver, Receiver],
    simulator: Simulator,
    start_service: StartService,
    figure: Figure,
) -> None:
    """A receiver that recovers gets spans again."""
    receiver, _ = receivers
    receiver.mood = "failing"
    service = start_service(
        simulator.token_url,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.port}",
        OTEL_BSP_SCHEDULE_DELAY="500",
    )
    _turn(service, 2)
    assert receiver.spans == 0
    receiver.mood = "healthy"
    run(once(service.address, request("refresh")))
    seconds = eventually(lambda: receiver.spans, 45, "spans arrive")
    figure(f"{receiver.spans} spans {seconds:.1f} s later")
