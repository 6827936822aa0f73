"""Fixtures: a simulator as a process of its own, one for all tests of a run."""

from collections.abc import Iterator

import pytest

from tests.chaos.processes import Simulator


@pytest.fixture(scope="session")
def simulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def simulator(simulator_process: Simulator) -> Simulator:
    """Return the simulator in its initial state."""
    simulator_process.reset()
    return simulator_process
