"""Fixtures for client libraries. They call a running SERVICE, which uses the SIMULATOR as Spotify.

They run in another virtual environment, without the service: see ../test_libraries.py.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path("examples/python").resolve()))


@pytest.fixture
def simulator() -> Iterator[httpx.Client]:
    """Return a client of the simulator, reset to its state at the start."""
    with httpx.Client(base_url=os.environ["SIMULATOR"], trust_env=False) as client:
        client.post("/admin/reset").raise_for_status()
        yield client
