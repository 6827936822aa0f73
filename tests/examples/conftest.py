from collections.abc import Iterator

import pytest

from tests.chaos.processes import Service, Simulator

collect_ignore = ["libraries"]  # they have a Python of their own


@pytest.fixture(scope="session")
def _simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def simulator(_simulator: Simulator) -> Simulator:
    """Return the simulator, as it was at its start."""
    _simulator.reset()
    return _simulator


@pytest.fixture(scope="session")
def _service(_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service"), _simulator.token_url) as service:
        yield service
        service.assert_no_defect()


@pytest.fixture
def service(_service: Service, simulator: Simulator) -> Service:  # noqa: ARG001 - at its start
    """Return the service, in front of the simulator."""
    return _service
