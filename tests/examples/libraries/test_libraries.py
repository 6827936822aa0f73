"""OAuth client libraries for Python, unmodified, pointed at the service by their own options.

Each class shows how a library is configured. `lost` is the exception for a refresh token that the
service cannot decrypt, with a check of it; `down` that for a 503 from Spotify as text.
"""

import os
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests
import tekore
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient, InvalidGrantError, OAuth2Error
from requests_oauthlib import OAuth2Session
from spotipy.cache_handler import MemoryCacheHandler
from spotipy.exceptions import SpotifyOauthError
from spotipy.oauth2 import SpotifyClientCredentials, SpotifyOAuth, SpotifyPKCE
from tekore_swap import SwapSender

SERVICE = os.environ["SERVICE"]
AUTHORIZE_URL, TOKEN_URL = f"{SERVICE}/authorize", f"{SERVICE}/api/token"
CLIENT_ID = "simulator-client-id"
REDIRECT = "http://127.0.0.1:8888/callback"
Tokens = Any  # the libraries have no types


def agree(url: str) -> str:
    """Agree on Spotify's page, to which the service redirects; return where the browser is sent."""
    url = url.replace("https://accounts.spotify.com", SERVICE)  # tekore has no option for it
    with httpx.Client(trust_env=False) as browser:
        consent = browser.get(url).headers["location"]
        return browser.post(consent, data={"decision": "allow"}).headers["location"]


def has(*, error: str) -> Callable[[Any], bool]:
    """Return a check of an exception's `error`, the code of RFC 6749, section 5.2."""
    return lambda problem: problem.error == error


class Authlib:
    name = "authlib"
    lost = OAuthError, has(error="invalid_grant")
    down = requests.HTTPError, lambda problem: problem.response.status_code == 503

    def __init__(self) -> None:
        self.session = AuthlibSession(
            CLIENT_ID,
            redirect_uri=REDIRECT,
            token_endpoint=TOKEN_URL,
            code_challenge_method="S256",
            token_endpoint_auth_method="none",
        )

    def login(self) -> Tokens:
        verifier = "v" * 43
        url, state = self.session.create_authorization_url(AUTHORIZE_URL, code_verifier=verifier)
        return self.session.fetch_token(
            authorization_response=agree(url), state=state, code_verifier=verifier
        )

    def refresh(self, refresh_token: str) -> Tokens:
        return self.session.refresh_token(refresh_token=refresh_token)

    def client_credentials(self) -> Tokens:
        return self.session.fetch_token(grant_type="client_credentials")


class RequestsOAuthlib:
    name = "requests-oauthlib"
    lost = InvalidGrantError, None
    down = OAuth2Error, has(error="temporarily_unavailable")

    def __init__(self) -> None:
        self.session = OAuth2Session(CLIENT_ID, redirect_uri=REDIRECT, pkce="S256")

    def login(self) -> Tokens:
        url, _ = self.session.authorization_url(AUTHORIZE_URL)
        return self.session.fetch_token(
            TOKEN_URL, authorization_response=agree(url), include_client_id=True
        )

    def refresh(self, refresh_token: str) -> Tokens:
        return self.session.refresh_token(TOKEN_URL, refresh_token, client_id=CLIENT_ID)

    def client_credentials(self) -> Tokens:
        session = OAuth2Session(client=BackendApplicationClient(CLIENT_ID))
        return session.fetch_token(TOKEN_URL, client_secret="unused")


