from collections.abc import Iterator

import pytest

from tests import simulating
from tests.chaos.processes import Service, Simulator

simulator_process, simulator = simulating.simulator_process, simulating.simulator
collect_ignore = ["libraries"]  # they have a Python of their own


@pytest.fixture(scope="session")
def _service(
    simulator_process: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service"), simulator_process.token_url) as service:
        yield service
        service.assert_no_defect()


@pytest.fixture
def service(_service: Service, simulator: Simulator) -> Service:  # noqa: ARG001 - at its start
    """Return the service, in front of the simulator."""
    return _service
