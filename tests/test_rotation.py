"""Three keys are rolled through two replicas; every client stays logged in.

The replicas are replaced one after the other, as in a rolling update. The clients' load balancer is
a list of their URLs.
"""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import httpx
import pytest

from service import settings as service_settings
from service.app import create_app
from service.errors import UndecryptableToken
from service.sealing import Sealer
from tests.conftest import LogLines, Start
from tests.running import environment, running, wait_until

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())["vectors"]
FIRST = VECTORS[0]["secret_key"]
SECOND, THIRD = "second-secret-key-0123456789", "third-secret-key-0123456789"
PATHS = {
    pkce: f"/authorization-code-flow{'-pkce' if pkce else ''}/refresh-tokens"
    for pkce in (True, False)
}


class Deployment:
    """Two replicas and their URLs."""

    def __init__(self, simulator_url: str) -> None:
        self._token_url = f"{simulator_url}/api/token"
        self._replicas: list[ExitStack] = []
        self._replaced: list[ExitStack] = []
        self.urls: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for replica in self._replaced + self._replicas:
            replica.close()

    def replace(self, current: str, *previous: str) -> None:
        """Replace both replicas by ones with these keys; the old ones still run."""
        self._replaced, self._replicas = self._replicas, []
        for number in range(2):
            url = self._start(SECRET_KEY=current, SECRET_KEYS_PREVIOUS="\n".join(previous))
            self.urls[number : number + 1] = [url]

    def stop_replaced(self) -> None:
        """Stop the replicas that were replaced, which no client may be using."""
        for replica in self._replaced:
            replica.close()

    def _start(self, **keys: str) -> str:
        environ = environment(self._token_url, **keys)
        replica = ExitStack()
        self._replicas.append(replica)
        app = create_app(service_settings.load(environ))
        return replica.enter_context(running(app, environ))


class Client:
    """An app that keeps its tokens alive, as SpotifyAPI does."""

    def __init__(self, deployment: Deployment, sealed: str, *, pkce: bool) -> None:
        self._urls = deployment.urls
        self._path = PATHS[pkce]
        self.sealed = sealed
        self.refreshed = 0
        # A connection for each request: any of the replicas may get the next one.
        alone = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(trust_env=False, timeout=30, limits=alone)

    def refresh(self) -> None:
        """Refresh once, and store the refresh token if it is new."""
        response = self.post(self.sealed)
        assert response.status_code == 200, response.text
        self.sealed = response.json().get("refresh_token", self.sealed)
        self.refreshed += 1

    def post(self, sealed: str) -> httpx.Response:
        url = random.choice(self._urls) + self._path  # noqa: S311 - a load balancer's
        return self._http.post(url, data={"refresh_token": sealed})

    def close(self) -> None:
        self._http.close()


@contextmanager
def refreshing(clients: list[Client]) -> Iterator[list[BaseException]]:
    """Refresh with every client in its own thread; yields their errors."""
    errors: list[BaseException] = []
    stop = threading.Event()

    def live(client: Client) -> None:
        try:
            while not stop.wait(0.05):
                client.refresh()
        except BaseException as error:  # noqa: BLE001 - the test reports it
            errors.append(error)

    threads = [threading.Thread(target=live, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def opened_by(clients: list[Client], *keyring: str) -> list[int]:
    """Return how many of the clients' tokens each key opens."""
    counts = dict.fromkeys(keyring, 0)
    for client in clients:
        for key in keyring:
            try:
                Sealer(key).open(client.sealed)
            except UndecryptableToken:
                continue
            counts[key] += 1
    return list(counts.values())


@pytest.fixture
def deployment(
    simulator_url: str,
    log_lines: LogLines,  # noqa: ARG001 - configures the logs
) -> Iterator[Deployment]:
    with Deployment(simulator_url) as deployed:
        yield deployed


@pytest.fixture
def clients(deployment: Deployment, simulator: httpx.Client) -> Iterator[list[Client]]:
    """Return clients of both flows, logged in while FIRST was the key."""
    clients = []
    for pkce in (True, False, True, False):
        order = {"pkce": pkce}
        token = simulator.post("/admin/refresh-tokens", json=order).json()["refresh_token"]
        clients.append(Client(deployment, Sealer(FIRST).seal(token), pkce=pkce))
    yield clients
    for client in clients:
        client.close()


def test_every_client_stays_logged_in_while_three_keys_are_rolled(
    deployment: Deployment, clients: list[Client]
) -> None:
    *busy, away, away_by_code = clients
    deployment.replace(FIRST)
    with refreshing(busy) as errors:

        def roll(*keys: str) -> None:
            deployment.replace(*keys)
            wait_for_two_refreshes(busy, errors)  # the second one at a new replica
            deployment.stop_replaced()

        roll(FIRST, SECOND)  # every replica opens SECOND before any seals with it
        roll(SECOND, FIRST)
        assert opened_by(busy, SECOND, FIRST) == [len(busy), 0]
        roll(SECOND, THIRD, FIRST)
        roll(THIRD, SECOND, FIRST)
        assert opened_by(clients, THIRD, SECOND, FIRST) == [len(busy), 0, 2]  # two were away
        assert_opens_tokens_of_the_original(away)
        for client in (away, away_by_code):
            client.refresh()
        assert opened_by(clients, THIRD, SECOND, FIRST) == [len(clients), 0, 0]
        roll(THIRD, SECOND)  # no token needs FIRST any longer
    assert errors == []
    for client in clients:
        client.refresh()
    refused = away.post(VECTORS[0]["ciphertext"])
    assert refused.json()["reason"] == "could not decrypt refresh token"


def wait_for_two_refreshes(clients: list[Client], errors: list[BaseException]) -> None:
    expected = {client: client.refreshed + 2 for client in clients}

    def refreshed() -> bool:
        assert errors == []
        return all(client.refreshed >= number for client, number in expected.items())

    wait_until(refreshed)


def assert_opens_tokens_of_the_original(client: Client) -> None:
    """Spotify refuses these tokens, so they were opened."""
    for vector in VECTORS:
        if vector["plaintext"]:
            assert client.post(vector["ciphertext"]).json()["error"] == "invalid_grant"


def test_key_that_seals_before_every_replica_can_open_logs_clients_out(
    start: Start, simulator: httpx.Client
) -> None:
    """The reason for the first step of a rotation."""
    ahead = start(SECRET_KEY=SECOND, SECRET_KEYS_PREVIOUS=FIRST)
    behind, prepared = start(SECRET_KEY=FIRST), start(SECRET_KEY=FIRST, SECRET_KEYS_PREVIOUS=SECOND)
    token = simulator.post("/admin/refresh-tokens", json={"pkce": True}).json()["refresh_token"]
    form = {"refresh_token": Sealer(FIRST).seal(token)}
    form = {"refresh_token": ahead.post(PATHS[True], data=form).json()["refresh_token"]}
    assert behind.post(PATHS[True], data=form).status_code == 400
    assert prepared.post(PATHS[True], data=form).status_code == 200
