"""A running service whose metrics a test scrapes."""

import re
from typing import NamedTuple

import httpx

from tests.conftest import Start
from tests.running import free_port


class Service(NamedTuple):
    """A running service and where its metrics are."""

    client: httpx.Client
    url: str

    def scrape(self) -> dict[str, float]:
        response = httpx.get(f"{self.url}/metrics", trust_env=False).raise_for_status()
        lines = [line for line in response.text.splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    def requests(self) -> dict[str, float]:
        """Return the counts of requests that aren't zero, by `flow outcome`."""
        counts = {}
        for name, value in self.scrape().items():
            labels = re.fullmatch(
                r'spotify_api_server_requests_total\{flow="(.*)",outcome="(.*)"\}', name
            )
            if labels and value:
                counts[" ".join(labels.groups())] = value
        return counts


def measured(start: Start, **changes: str) -> Service:
    """Start a service that can be scraped."""
    port = free_port()
    return Service(start(METRICS_PORT=str(port), **changes), f"http://127.0.0.1:{port}")
