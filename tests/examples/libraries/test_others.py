"""tekore, authlib and requests-oauthlib: login and refresh."""

import time
from collections.abc import Callable

import pytest
import tekore
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from requests_oauthlib import OAuth2Session
from tekore_swap import SwapSender

from .conftest import CLIENT_ID, CODE, PKCE, SERVICE, SIMULATOR, Agree

REDIRECT = "http://127.0.0.1:8888/callback"
Grants = Callable[[], list[str]]
Last = Callable[[int], None]


@pytest.mark.parametrize("is_pkce", [True, False], ids=["PKCE", "secret"])
def test_tekore_logs_in_and_refreshes(
    agree: Agree, last: Last, grants: Grants, *, is_pkce: bool
) -> None:
    last(30)  # seconds, of which tekore wants 60
    flow = "authorization-code-flow-pkce" if is_pkce else "authorization-code-flow"
    credentials = tekore.RefreshingCredentials(
        CLIENT_ID, "unused", REDIRECT, SwapSender(SERVICE, flow)
    )
    if is_pkce:
        url, verifier = credentials.pkce_user_authorisation(state="random")
        code = tekore.parse_code_from_url(agree(url))
        token = credentials.request_pkce_token(code, verifier)
    else:
        code = tekore.parse_code_from_url(agree(credentials.user_authorisation_url()))
        token = credentials.request_user_token(code)
    assert len({token.access_token for _ in range(3)}) == 3
    assert grants() == ["authorization_code", *["refresh_token"] * 3]


def test_tekore_gets_the_apps_own_token(grants: Grants) -> None:
    sender = SwapSender(SERVICE, "client-credentials-flow")
    credentials = tekore.Credentials(CLIENT_ID, "unused", sender=sender)
    assert credentials.request_client_token().access_token.startswith("BQ")
    assert set(grants()) <= {"client_credentials"}  # or it is one that the service had


def test_authlib_logs_in_and_refreshes(agree: Agree, last: Last, grants: Grants) -> None:
    last(30)  # seconds, of which authlib wants 60
    saved: list[dict[str, str]] = []
    with AuthlibSession(
        CLIENT_ID,
        redirect_uri=REDIRECT,
        code_challenge_method="S256",
        token_endpoint=f"{PKCE}/refresh-tokens",
        update_token=lambda token, **_: saved.append(token),
    ) as client:
        verifier = "v" * 43
        url, state = client.create_authorization_url(
            "https://accounts.spotify.com/authorize", code_verifier=verifier
        )
        first = client.fetch_token(
            f"{PKCE}/retrieve-tokens",
            authorization_response=agree(url),
            state=state,
            code_verifier=verifier,
        )
        client.get(f"{SIMULATOR}/healthz").raise_for_status()
    [fresh] = saved
    assert fresh["access_token"] != first["access_token"]
    assert fresh["refresh_token"] != first["refresh_token"]
    assert grants() == ["authorization_code", "refresh_token"]


@pytest.mark.parametrize("flow", [PKCE, CODE])
def test_requests_oauthlib_logs_in_and_refreshes(
    agree: Agree, last: Last, grants: Grants, monkeypatch: pytest.MonkeyPatch, flow: str
) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # loopback
    last(1)
    saved: list[dict[str, str]] = []
    with OAuth2Session(
        CLIENT_ID,
        redirect_uri=REDIRECT,
        pkce="S256" if flow == PKCE else None,
        auto_refresh_url=f"{flow}/refresh-tokens",
        token_updater=saved.append,
    ) as session:
        url, _ = session.authorization_url("https://accounts.spotify.com/authorize")
        first = session.fetch_token(f"{flow}/retrieve-tokens", authorization_response=agree(url))
        time.sleep(1.6)  # it counts from the nearest second
        session.get(f"{SIMULATOR}/healthz").raise_for_status()
    [fresh] = saved
    assert fresh["access_token"] != first["access_token"]
    assert grants() == ["authorization_code", "refresh_token"]
