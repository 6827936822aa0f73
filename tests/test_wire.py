"""What tests/fuzz tries for long, in short."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests.conftest import LogLines
from tests.fuzz import wire
from tests.fuzz.running import Service, simulated, tapped
from tests.fuzz.wire import Plan, Wire, drawn, halves, plans

short = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def line(
    log_lines: LogLines,  # noqa: ARG001 - puts back what configuring the logs changes
) -> Iterator[Wire]:
    timeout = str(wire.REQUEST_TIMEOUT)
    with (
        simulated() as simulator,
        tapped() as tap,
        Service(simulator, REQUEST_TIMEOUT=timeout) as service,
    ):
        made = Wire(service, simulator, tap)
        yield made
        made.check_spotify()


def test_no_bytes_make_the_service_fail_or_speak_out_of_turn(line: Wire) -> None:
    @settings(short, max_examples=300)
    @given(plans)
    def check(plan: Plan) -> None:
        line.check(plan)

    check()


def test_no_bytes_hold_a_connection_longer_than_its_deadlines(line: Wire) -> None:
    line.check_patience(drawn(halves, settings(short, max_examples=50)))


@pytest.mark.parametrize(
    "received", [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na", b"HTTP/1.1 200 OK\r\n", b"x"]
)
def test_the_reader_of_answers_finds_what_is_none(received: bytes) -> None:
    with pytest.raises(AssertionError):
        wire.answers(received)
