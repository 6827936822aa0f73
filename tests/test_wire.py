"""A short run of tests/fuzz/wire.py."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.conftest import LogLines
from tests.fuzz import wire
from tests.fuzz.running import Service, simulated, tapped
from tests.fuzz.wire import Plan, Wire, plans

short = settings(
    deadline=None,
    derandomize=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def test_any_bytes_get_a_valid_response_or_none(
    log_lines: LogLines,  # noqa: ARG001 - restores what configuring the logs changes
) -> None:
    with (
        simulated() as simulator,
        tapped() as tap,
        Service(simulator, REQUEST_TIMEOUT="5") as service,
    ):
        line = Wire(service, simulator, tap)

        @short
        @given(plans)
        def check(plan: Plan) -> None:
            line.check(plan)

        check()
        line.check_spotify()


def test_reader_refuses_an_invalid_response() -> None:
    for received in (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na",
        b"HTTP/1.1 200 OK\r\n",
        b"x",
    ):
        with pytest.raises(AssertionError):
            wire.responses(received)
