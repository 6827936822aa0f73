"""Stateful test of clients: logins, refreshes and key rotations in any order.

The model knows which keys open, which of Spotify's refresh tokens are revoked and what rotation
does; so it knows every answer before it comes. Whatever happens, a client whose key is known stays
logged in, and none of its secrets is logged or counted.
"""

import base64
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
)

from service.sealing import Sealer
from simulator import pkce
from tests.evidence import Evidence
from tests.flows import CODE, CREDENTIALS, PKCE_CODE, PKCE_REFRESH, REFRESH, UNDECRYPTABLE
from tests.fuzz.running import LogTap, Service, defects
from tests.running import CLIENT_ID, CLIENT_SECRET
from tests.simulator.requests import REDIRECT_URI

FAULTS: dict[str, int] = {
    "status": 503,
    "html": 503,
    "silence": 504,
    "reset": 502,
    "close": 502,
    "truncated": 502,
    "garbage": 502,
    "notobject": 502,
    "bomb": 502,
    "huge": 502,
    "redirect": 502,
    "badheader": 502,
}
"""Faults of a call to Spotify, and the status of our response; no fault revokes a token."""

OWN = {502, 504}
UPSTREAM_TIMEOUT = "4"

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=20)
encodings = st.sampled_from(["data", "json", "files"])


class Seal(NamedTuple):
    """A client's sealed token, with the model's state of it."""

    sealed: str
    key: str
    token: str
    pkce: bool


