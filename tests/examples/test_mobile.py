"""Send the token requests of clients that need a phone or .NET, byte for byte as they send them.

The bytes follow the sources of AppAuth-Android 0.11.1, AppAuth-iOS 1.7, react-native-app-auth
8.4.1, flutter_appauth, expo-spotify-sdk 1.0.0, rn-spotify-sdk 1.2.18, react-native-spotify-remote
0.3.10 (which is Spotify's iOS SDK) and SpotifyAPI-NET's TokenSwap. The order of AppAuth's fields is
that of a hash table; here, it is alphabetical.
"""

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, urlencode

import httpx
import pytest

from tests.chaos.processes import Service, Simulator
from tests.examples.conftest import APP_REDIRECT_URI
from tests.examples.test_libraries import rows
from tests.running import CLIENT_ID
from tests.simulator.requests import CHALLENGE, VERIFIER

Fields = dict[str, str]
FORM = "application/x-www-form-urlencoded"


def java(fields: Fields) -> str:
    """Encode as java.net.URLEncoder does: a space is `+`."""
    return urlencode(sorted(fields.items()))


def foundation(fields: Fields) -> str:
    """Encode as NSURLComponents does: a space is `%20`; `:`, `/` and `?` stay as they are."""
    pairs = (
        (name, quote(value, safe="-._~!$'()*,;:@/?")) for name, value in sorted(fields.items())
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


class Client(NamedTuple):
    """What a client sends: headers, encoding, paths, and fields besides code or refresh token."""

    headers: dict[str, str]
    encode: Callable[[Fields], str]
    login: Fields
    refresh: Fields
    paths: tuple[str, str] = ("/api/token", "/api/token")


ANDROID = {"Content-Type": FORM, "Accept": "application/json", "User-Agent": "Dalvik/2.1.0"}
IOS = {"Content-Type": f"{FORM}; charset=UTF-8", "Accept": "*/*", "User-Agent": "App/1 CFNetwork/3"}
PUBLIC = {"client_id": CLIENT_ID}
LOGIN = {
    "grant_type": "authorization_code",
    "redirect_uri": APP_REDIRECT_URI,
    "code_verifier": VERIFIER,
}
REFRESH = {"grant_type": "refresh_token"}
# Both wrappers send the redirect URI and the scopes also with a refresh.
WRAPPED = REFRESH | {"redirect_uri": APP_REDIRECT_URI, "scope": "user-read-email streaming"}
BASIC = {"Authorization": "Basic c2ltdWxhdG9yLWNsaWVudC1pZDp1bnVzZWQ="}  # …-client-id:unused

CLIENTS = {
    "AppAuth-Android": Client(ANDROID, java, LOGIN | PUBLIC, REFRESH | PUBLIC),
    "AppAuth-iOS": Client(IOS, foundation, LOGIN | PUBLIC, REFRESH | PUBLIC),
    "react-native-app-auth": Client(ANDROID, java, LOGIN | PUBLIC, WRAPPED | PUBLIC),
    "react-native-app-auth on iOS": Client(IOS, foundation, LOGIN | PUBLIC, WRAPPED | PUBLIC),
    "react-native-app-auth with a secret": Client(ANDROID | BASIC, java, LOGIN, WRAPPED),
    "flutter_appauth": Client(ANDROID, java, LOGIN | PUBLIC, WRAPPED | PUBLIC),
    "flutter_appauth on iOS": Client(IOS, foundation, LOGIN | PUBLIC, WRAPPED | PUBLIC),
    "expo-spotify-sdk": Client(
        {"Content-Type": FORM, "User-Agent": "expo-spotify-sdk/1.0.0"},
        java,
        {"redirect_uri": APP_REDIRECT_URI, **PUBLIC},
        PUBLIC,
        ("/swap", "/refresh"),
    ),
    "rn-spotify-sdk": Client(IOS, java, {}, {}, ("/swap", "/refresh")),
    "react-native-spotify-remote": Client(
        {"Content-Type": FORM}, foundation, {}, {}, ("/api/token", "/api/refresh_token")
    ),
    "SpotifyAPI-NET": Client(
        {"Content-Type": FORM, "Accept": "application/json"}, java, {}, {}, ("/swap", "/refresh")
    ),
}


@pytest.fixture(params=CLIENTS.items(), ids=lambda item: item[0])
def client(request: pytest.FixtureRequest) -> Client:
    return request.param[1]  # type: ignore[no-any-return]


def login(client: Client, service: Service, simulator: Simulator) -> httpx.Response:
    request = {"redirect_uri": APP_REDIRECT_URI}
    if "code_verifier" in client.login:
        request["code_challenge"] = CHALLENGE
    code = simulator.client.post("/admin/codes", json=request).json()["code"]
    body = client.encode(client.login | {"code": code})
    return service.client.post(client.paths[0], content=body, headers=client.headers)


def refresh(client: Client, service: Service, token: str) -> httpx.Response:
    body = client.encode(client.refresh | {"refresh_token": token})
    return service.client.post(client.paths[1], content=body, headers=client.headers)


def test_client_logs_in_and_refreshes_twice(
    client: Client, service: Service, simulator: Simulator
) -> None:
    tokens = [login(client, service, simulator).raise_for_status().json()]
    for _ in range(2):
        token = tokens[-1]["refresh_token"]
        tokens.append(refresh(client, service, token).raise_for_status().json())
    assert len({response["access_token"] for response in tokens}) == 3


def test_lost_key_is_invalid_grant(client: Client, service: Service, lost_token: str) -> None:
    """AppAuth reads `error` in the JSON of a 4xx; any other response is a network error to it."""
    response = refresh(client, service, lost_token)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert isinstance(response.json()["error_description"], str)


def test_outage_is_temporary(client: Client, service: Service, simulator: Simulator) -> None:
    token = login(client, service, simulator).json()["refresh_token"]
    simulator.queue_faults({"kind": "answer", "status": 503, "body": "no healthy upstream"})
    response = refresh(client, service, token)
    assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
    assert refresh(client, service, token).status_code == 200


def test_clients_match_the_table() -> None:
    documented = {row.library for row in rows() if row.version == "source"}
    clients = {re.sub(r" (on|with) .*", "", name) for name in CLIENTS}
    assert clients == documented
