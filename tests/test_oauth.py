"""The OAuth 2.0 endpoints over HTTP; test_responses.py has the rules for Spotify's errors."""

import base64
from collections.abc import Iterator

import httpx
import pytest

from service.sealing import Sealer
from tests.conftest import LogLines, Start
from tests.flows import (
    CODE,
    MISSING_REDIRECT_URI,
    NOT_ALLOWED,
    PKCE_REFRESH,
    SEALER,
    Serve,
    assert_refused,
    queue_faults,
    recorded,
    sent_form,
    services,
    valid_form,
)
from tests.running import CLIENT_ID, CLIENT_SECRET, SECRET_KEY, wait_until
from tests.scraping import measured
from tests.simulator.requests import CHALLENGE, REDIRECT_URI, VERIFIER, minted_code

TOKEN = "/api/token"
ALIASES = (TOKEN, "/api/refresh_token", "/swap", "/refresh")
METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
def serve(simulator_url: str) -> Iterator[Serve]:
    with services(simulator_url) as serve:
        yield serve


@pytest.fixture
def client(serve: Serve, simulator: httpx.Client) -> httpx.Client:
    """Return a client of the service with default settings, shared by the tests here."""
    return serve(SPOTIFY_AUTHORIZE_URL=str(simulator.base_url.join("/authorize")))


def refresh_form(simulator: httpx.Client) -> dict[str, str]:
    return {"grant_type": "refresh_token", **valid_form(simulator, PKCE_REFRESH)}


def code_form(simulator: httpx.Client, **challenge: str) -> dict[str, str]:
    code = minted_code(simulator, **challenge)
    return {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}


def assert_oauth_error(response: httpx.Response, status: int, error: str) -> None:
    """Compare with RFC 6749, section 5.2."""
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert set(response.json()) == {"error", "error_description"}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"


# Success -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ALIASES)
def test_every_path_refreshes(client: httpx.Client, simulator: httpx.Client, path: str) -> None:
    simulator.patch("/admin/settings", json={"rotation": "off"}).raise_for_status()
    response = client.post(path, data=refresh_form(simulator))
    assert response.status_code == 200
    assert SEALER.open(response.json()["refresh_token"]).token.startswith("AQ")
    assert "expiration_date" in response.json()


