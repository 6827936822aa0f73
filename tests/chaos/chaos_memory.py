"""Two hours of load in minutes: memory, files, threads and tasks stay constant.

Two hours at 50 requests a second are 360,000 requests, sent as fast as the service responds;
the short form sends fewer.
"""

import asyncio
import itertools
import json
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.chaos.conftest import Figure, StartService
from tests.chaos.flows import FLOWS, get, post, request
from tests.chaos.load import Tally, Worker, once, run
from tests.chaos.processes import Footprint, Service, Simulator, eventually

TWO_HOURS = 360_000
WARM_UP = 0.25
"""The fraction of the requests before the memory is measured."""
GROWTH_MIB = 8.0
"""In two hours: less is indistinguishable from the steps of the allocator."""

REFRESH = FLOWS["refresh"].path
FAULTS = ("status-502", "status-400", "html", "garbage", "reset", "truncated", "bomb-65536")
GOOD = [partial(request, flow) for flow in FLOWS]
BAD: list[Callable[[], bytes]] = [
    *(partial(request, "pkce_refresh", f"fault-{fault}") for fault in FAULTS),
    lambda: post(REFRESH, {"refresh_token": "not-sealed"}),
    lambda: post(REFRESH, {}),
    lambda: post("/no-such-path", {}),
    lambda: get(REFRESH),
    lambda: post(REFRESH, {"refresh_token": "x" * 17_000}),
    lambda: b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: no number\r\n\r\n",
]
STATUSES = {"200", "400", "404", "405", "413", "502", "503"}


def mixed() -> Iterator[bytes]:
    """Yield requests: of nineteen, eighteen successes and one error."""
    bad = itertools.cycle(BAD)
    for flow in itertools.cycle(GOOD):
        yield flow()
        if next(_turns) % 18 == 0:
            yield next(bad)()


_turns = itertools.count(1)


class Watched:
    """The service, and samples of its memory by number of requests."""

    def __init__(self, service: Service, counts: Path) -> None:
        self.service = service
        self._counts_file = counts
        self.samples: list[tuple[int, float]] = []

    def inside(self) -> dict[str, int]:
        self._counts_file.unlink(missing_ok=True)
        self.service.signal(signal.SIGUSR1)
        eventually(self._counts_file.exists, 10, "it reports its counts")
        counts: dict[str, int] = json.loads(self._counts_file.read_text())
        return counts

    def settled(self, tasks: int) -> dict[str, int]:
        """Return the counts once there are at most `tasks` tasks, or after 5 s."""
        end = time.monotonic() + 5
        while (counts := self.inside())["tasks"] > tasks and time.monotonic() < end:
            time.sleep(
                0.2
            )  # the tasks of the last responses end after their clients have read them
        return counts

    async def after(self, count: int) -> Tally:
        """Send `count` mixed requests, 16 at a time, and take a hundred samples."""
        tally, requests = Tally(), mixed()
        address = self.service.address
        crew = [Worker(lambda: address, requests, tally, keeps=n % 4 > 0) for n in range(16)]

        def more() -> bool:
            done = len(tally.seconds)
            if done >= len(self.samples) * count / 100:
                self.samples.append((done, self.service.footprint().rss_mib))
            return done < count

        await asyncio.gather(*(worker.work(more) for worker in crew))
        return tally

    def growth(self, count: int) -> float:
        """Return MiB per two hours, by least squares over the samples after the warm-up."""
        warm = [(done, rss) for done, rss in self.samples if done >= WARM_UP * count]
        slope, _ = statistics.linear_regression(*zip(*warm, strict=True))
        return slope * TWO_HOURS


def test_memory_stays_flat_for_two_hours(
    simulator: Simulator, start_service: StartService, short: bool, tmp_path: Path, figure: Figure
) -> None:
    """All flows and all kinds of errors: memory, files, threads and tasks stay flat."""
    count = 8_000 if short else TWO_HOURS
    counts = tmp_path / "counts.json"
    service = start_service(
        simulator.token_url, module="tests.chaos.inside", CHAOS_INSIDE=str(counts)
    )
    watched = Watched(service, counts)
    run(watched.after(2_000))
    watched.samples.clear()
    before, inside_before = _settled(service), watched.inside()
    start = time.monotonic()
    tally = run(watched.after(count))
    seconds = time.monotonic() - start
    after, inside_after = _settled(service), watched.settled(inside_before["tasks"])
    growth = watched.growth(count)
    figure(
        f"{count:,} requests in {seconds:.0f} s ({count / 50 / 60:.0f} min of 50/s): {tally};"
        f" RSS {before.rss_mib:.1f} → {after.rss_mib:.1f} MiB,"
        f" slope {growth:+.1f} MiB in two hours;"
        f" files {before.files} → {after.files}, threads {before.threads} → {after.threads},"
        f" tasks {inside_before['tasks']} → {inside_after['tasks']},"
        f" objects {inside_before['objects']} → {inside_after['objects']}"
    )
    assert set(tally.outcomes) <= STATUSES, tally
    assert tally.outcomes["200"] > 0.9 * count
    if short:
        assert after.rss_mib - before.rss_mib < GROWTH_MIB
    else:
        assert growth < GROWTH_MIB
    assert after.files <= before.files + 2
    assert after.threads == before.threads
    assert inside_after["tasks"] <= inside_before["tasks"]
    assert inside_after["objects"] - inside_before["objects"] < 1000
    service.assert_no_defect()


def _settled(service: Service) -> Footprint:
    """Return the footprint after the clients have left and idle connections are closed."""
    time.sleep(1)
    for _ in range(40):  # each closes one pooled connection that has expired
        run(once(service.address, request("refresh")))
    return service.footprint()
