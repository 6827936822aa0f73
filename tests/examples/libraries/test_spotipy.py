import os
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from spotipy import Spotify
from spotipy.cache_handler import MemoryCacheHandler
from spotipy.exceptions import SpotifyOauthError
from spotipy.oauth2 import SpotifyClientCredentials, SpotifyOAuth, SpotifyPKCE
from spotipy_swap import SwapSession

from .conftest import CLIENT_ID, SERVICE, SIMULATOR, Agree

REDIRECT = "http://127.0.0.1:8888/callback"
Grants = Callable[[], list[str]]
Last = Callable[[int], None]


def oauth() -> SpotifyOAuth:
    return SpotifyOAuth(
        CLIENT_ID,
        "unused",
        REDIRECT,
        state="random",
        scope="user-read-email",
        cache_handler=MemoryCacheHandler(),
        requests_session=SwapSession(SERVICE, "authorization-code-flow"),
    )


def pkce(redirect: str = REDIRECT) -> SpotifyPKCE:
    return SpotifyPKCE(
        CLIENT_ID,
        redirect,
        state="random",
        scope="user-read-email",
        cache_handler=MemoryCacheHandler(),
        requests_session=SwapSession(SERVICE),
    )


def test_pkce_logs_in_and_refreshes_with_the_newest_token(
    agree: Agree, last: Last, grants: Grants
) -> None:
    last(30)  # seconds, of which spotipy wants 60
    manager = pkce()
    code = manager.parse_response_code(agree(manager.get_authorize_url()))
    seen = {manager.get_access_token(code, check_cache=False)}
    kept = {manager.cache_handler.get_cached_token()["refresh_token"]}
    for _ in range(2):
        seen.add(manager.get_access_token())
        kept.add(manager.cache_handler.get_cached_token()["refresh_token"])
    assert (len(seen), len(kept)) == (3, 3)
    spotify = Spotify(auth_manager=manager)
    spotify.prefix = f"{SIMULATOR}/v1/"
    assert spotify.me()["email"] == "alice@example.com"
    # spotipy refreshes twice a call where the refreshed token is as short-lived.
    assert set(grants()[1:]) == {"refresh_token"}


def test_the_authorization_code_flow_refreshes_and_keeps_its_token(
    agree: Agree, last: Last, grants: Grants
) -> None:
    last(0)
    manager = oauth()
    code = manager.parse_response_code(agree(manager.get_authorize_url()))
    first = manager.get_access_token(code, as_dict=False, check_cache=False)
    kept = manager.cache_handler.get_cached_token()["refresh_token"]
    last(3600)
    fresh = manager.get_access_token(as_dict=False)
    assert fresh != first
    assert fresh == manager.get_access_token(as_dict=False)
    assert manager.cache_handler.get_cached_token()["refresh_token"] == kept
    assert grants() == ["authorization_code", "refresh_token"]


def test_its_own_basic_header_reaches_the_service_and_nobody_else(
    agree: Agree, simulator: httpx.Client
) -> None:
    """The secret is the service's: what spotipy sends as one is not looked at."""
    sent: list[str] = []
    manager = oauth()
    manager._session.hooks["response"].append(  # noqa: SLF001 - the session given to it
        lambda answer, **_: sent.append(answer.request.headers["Authorization"])
    )
    code = manager.parse_response_code(agree(manager.get_authorize_url()))
    token = manager.get_access_token(code, check_cache=False, as_dict=False)
    manager.refresh_access_token(manager.cache_handler.get_cached_token()["refresh_token"])
    assert token
    assert [header.partition(" ")[0] for header in sent] == ["Basic", "Basic"]
    entries = simulator.get("/admin/requests").json()
    seen = [value for entry in entries for _, value in entry["headers"]]
    assert not set(sent) & set(seen)


def test_client_credentials_come_from_the_service(last: Last) -> None:
    last(3600)
    manager = SpotifyClientCredentials(
        CLIENT_ID,
        "unused",
        cache_handler=MemoryCacheHandler(),
        requests_session=SwapSession(SERVICE, "client-credentials-flow"),
    )
    token = manager.get_access_token(as_dict=False)
    assert token.startswith("BQ")
    assert manager.get_access_token(as_dict=False) == token


def test_its_own_login_by_browser_and_loopback_port_ends_at_the_service(
    monkeypatch: pytest.MonkeyPatch, grants: Grants
) -> None:
    person = Path("tests/examples/person.py").resolve()
    monkeypatch.setitem(os.environ, "BROWSER", f"{person} %s &")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    manager = pkce(f"http://127.0.0.1:{port}/callback")
    manager.OAUTH_AUTHORIZE_URL = f"{SIMULATOR}/authorize"
    assert manager.get_access_token().startswith("BQ")
    assert grants() == ["authorization_code"]


def test_errors_are_told_apart_by_their_error() -> None:
    manager = pkce()
    manager.get_pkce_handshake_parameters()
    with pytest.raises(SpotifyOauthError) as theirs:
        manager.get_access_token("no-such-code", check_cache=False)
    assert theirs.value.error == "invalid_grant"
    with pytest.raises(SpotifyOauthError) as ours:
        manager.refresh_access_token("sealed-by-somebody-else")
    assert ours.value.error is True
