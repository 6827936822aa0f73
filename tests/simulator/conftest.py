from collections.abc import Iterator

import httpx
import pytest


@pytest.fixture(scope="session")
def shared_client(simulator_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator_url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def client(shared_client: httpx.Client) -> httpx.Client:
    shared_client.post("/admin/reset").raise_for_status()
    return shared_client