def test_code_with_a_verifier_is_the_pkce_request(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    form = code_form(simulator, code_challenge=CHALLENGE) | {"code_verifier": VERIFIER}
    assert client.post(TOKEN, data=form).status_code == 200
    sent = dict(recorded(simulator)[-1]["form"])
    assert sent["code_verifier"] == VERIFIER
    assert "client_secret" not in sent


def test_code_without_a_verifier_is_the_plain_request(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    assert client.post(TOKEN, data=code_form(simulator)).status_code == 200
    assert dict(recorded(simulator)[-1]["form"])["client_secret"] == CLIENT_SECRET


def test_client_credentials_return_the_app_token(client: httpx.Client) -> None:
    response = client.post(TOKEN, data={"grant_type": "client_credentials", "scope": "ignored"})
    assert response.status_code == 200
    assert "refresh_token" not in response.json()


def test_without_grant_type_the_fields_determine_it(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    for form in (refresh_form(simulator), code_form(simulator)):
        del form["grant_type"]
        assert client.post(TOKEN, data=form).status_code == 200


def test_json_and_multipart_are_accepted(client: httpx.Client, simulator: httpx.Client) -> None:
    assert client.post(TOKEN, json=refresh_form(simulator)).status_code == 200
    files = {name: (None, value) for name, value in refresh_form(simulator).items()}
    assert client.post(TOKEN, files=files).status_code == 200


@pytest.mark.parametrize(
    ("form", "auth"),
    [
        ({"client_id": CLIENT_ID}, None),
        ({"client_id": CLIENT_ID, "client_secret": "any"}, None),
        ({}, (CLIENT_ID, "any")),
        ({}, (CLIENT_ID.replace("-", "%2D"), "")),
    ],
)
def test_our_client_id_is_accepted_and_no_secret_is_needed(
    client: httpx.Client,
    simulator: httpx.Client,
    form: dict[str, str],
    auth: tuple[str, str] | None,
) -> None:
    response = client.post(TOKEN, data=refresh_form(simulator) | form, auth=auth)  # type: ignore[arg-type]  # httpx leaves None out of its type
    assert response.status_code == 200
    pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    assert ["Authorization", f"Basic {pair}"] in recorded(simulator)[-1]["headers"]


def test_token_of_a_previous_key_moves_to_the_current_key(
    serve: Serve, simulator: httpx.Client
) -> None:
    simulator.patch("/admin/settings", json={"rotation": "off"}).raise_for_status()
    client = serve(SECRET_KEY="a-newer-secret-key-0123456789", SECRET_KEYS_PREVIOUS=SECRET_KEY)
    response = client.post(TOKEN, data=refresh_form(simulator)).json()
    assert not Sealer("a-newer-secret-key-0123456789").open(response["refresh_token"]).stale


# Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh token", "refresh_token": "x"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, 400, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "AAAA"}, 400, "invalid_grant"),
        ({"grant_type": "authorization_code"}, 400, "invalid_request"),
        ({"grant_type": "authorization_code", "code": "x"}, 400, "invalid_request"),
        ({"client_id": "another", "refresh_token": "AAAA"}, 401, "invalid_client"),
        ({"refresh_token": ["a", "b"]}, 400, "invalid_request"),
    ],
    ids=str,
)
def test_bad_request_is_refused(
    client: httpx.Client, form: dict[str, str], status: int, error: str
) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_oauth_error(client.post(TOKEN, data=form, headers=headers), status, error)


@pytest.mark.parametrize("credentials", [("another", "x"), None])
def test_other_basic_client_is_401_with_a_challenge(
    client: httpx.Client, simulator: httpx.Client, credentials: tuple[str, str] | None
) -> None:
    malformed = {} if credentials else {"Authorization": "Basic %%%"}
    response = client.post(TOKEN, data=refresh_form(simulator), auth=credentials, headers=malformed)  # type: ignore[arg-type]
    assert_oauth_error(response, 401, "invalid_client")
    assert response.headers["www-authenticate"].startswith("Basic ")
    assert recorded(simulator) == []


def test_every_authorization_header_is_checked(client: httpx.Client) -> None:
    def basic(user: str, space: str = " ") -> tuple[str, str]:
        return "Authorization", f"Basic{space}{base64.b64encode(f'{user}:x'.encode()).decode()}"

    for sent in [basic(CLIENT_ID), basic("another")], [basic("another", "\t")]:
        response = client.post(TOKEN, data={"grant_type": "client_credentials"}, headers=sent)
        assert_oauth_error(response, 401, "invalid_client")


def test_http_errors_are_oauth_errors(client: httpx.Client) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_oauth_error(client.get(TOKEN), 405, "invalid_request")
    assert_oauth_error(client.post(f"{TOKEN}/", content="x"), 415, "invalid_request")
    assert_oauth_error(
        client.post(TOKEN, content=b"x" * 16384, headers=form), 413, "invalid_request"
    )


@pytest.mark.parametrize("path", ["//api/token", "/api//token/", "/api/token//", "/%61pi%2ftoken"])
def test_other_spellings_of_the_path_are_404(client: httpx.Client, path: str) -> None:
    url = httpx.URL(str(client.base_url).rstrip("/") + path)
    assert_oauth_error(client.post(url), 404, "invalid_request")


def test_disabled_flow_is_unauthorized_client(serve: Serve) -> None:
    client = serve(CLIENT_CREDENTIALS_ENABLED="false")
    response = client.post(TOKEN, data={"grant_type": "client_credentials"})
    assert_oauth_error(response, 400, "unauthorized_client")


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"kind": "answer", "status": 500, "body": "<h1>Oops</h1>"}, 500, "server_error"),
        ({"kind": "garbage"}, 502, "temporarily_unavailable"),
    ],
    ids=["error", "unusable success"],
)
def test_upstream_failures_become_oauth_errors(
    client: httpx.Client,
    simulator: httpx.Client,
    fault: dict[str, object],
    status: int,
    error: str,
) -> None:
    form = refresh_form(simulator)
    queue_faults(simulator, fault)
    assert_oauth_error(client.post(TOKEN, data=form), status, error)


def test_spotifys_oauth_errors_are_forwarded(client: httpx.Client, simulator: httpx.Client) -> None:
    form = refresh_form(simulator) | {"refresh_token": SEALER.seal("unknown")}
    response = client.post(TOKEN, data=form)
    assert_oauth_error(response, 400, "invalid_grant")
    assert response.json()["error_description"] == "Invalid refresh token"


def test_pause_is_temporarily_unavailable(start: Start, simulator: httpx.Client) -> None:
    client = start()
    queue_faults(simulator, {"kind": "ratelimit", "retry_after": 900})
    for _ in range(2):  # Spotify's own response, then ours
        response = client.post(TOKEN, data=refresh_form(simulator))
        assert_oauth_error(response, 429, "temporarily_unavailable")
        assert 0 < int(response.headers["retry-after"]) <= 900


def test_rate_limit_is_temporarily_unavailable(start: Start, simulator: httpx.Client) -> None:
    client = start(RATE_LIMIT="1/day")
    assert client.post(TOKEN, data=refresh_form(simulator)).status_code == 200
    response = client.post(TOKEN, data=refresh_form(simulator))
    assert_oauth_error(response, 429, "temporarily_unavailable")
    assert int(response.headers["retry-after"]) > 0


# The login -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("client_id=x&scope=a%20b&state=%C3%A9", "client_id=x&scope=a%20b&state=%C3%A9"),
        ("scope=a+b", f"scope=a+b&client_id={CLIENT_ID}"),
        ("", f"client_id={CLIENT_ID}"),
    ],
)
def test_authorize_redirects_with_the_query_unchanged(
    client: httpx.Client, simulator_url: str, query: str, location: str
) -> None:
    response = client.get(f"/authorize?{query}")
    assert (response.status_code, response.content) == (302, b"")
    assert response.headers["location"] == f"{simulator_url}/authorize?{location}"