class Spotipy:
    """Has a public class attribute for the token URL, which it does not document."""

    name = "spotipy"
    lost = SpotifyOauthError, has(error="invalid_grant")
    down = SpotifyOauthError, has(error="temporarily_unavailable")

    def __init__(self) -> None:
        cache = MemoryCacheHandler()
        self.manager = SpotifyPKCE(CLIENT_ID, REDIRECT, "random", cache_handler=cache)
        self.manager.OAUTH_AUTHORIZE_URL = AUTHORIZE_URL
        self.manager.OAUTH_TOKEN_URL = TOKEN_URL

    def login(self) -> Tokens:
        code = self.manager.parse_response_code(agree(self.manager.get_authorize_url()))
        self.manager.get_access_token(code, check_cache=False)
        return self.manager.cache_handler.get_cached_token()

    def refresh(self, refresh_token: str) -> Tokens:
        return self.manager.refresh_access_token(refresh_token)

    def client_credentials(self) -> Tokens:
        cache = MemoryCacheHandler()
        manager = SpotifyClientCredentials(CLIENT_ID, "unused", cache_handler=cache)
        manager.OAUTH_TOKEN_URL = TOKEN_URL
        return {"access_token": manager.get_access_token(as_dict=False)}


class SpotipyWithSecret(Spotipy):
    """SpotifyOAuth, which sends the secret by Basic authentication and no verifier."""

    name = "spotipy with a secret"

    def __init__(self) -> None:
        cache = MemoryCacheHandler()
        self.manager = SpotifyOAuth(CLIENT_ID, "unused", REDIRECT, "random", cache_handler=cache)
        self.manager.OAUTH_AUTHORIZE_URL = AUTHORIZE_URL
        self.manager.OAUTH_TOKEN_URL = TOKEN_URL

    def login(self) -> Tokens:
        code = self.manager.parse_response_code(agree(self.manager.get_authorize_url()))
        self.manager.get_access_token(code, as_dict=False, check_cache=False)
        return self.manager.cache_handler.get_cached_token()


class Tekore:
    """Has no option for the token URL: SwapSender sets it."""

    name = "tekore"
    lost = tekore.BadRequest, lambda problem: "invalid_grant" in str(problem)
    down = tekore.ServiceUnavailable, None

    def __init__(self) -> None:
        self.credentials = tekore.Credentials(
            CLIENT_ID, "unused", REDIRECT, sender=SwapSender(SERVICE)
        )

    def login(self) -> Tokens:
        url, verifier = self.credentials.pkce_user_authorisation(state="random")
        code = tekore.parse_code_from_url(agree(url))
        return self._both(self.credentials.request_pkce_token(code, verifier))

    def refresh(self, refresh_token: str) -> Tokens:
        return self._both(self.credentials.refresh_pkce_token(refresh_token))

    def client_credentials(self) -> Tokens:
        return self._both(self.credentials.request_client_token())

    @staticmethod
    def _both(token: tekore.Token) -> Tokens:
        return {"access_token": token.access_token, "refresh_token": token.refresh_token}


LIBRARIES = [Authlib, RequestsOAuthlib, Spotipy, SpotipyWithSecret, Tekore]


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.name)
def library(
    request: pytest.FixtureRequest,
    simulator: httpx.Client,  # noqa: ARG001 - reset first
    monkeypatch: pytest.MonkeyPatch,
) -> object:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # http on loopback
    return request.param()


def test_login(library: Authlib) -> None:
    tokens = library.login()
    assert tokens["access_token"].startswith("BQ")
    assert tokens["refresh_token"]


def test_refresh_twice(library: Authlib) -> None:
    first = library.login()
    second = library.refresh(first["refresh_token"])
    third = library.refresh(second["refresh_token"])
    assert len({tokens["access_token"] for tokens in (first, second, third)}) == 3


def test_lost_key(library: Authlib) -> None:
    error, check = library.lost
    with pytest.raises(error, check=check):
        library.refresh(os.environ["LOST_TOKEN"])


def test_spotify_down(library: Authlib, simulator: httpx.Client) -> None:
    token = library.login()["refresh_token"]
    fault = {"kind": "answer", "status": 503, "body": "no healthy upstream"}
    simulator.post("/admin/faults", json=fault).raise_for_status()
    error, check = library.down
    with pytest.raises(error, check=check):
        library.refresh(token)
    assert library.refresh(token)["access_token"].startswith("BQ")


def test_client_credentials(library: Authlib) -> None:
    assert library.client_credentials()["access_token"].startswith("BQ")
