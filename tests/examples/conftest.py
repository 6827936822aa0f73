from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import simulating
from tests.chaos.processes import Service, Simulator
from tests.running import free_port

simulator_process, simulator = simulating.simulator_process, simulating.simulator
collect_ignore = ["libraries"]  # they run in another virtual environment

APP_REDIRECT_URI = "my-app://callback"


@pytest.fixture(scope="session")
def settings(simulator_process: Simulator) -> dict[str, Any]:
    """Return the settings of the service, which starts twice at the same address."""
    port = str(free_port())
    return {
        "PORT": port,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SPOTIFY_AUTHORIZE_URL": f"{simulator_process.url}/authorize",
        "REDIRECT_URI": APP_REDIRECT_URI,
    }


@pytest.fixture(scope="session")
def lost_token(
    simulator_process: Simulator,
    settings: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """Return a refresh token that was sealed with another SECRET_KEY."""
    directory = tmp_path_factory.mktemp("before")
    changes = settings | {"SECRET_KEY": "the-key-before-the-restart-0123456789"}
    with Service(directory, simulator_process.token_url, **changes) as service:
        request = {"redirect_uri": APP_REDIRECT_URI}
        code = simulator_process.client.post("/admin/codes", json=request).json()["code"]
        tokens = httpx.post(f"{service.url}/api/token", data={"code": code}, trust_env=False)
        service.stop()
    return str(tokens.raise_for_status().json()["refresh_token"])


@pytest.fixture(scope="session")
def _service(
    simulator_process: Simulator,
    settings: dict[str, Any],
    lost_token: str,  # noqa: ARG001 - its service must stop first
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("service")
    with Service(directory, simulator_process.token_url, **settings) as service:
        yield service
        service.assert_no_defect()


@pytest.fixture
def service(_service: Service, simulator: Simulator) -> Service:  # noqa: ARG001 - reset
    """Return the service, which uses the simulator as Spotify."""
    return _service