class Life(RuleBasedStateMachine):
    """Clients of one service, which is restarted occasionally."""

    simulator: httpx.Client
    tap: LogTap

    seals = Bundle("seals")

    def __init__(self) -> None:
        super().__init__()
        self._stops = ThreadPoolExecutor(1)
        self._stack = ExitStack()
        self.evidence = Evidence()
        self.evidence.add(CLIENT_SECRET, "client secret")
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        self.evidence.add(basic, "Basic header")
        self.keys: list[str] = []
        self.made = 0
        self.rotation = "spotify"
        self.revoked: set[str] = set()
        self.newest: dict[str, Seal] = {}
        self.began = len(self.tap.text)
        self.simulator.post("/admin/reset").raise_for_status()

    # What happens -------------------------------------------------------------------------------

    @initialize(text=texts)
    def start(self, text: str) -> None:
        self.rotate_keys(text)

    @rule(text=texts)
    def rotate_keys(self, text: str) -> None:
        """Seal with a new key from now on; the old ones still open."""
        self.made += 1
        unique = hashlib.sha256(str(self.made).encode()).hexdigest()[:16]
        key = self.evidence.add(f"{unique}{text}{unique[::-1]}", "secret key")
        self.keys.insert(0, key)
        self._restart()

    @precondition(lambda self: len(self.keys) > 1)
    @rule()
    def drop_the_oldest_key(self) -> None:
        self.keys.pop()
        self._restart()

    @rule(rotation=st.sampled_from(["spotify", "on", "off", "same"]))
    def change_rotation(self, rotation: str) -> None:
        self.simulator.patch("/admin/settings", json={"rotation": rotation}).raise_for_status()
        self.rotation = rotation

    @rule(target=seals, with_pkce=st.booleans(), encoding=encodings)
    def log_in(self, with_pkce: bool, encoding: str) -> Seal:  # noqa: FBT001 - drawn by name
        verifier = self.evidence.add(
            hashlib.sha256(str(self.made).encode()).hexdigest(), "verifier"
        )
        code = self._authorized(pkce.challenge_of(verifier) if with_pkce else None)
        form = {"code": code, "redirect_uri": REDIRECT_URI}
        path, more = (PKCE_CODE, {"code_verifier": verifier}) if with_pkce else (CODE, {})
        response = self._post(path, form | more, encoding)
        self._check_success(response)
        seal = self._new_seal(response, pkce=with_pkce)
        assert seal is not None
        self.newest[seal.token] = seal
        return seal

    @rule(
        target=seals, seal=seals, path=st.sampled_from([REFRESH, PKCE_REFRESH]), encoding=encodings
    )
    def refresh(self, seal: Seal, path: str, encoding: str) -> Any:  # noqa: ANN401 - one seal or none
        """Refresh with a sealed token of any age, at its own flow or the other."""
        response = self._post(path, {"refresh_token": seal.sealed}, encoding)
        seal_after = self._check_refresh(response, seal, path)
        return multiple(seal_after) if seal_after else multiple()

    @rule(
        seal=seals,
        path=st.sampled_from([REFRESH, PKCE_REFRESH]),
        fault=st.sampled_from(list(FAULTS)),
    )
    def refresh_while_spotify_fails(self, seal: Seal, path: str, fault: str) -> None:
        self._queue_fault(fault)
        response = self._post(path, {"refresh_token": seal.sealed})
        self.simulator.delete("/admin/faults").raise_for_status()
        if seal.key not in self.keys:
            self._check_own_error(response, 400, UNDECRYPTABLE)
        else:
            self._check_fault(response, fault)

    @rule(seal=seals, path=st.sampled_from([REFRESH, PKCE_REFRESH]), data=st.data())
    def tamper(self, seal: Seal, path: str, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(seal.sealed) - 2))  # the last one has unread bits
        other = data.draw(
            st.characters(codec="utf-8").filter(lambda c: c not in _same(seal, position))
        )
        broken = seal.sealed[:position] + other + seal.sealed[position + 1 :]
        response = self._post(path, {"refresh_token": broken})
        self._check_own_error(response, 400, UNDECRYPTABLE)

    @rule(fault=st.sampled_from([None, *FAULTS]))
    def ask_for_the_apps_own_token(self, fault: str | None) -> None:
        if fault:
            self._queue_fault(fault)
        response = self._post(CREDENTIALS, {"grant_type": "client_credentials"})
        self.simulator.delete("/admin/faults").raise_for_status()
        if fault and response.status_code != 200:  # a cached one needs no call
            self._check_fault(response, fault)
        else:
            self._check_success(response)
            assert "refresh_token" not in response.json()

    @rule()
    def scrape(self) -> None:
        self.evidence.seen.append(("metrics", self.service.scrape()))

    def teardown(self) -> None:
        """Refresh every client once more, stop, and search the output for secrets."""
        try:
            for seal in list(self.newest.values()):
                response = self._post(PKCE_REFRESH, {"refresh_token": seal.sealed})
                self._check_refresh(response, seal, PKCE_REFRESH)
            if self.keys:
                self.scrape()
        finally:
            self._stack.close()
            self._stops.shutdown()
        log = self.tap.text[self.began :]
        self.evidence.seen.append(("log", log))
        assert self.evidence.leaks() == set()
        assert not defects([json.loads(line) for line in log.splitlines()])

    # How it is done ------------------------------------------------------------------------------

    def _restart(self) -> None:
        """Start a service with the current keys, as an update does; stop the previous one."""
        self._stops.submit(self._stack.pop_all().close)
        current, *previous = self.keys
        changes = {"SECRET_KEY": current, "SECRET_KEYS_PREVIOUS": "\n".join(previous)}
        service = Service(self.simulator, UPSTREAM_TIMEOUT=UPSTREAM_TIMEOUT, **changes)
        self.service = self._stack.enter_context(service)

    def _authorized(self, challenge: str | None) -> str:
        """Consent on the login page; return the authorization code."""
        query = {"client_id": CLIENT_ID, "redirect_uri": REDIRECT_URI, "response_type": "code"}
        if challenge:
            query |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        response = self.simulator.post("/authorize", params=query, data={"decision": "allow"})
        [code] = parse_qs(urlsplit(response.headers["location"]).query)["code"]
        return self.evidence.add(code, "code")

    def _queue_fault(self, fault: str) -> None:
        self.simulator.post("/admin/faults", json={"kind": fault}).raise_for_status()

    def _post(self, path: str, form: dict[str, str], encoding: str = "data") -> httpx.Response:
        sent: Any = {name: (None, text) for name, text in form.items()}
        if encoding == "files":
            return self.service.client.post(path, files=sent)
        more: dict[str, Any] = {encoding: form}
        return self.service.client.post(path, **more)

    def _new_seal(self, response: httpx.Response, *, pkce: bool) -> Seal | None:
        """Return the client's state after a successful response."""
        if (sealed := response.json().get("refresh_token")) is None:
            return None
        token = Sealer(self.keys[0]).open(sealed).token
        self.evidence.add(sealed, "sealed refresh token")
        self.evidence.add(token, "refresh token")
        assert token not in response.text
        return Seal(sealed, self.keys[0], token, pkce)

    def _check_refresh(self, response: httpx.Response, seal: Seal, path: str) -> Seal | None:
        if seal.key not in self.keys:
            self._check_own_error(response, 400, UNDECRYPTABLE)
            self.newest.pop(seal.token, None)  # its key is gone: that client has to log in again
            return None
        if seal.token in self.revoked:
            assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
            return None
        self._check_success(response)
        seal_after = self._new_seal(response, pkce=seal.pkce)
        rotation = self.rotation
        if rotation == "spotify":
            rotation = "on" if seal.pkce else "off"
        stale = seal.key != self.keys[0]
        assert (seal_after is not None) == (rotation != "off" or path == PKCE_REFRESH or stale)
        if seal_after:
            assert (seal_after.token == seal.token) == (rotation != "on")
            if rotation == "on":
                self.revoked.add(seal.token)
                self.newest.pop(seal.token, None)
            self.newest[seal_after.token] = seal_after
        return seal_after

    def _check_success(self, response: httpx.Response) -> None:
        assert response.status_code == 200, response.text
        tokens = response.json()
        self.evidence.add(tokens["access_token"], "access token")
        assert ("expiration_date" in tokens) == ("refresh_token" in tokens)
        assert response.headers["content-type"] == "application/json"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["pragma"] == "no-cache"

    def _check_own_error(self, response: httpx.Response, status: int, reason: str | None) -> None:
        assert response.status_code == status, response.text
        error = response.json()
        assert error.keys() == {"error", "reason"}
        assert error["error"] is True
        assert reason in {None, error["reason"]}
        self.evidence.seen.append(("own error", response.text + repr(response.headers)))

    def _check_fault(self, response: httpx.Response, fault: str) -> None:
        assert response.status_code == FAULTS[fault], response.text
        if response.status_code in OWN:
            self._check_own_error(response, FAULTS[fault], None)
        assert response.headers["cache-control"] == "no-store"


def _same(seal: Seal, position: int) -> str:
    """Return the characters that are equal at this position, in either alphabet."""
    written = seal.sealed[position]
    return {"-": "-+", "_": "_/"}.get(written, written)


def lives(simulator: httpx.Client, tap: LogTap) -> type[Life]:
    """Return the state machine for clients of this simulator."""
    return type("Life", (Life,), {"simulator": simulator, "tap": tap})
