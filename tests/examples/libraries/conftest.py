"""Client libraries of others against a service and a simulator that run already.

They run in a Python of their own, without the service's code: tests/examples/test_libraries.py.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path("examples/python").resolve()))

SERVICE, SIMULATOR = os.environ["SERVICE"], os.environ["SIMULATOR"]
CLIENT_ID = "simulator-client-id"
PKCE = f"{SERVICE}/authorization-code-flow-pkce"
CODE = f"{SERVICE}/authorization-code-flow"

Agree = Callable[[str], str]


@pytest.fixture
def simulator() -> Iterator[httpx.Client]:
    """Return a client of the simulator, which is as it was at its start."""
    with httpx.Client(base_url=SIMULATOR, trust_env=False) as client:
        client.post("/admin/reset").raise_for_status()
        yield client


@pytest.fixture
def agree(simulator: httpx.Client) -> Agree:
    """Agree at Spotify's page, which is the simulator's; return where the browser is sent."""

    def agree(url: str) -> str:
        url = url.replace("https://accounts.spotify.com", SIMULATOR)
        answer = simulator.post(url, data={"decision": "allow"})
        return answer.headers["location"]

    return agree


@pytest.fixture
def last(simulator: httpx.Client) -> Callable[[int], None]:
    """Let tokens last so many seconds from now on."""

    def last(seconds: int) -> None:
        simulator.patch("/admin/settings", json={"expires_in": seconds}).raise_for_status()

    return last


@pytest.fixture
def grants(simulator: httpx.Client) -> Callable[[], list[str]]:
    """Tell what the service asked the simulator for; it has the secret, or there is none."""

    def grants() -> list[str]:
        entries = simulator.get("/admin/requests").json()
        return [dict(entry["form"])["grant_type"] for entry in entries]

    return grants
