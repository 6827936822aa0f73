"""Three keys are rolled through two replicas while clients refresh: none is logged out.

The replicas are processes, replaced one after the other as a rolling update does, and the clients'
load balancer is a list of their URLs.
"""

import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import httpx
import pytest

from service.sealing import Sealer, fingerprint
from tests.conftest import Start
from tests.running import environment, free_port
from tests.test_main import COMMAND, plain, status

VECTORS = json.loads(Path("tests/vectors.json").read_text())["vectors"]
FIRST = VECTORS[0]["secret_key"]
SECOND, THIRD = "second-secret-key-0123456789", "third-secret-key-0123456789"
PATHS = {
    pkce: f"/authorization-code-flow{'-pkce' if pkce else ''}/refresh-tokens"
    for pkce in (True, False)
}


class Deployment:
    """Two replicas and what leads to them, `urls`."""

    def __init__(self, simulator_url: str) -> None:
        self._token_url = f"{simulator_url}/api/token"
        self._stack = ExitStack()
        self._replicas: list[subprocess.Popen[bytes]] = []
        self.urls: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for replica in self._replicas:
            replica.kill()
        self._stack.close()

    def roll(self, current: str, *previous: str) -> None:
        """Replace both replicas by ones with these keys; return when the old ones are gone."""
        old, self._replicas = self._replicas, []
        for number in range(2):
            url = self._started(SECRET_KEY=current, SECRET_KEYS_PREVIOUS="\n".join(previous))
            self.urls[number : number + 1] = [url]
            if old:
                old[number].terminate()
        for replica in old:
            assert replica.wait(30) == 0

    def _started(self, **keys: str) -> str:
        port = free_port()
        environ = environment(self._token_url, PORT=str(port), **keys) | {"DRAIN_SECONDS": "0.3"}
        command = [*COMMAND, "serve"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, env=plain(environ), stdout=quiet, stderr=quiet)
        self._replicas.append(self._stack.enter_context(process))
        url = f"http://127.0.0.1:{port}"
        while status(url, "/readyz") != 200:
            assert process.poll() is None
            time.sleep(0.02)
        return url


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
        """Refresh once, and keep the refresh token if there is a new one."""
        answer = self.post(self.sealed)
        assert answer.status_code == 200, answer.text
        self.sealed = answer.json().get("refresh_token", self.sealed)
        self.refreshed += 1

    def post(self, sealed: str) -> httpx.Response:
        while True:
            try:
                url = random.choice(self._urls) + self._path  # noqa: S311 - a load balancer's
                return self._http.post(url, data={"refresh_token": sealed})
            except httpx.ConnectError:  # nothing was sent: a load balancer asks another one
                time.sleep(0.01)

    def close(self) -> None:
        self._http.close()


@contextmanager
def refreshing(clients: list[Client]) -> Iterator[list[BaseException]]:
    """Have every client refresh in a thread of its own; yields what went wrong."""
    wrong: list[BaseException] = []
    enough = threading.Event()

    def live(client: Client) -> None:
        try:
            while not enough.wait(0.02):
                client.refresh()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test has to see it
            wrong.append(error)

    threads = [threading.Thread(target=live, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def opened(clients: list[Client], *keyring: str) -> dict[str, int]:
    """Return how many of the clients' tokens each key opens, as `keys` tells it."""
    told = subprocess.run(
        [*COMMAND, "keys", "--json"],
        env=plain({"SECRET_KEY": keyring[0], "SECRET_KEYS_PREVIOUS": "\n".join(keyring[1:])}),
        input="".join(f"{client.sealed}\n" for client in clients),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    tally = json.loads(told.stdout)
    assert tally["none"] == 0
    return {each["fingerprint"]: each["opened"] for each in tally["keys"]}


@pytest.fixture
def deployment(simulator_url: str) -> Iterator[Deployment]:
    with Deployment(simulator_url) as deployed:
        yield deployed


@pytest.fixture
def clients(deployment: Deployment, simulator: httpx.Client) -> Iterator[list[Client]]:
    """Return clients of both flows, logged in while FIRST was the key."""
    made = []
    for number in range(8):
        order = {"pkce": number % 2 == 0}
        token = simulator.post("/admin/refresh-tokens", json=order).json()["refresh_token"]
        made.append(Client(deployment, Sealer(FIRST).seal(token), pkce=order["pkce"]))
    yield made
    for client in made:
        client.close()


def test_three_keys_are_rolled_and_nobody_is_logged_out(
    deployment: Deployment, clients: list[Client]
) -> None:
    *busy, away, away_by_code = clients
    first, second, third = map(fingerprint, (FIRST, SECOND, THIRD))
    deployment.roll(FIRST)
    with refreshing(busy) as wrong:
        deployment.roll(FIRST, SECOND)  # every replica can open what SECOND seals, before any does
        deployment.roll(SECOND, FIRST)
        for client in busy:
            until_refreshed_twice(client, wrong)
        assert opened(busy, FIRST, SECOND) == {first: 0, second: len(busy)}
        deployment.roll(SECOND, THIRD, FIRST)
        deployment.roll(THIRD, SECOND, FIRST)
        for client in busy:
            until_refreshed_twice(client, wrong)
        tally = opened(clients, THIRD, SECOND, FIRST)
        assert tally == {third: len(busy), second: 0, first: 2}  # two were away all the time
        assert_opens_what_the_original_sealed(away)
        for client in (away, away_by_code):
            client.refresh()
        assert opened(clients, THIRD, SECOND, FIRST)[first] == 0
        deployment.roll(THIRD, SECOND)  # so FIRST can go
        for client in busy:
            until_refreshed_twice(client, wrong)
    assert wrong == []
    for client in clients:
        client.refresh()
    gone = away.post(VECTORS[0]["ciphertext"])
    assert gone.json()["reason"] == "could not decrypt refresh token"


def until_refreshed_twice(client: Client, wrong: list[BaseException]) -> None:
    wanted = client.refreshed + 2
    while client.refreshed < wanted:
        assert wrong == []
        time.sleep(0.02)


def assert_opens_what_the_original_sealed(client: Client) -> None:
    """Spotify doesn't know these tokens; that it says so shows that they were opened."""
    for vector in VECTORS:
        if vector["plaintext"]:
            assert client.post(vector["ciphertext"]).json()["error"] == "invalid_grant"


def test_a_key_that_seals_before_every_replica_can_open_logs_clients_out(
    start: Start, simulator: httpx.Client
) -> None:
    """The reason for the first step of a rotation: an old replica doesn't know the new key."""
    ahead = start(SECRET_KEY=SECOND, SECRET_KEYS_PREVIOUS=FIRST)
    behind, prepared = start(SECRET_KEY=FIRST), start(SECRET_KEY=FIRST, SECRET_KEYS_PREVIOUS=SECOND)
    token = simulator.post("/admin/refresh-tokens", json={"pkce": True}).json()["refresh_token"]
    form = {"refresh_token": Sealer(FIRST).seal(token)}
    form = {"refresh_token": ahead.post(PATHS[True], data=form).json()["refresh_token"]}
    assert behind.post(PATHS[True], data=form).status_code == 400
    assert prepared.post(PATHS[True], data=form).status_code == 200
