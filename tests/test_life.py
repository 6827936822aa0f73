"""A short run of tests/fuzz/life.py."""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import LogLines
from tests.fuzz.life import lives
from tests.fuzz.running import simulated, tapped

short = settings(
    deadline=None,
    derandomize=True,
    max_examples=4,
    stateful_step_count=15,
    suppress_health_check=list(HealthCheck),
)


def test_client_stays_logged_in_while_its_key_is_configured(
    log_lines: LogLines,  # noqa: ARG001 - restores what configuring the logs changes
) -> None:
    with simulated() as simulator, tapped() as tap:
        run_state_machine_as_test(lives(simulator, tap), settings=short)