def test_head_is_accepted(start: Start) -> None:
    client = start(PUBLIC_URL="https://tokens.example.com")
    assert [client.head(path).status_code for path in ("/authorize", METADATA)] == [302, 200]


def test_query_of_authorize_is_not_logged(client: httpx.Client, log_lines: LogLines) -> None:
    client.get("/authorize?state=a-secret-state")
    [line] = log_lines.requests()
    assert (line["route"], line["status"]) == ("/authorize", 302)
    own = [line for line in log_lines.lines if line.get("logger") != "httpx"]  # the test's client
    assert "a-secret-state" not in str(own)


# Discovery and paths -------------------------------------------------------------------------


def test_metadata_of_the_server(start: Start) -> None:
    client = start(PUBLIC_URL="https://tokens.example.com/")
    document = client.get(METADATA).json()
    assert document["issuer"] == "https://tokens.example.com"
    assert document["token_endpoint"] == "https://tokens.example.com/api/token"
    assert document["authorization_endpoint"] == "https://tokens.example.com/authorize"
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert "client_credentials" in document["grant_types_supported"]


def test_metadata_is_404_without_a_public_url(client: httpx.Client) -> None:
    assert client.get(METADATA).status_code == 404


def test_base_path_applies_to_all_paths_but_the_probes(
    start: Start, simulator: httpx.Client
) -> None:
    client = start(BASE_PATH="/spotify", PUBLIC_URL="https://example.com/spotify")
    assert client.get("/spotify/").text == "success"
    assert client.post("/spotify/swap", data=refresh_form(simulator)).status_code == 200
    assert client.post(
        f"/spotify{PKCE_REFRESH}", data=valid_form(simulator, PKCE_REFRESH)
    ).is_success
    assert client.get("/spotify/authorize").status_code == 302
    for path in (f"/spotify{METADATA}", f"{METADATA}/spotify"):
        assert client.get(path).json()["issuer"] == "https://example.com/spotify"
    assert client.get("/healthz").status_code == 200
    assert [client.get(path).status_code for path in ("/", "/spotify/healthz")] == [404, 404]


# The redirect URI in a URL -------------------------------------------------------------------


def test_redirect_uri_in_the_query_must_be_allowed(serve: Serve, simulator: httpx.Client) -> None:
    client = serve(ALLOWED_REDIRECT_URIS=REDIRECT_URI)
    for path in (CODE, "/swap"):
        form = {"code": minted_code(simulator)}
        query = {"redirect_uri": REDIRECT_URI}
        assert client.post(path, params=query, data=form).status_code == 200
    for sent in ("other://x", REDIRECT_URI.upper()):
        response = client.post(CODE, params={"redirect_uri": sent}, data={"code": "x"})
        assert_refused(response, 400, NOT_ALLOWED)


def test_repeated_redirect_uri_in_the_query_is_refused(serve: Serve) -> None:
    client = serve(ALLOWED_REDIRECT_URIS=REDIRECT_URI)
    response = client.post(CODE, params={"redirect_uri": [REDIRECT_URI] * 2}, data={"code": "x"})
    assert_refused(response, 400, "The value for key 'redirect_uri' is repeated.")


def test_redirect_uri_of_the_body_wins_over_the_query(
    serve: Serve, simulator: httpx.Client
) -> None:
    client = serve(ALLOWED_REDIRECT_URIS=f"{REDIRECT_URI},other://x")
    form = {"code": "x", "redirect_uri": REDIRECT_URI}
    client.post(CODE, params={"redirect_uri": "other://x"}, data=form)
    assert sent_form(simulator)["redirect_uri"] == REDIRECT_URI


def test_empty_redirect_uri_in_the_query_is_ignored(client: httpx.Client) -> None:
    for query in ("redirect_uri=", "x=y"):
        response = client.post(f"{CODE}?{query}", data={"code": "x"})
        assert_refused(response, 400, MISSING_REDIRECT_URI)


def test_redirect_uri_in_the_query_is_refused_without_a_list(client: httpx.Client) -> None:
    response = client.post(CODE, params={"redirect_uri": REDIRECT_URI}, data={"code": "x"})
    assert_refused(response, 400, NOT_ALLOWED)


# Metrics -------------------------------------------------------------------------------------


def test_metrics_distinguish_the_endpoints(start: Start, simulator: httpx.Client) -> None:
    service = measured(start)
    service.client.post(TOKEN, data=refresh_form(simulator))
    service.client.post(TOKEN, data={"grant_type": "password"})
    service.client.post(PKCE_REFRESH, data=valid_form(simulator, PKCE_REFRESH))
    wait_until(lambda: service.requests() == {"pkce_refresh success": 2})
    name = 'spotify_api_server_endpoint_requests_total{{endpoint="{}",outcome="{}"}}'
    samples = service.scrape()
    assert samples[name.format("oauth", "success")] == 1
    assert samples[name.format("oauth", "rejected")] == 1
    assert samples[name.format("original", "success")] == 1
