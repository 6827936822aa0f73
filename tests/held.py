"""Requests that wait for one call to Spotify, without a delay that could be too short."""

from functools import partial

import httpx

from service import settings as service_settings
from service.upstream import Transport
from tests.conftest import Start
from tests.fakes import HeldTransport
from tests.running import environment, wait_until
from tests.scraping import measured
from tests.volley import Shot, volley


class Held:
    """A service whose calls to the simulator are held until all requests of a volley wait."""

    def __init__(self, start: Start, simulator: httpx.Client, **changes: str) -> None:
        settings = service_settings.load(environment(f"{simulator.base_url}/api/token"))
        self._transport = HeldTransport(Transport(settings))
        self.service = measured(partial(start, self._transport), **changes)
        self.client = self.service.client

    def volley(self, path: str, *forms: dict[str, str]) -> list[Shot]:
        return volley(self.client, path, forms, lambda: self.release(len(forms)))

    def wait_for_call(self) -> None:
        self._transport.wait_for_call()

    def release(self, requests: int) -> None:
        """Release the calls once this many requests are in flight."""
        gauge = "spotify_api_server_requests_in_flight"
        wait_until(lambda: self.service.scrape()[gauge] == requests)
        self._transport.release()
