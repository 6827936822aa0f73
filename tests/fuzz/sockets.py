"""Run the fuzzer `wire` or `life` for a time: `python -m tests.fuzz.sockets NAME SECONDS`."""

import sys
import time
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.life import lives
from tests.fuzz.running import Service, simulated, tapped
from tests.fuzz.wire import REQUEST_TIMEOUT, Wire, drawn, halves, plans

LONG = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def wire(seconds: float) -> int:
    """Send tampered requests to a running service; wait for deadlines fifty at a time."""
    runs, end = 0, time.monotonic() + seconds
    with (
        simulated() as simulator,
        tapped() as tap,
        Service(simulator, REQUEST_TIMEOUT=str(REQUEST_TIMEOUT)) as service,
    ):
        line = Wire(service, simulator, tap)
        while time.monotonic() < end:
            at_once = drawn(plans, settings(LONG, max_examples=500))
            for plan in at_once:
                line.check(plan)
            patient = drawn(halves, settings(LONG, max_examples=100))
            line.check_patience(patient)
            line.check_spotify()
            runs += len(at_once) + len(patient)
    return runs


def life(seconds: float) -> int:
    """Run the state machine of clients."""
    batch = settings(LONG, max_examples=10, stateful_step_count=50)
    runs, end = 0, time.monotonic() + seconds
    with simulated() as simulator, tapped() as tap:
        while time.monotonic() < end:
            run_state_machine_as_test(lives(simulator, tap), settings=batch)
            runs += batch.max_examples
    return runs


NAMES: dict[str, Callable[[float], int]] = {"wire": wire, "life": life}

if __name__ == "__main__":
    sys.stdout.write(f"runs: {NAMES[sys.argv[1]](float(sys.argv[2]))}\n")
