"""The OAuth 2.0 endpoint: what any OAuth client library sends and gets."""

import base64
from collections.abc import Iterator

import httpx
import pytest

from service.sealing import Sealer
from tests.conftest import LogLines, Start
from tests.running import CLIENT_ID, CLIENT_SECRET, SECRET_KEY
from tests.simulator.requests import CHALLENGE, REDIRECT_URI, VERIFIER, minted_code
from tests.test_metrics import measured
from tests.test_routes import (
    PKCE_REFRESH,
    SEALER,
    Serve,
    good_form,
    order,
    recorded,
    services,
)

TOKEN = "/api/token"
ALIASES = (TOKEN, "/api/refresh_token", "/swap", "/refresh")
METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
def serve(simulator_url: str) -> Iterator[Serve]:
    with services(simulator_url) as serve:
        yield serve


@pytest.fixture
def client(serve: Serve, simulator: httpx.Client) -> httpx.Client:
    """Return a client of the service with default settings, which all tests here share."""
    return serve(SPOTIFY_AUTHORIZE_URL=str(simulator.base_url.join("/authorize")))


def refresh_form(simulator: httpx.Client) -> dict[str, str]:
    return {"grant_type": "refresh_token", **good_form(simulator, PKCE_REFRESH)}


def code_form(simulator: httpx.Client, **challenge: str) -> dict[str, str]:
    code = minted_code(simulator, **challenge)
    return {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}


def assert_oauth_error(answer: httpx.Response, status: int, error: str) -> None:
    """Compare with RFC 6749, section 5.2."""
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


# Success -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ALIASES)
def test_a_refresh_returns_a_sealed_refresh_token(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    simulator.patch("/admin/settings", json={"rotation": "off"}).raise_for_status()
    answer = client.post(path, data=refresh_form(simulator))
    assert answer.status_code == 200
    assert SEALER.open(answer.json()["refresh_token"]).token.startswith("AQ")
    assert "expiration_date" in answer.json()


def test_a_code_with_a_verifier_is_the_pkce_request(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    form = code_form(simulator, code_challenge=CHALLENGE) | {"code_verifier": VERIFIER}
    assert client.post(TOKEN, data=form).status_code == 200
    sent = dict(recorded(simulator)[-1]["form"])
    assert sent["code_verifier"] == VERIFIER
    assert "client_secret" not in sent


def test_a_code_without_a_verifier_is_the_plain_request(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    assert client.post(TOKEN, data=code_form(simulator)).status_code == 200
    assert dict(recorded(simulator)[-1]["form"])["client_secret"] == CLIENT_SECRET


def test_client_credentials_return_the_app_token(client: httpx.Client) -> None:
    answer = client.post(TOKEN, data={"grant_type": "client_credentials", "scope": "ignored"})
    assert answer.status_code == 200
    assert "refresh_token" not in answer.json()


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
    answer = client.post(TOKEN, data=refresh_form(simulator) | form, auth=auth)  # type: ignore[arg-type]  # httpx leaves None out of its type
    assert answer.status_code == 200
    pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    assert ["Authorization", f"Basic {pair}"] in recorded(simulator)[-1]["headers"]


def test_a_token_of_a_previous_key_moves_to_the_current_one(
    serve: Serve, simulator: httpx.Client
) -> None:
    simulator.patch("/admin/settings", json={"rotation": "off"}).raise_for_status()
    client = serve(SECRET_KEY="a-newer-secret-key-0123456789", SECRET_KEYS_PREVIOUS=SECRET_KEY)
    answer = client.post(TOKEN, data=refresh_form(simulator)).json()
    assert not Sealer("a-newer-secret-key-0123456789").open(answer["refresh_token"]).stale


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
def test_bad_requests(client: httpx.Client, form: dict[str, str], status: int, error: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_oauth_error(client.post(TOKEN, data=form, headers=headers), status, error)


@pytest.mark.parametrize("credentials", [("another", "x"), None])
def test_another_client_by_basic_is_401_with_a_challenge(
    client: httpx.Client, simulator: httpx.Client, credentials: tuple[str, str] | None
) -> None:
    malformed = {} if credentials else {"Authorization": "Basic %%%"}
    answer = client.post(TOKEN, data=refresh_form(simulator), auth=credentials, headers=malformed)  # type: ignore[arg-type]
    assert_oauth_error(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert recorded(simulator) == []


def test_each_of_several_authorizations_has_to_be_ours(client: httpx.Client) -> None:
    def basic(user: str, space: str = " ") -> tuple[str, str]:
        return "Authorization", f"Basic{space}{base64.b64encode(f'{user}:x'.encode()).decode()}"

    for sent in [basic(CLIENT_ID), basic("another")], [basic("another", "\t")]:
        answer = client.post(TOKEN, data={"grant_type": "client_credentials"}, headers=sent)
        assert_oauth_error(answer, 401, "invalid_client")


def test_errors_of_http_have_the_same_form(client: httpx.Client) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_oauth_error(client.get(TOKEN), 405, "invalid_request")
    assert_oauth_error(client.post(f"{TOKEN}/", content="x"), 415, "invalid_request")
    assert_oauth_error(
        client.post(TOKEN, content=b"x" * 16384, headers=form), 413, "invalid_request"
    )


@pytest.mark.parametrize("path", ["//api/token", "/api//token/", "/api/token//", "/%61pi%2ftoken"])
def test_other_spellings_of_the_path_are_a_404_in_the_same_form(
    client: httpx.Client, path: str
) -> None:
    url = httpx.URL(str(client.base_url).rstrip("/") + path)
    assert_oauth_error(client.post(url), 404, "invalid_request")


def test_a_disabled_flow_is_unauthorized_client(serve: Serve) -> None:
    client = serve(CLIENT_CREDENTIALS_ENABLED="false")
    answer = client.post(TOKEN, data={"grant_type": "client_credentials"})
    assert_oauth_error(answer, 400, "unauthorized_client")


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        (
            {"kind": "answer", "status": 503, "body": "no healthy upstream"},
            503,
            "temporarily_unavailable",
        ),
        ({"kind": "answer", "status": 500, "body": "<h1>Oops</h1>"}, 500, "server_error"),
        (
            {"kind": "answer", "status": 401, "body": '{"error":{"status":401}}'},
            401,
            "invalid_client",
        ),
        ({"kind": "answer", "status": 400, "body": "[]"}, 400, "invalid_request"),
        ({"kind": "garbage"}, 502, "temporarily_unavailable"),
        ({"kind": "redirect"}, 502, "temporarily_unavailable"),
    ],
    ids=str,
)
def test_upstream_errors_become_oauth_errors(
    client: httpx.Client,
    simulator: httpx.Client,
    fault: dict[str, object],
    status: int,
    error: str,
) -> None:
    form = refresh_form(simulator)
    order(simulator, fault)
    assert_oauth_error(client.post(TOKEN, data=form), status, error)


def test_spotifys_oauth_errors_pass_unchanged(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    body = '{"error_description":"Refresh token revoked", "error":"invalid_grant"}'
    form = refresh_form(simulator)
    headers = [["Content-Type", "text/plain"], ["X-Passed", "1"]]
    order(simulator, {"kind": "answer", "status": 400, "body": body, "headers": headers})
    answer = client.post(TOKEN, data=form)
    assert (answer.status_code, answer.text) == (400, body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-passed"] == "1"


def test_a_pause_of_spotifys_is_temporarily_unavailable(
    start: Start, simulator: httpx.Client
) -> None:
    client = start()
    order(simulator, {"kind": "ratelimit", "retry_after": 900})
    for _ in range(2):  # Spotify's own response, then ours
        answer = client.post(TOKEN, data=refresh_form(simulator))
        assert_oauth_error(answer, 429, "temporarily_unavailable")
        assert 890 <= int(answer.headers["retry-after"]) <= 900


def test_the_rate_limit_is_temporarily_unavailable(start: Start, simulator: httpx.Client) -> None:
    client = start(RATE_LIMIT="1/minute")
    assert client.post(TOKEN, data=refresh_form(simulator)).status_code == 200
    answer = client.post(TOKEN, data=refresh_form(simulator))
    assert_oauth_error(answer, 429, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0


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
    answer = client.get(f"/authorize?{query}")
    assert (answer.status_code, answer.content) == (302, b"")
    assert answer.headers["location"] == f"{simulator_url}/authorize?{location}"


def test_head_works_where_get_does(start: Start) -> None:
    client = start(PUBLIC_URL="https://tokens.example.com")
    assert [client.head(path).status_code for path in ("/authorize", METADATA)] == [302, 200]


def test_the_query_of_a_login_is_never_logged(client: httpx.Client, log_lines: LogLines) -> None:
    client.get("/authorize?state=a-secret-state")
    [line] = log_lines.requests()
    assert (line["route"], line["status"]) == ("/authorize", 302)
    own = [line for line in log_lines.lines if line.get("logger") != "httpx"]  # the test's client
    assert "a-secret-state" not in str(own)


# Discovery and paths -------------------------------------------------------------------------


def test_metadata_describes_the_server(start: Start) -> None:
    client = start(PUBLIC_URL="https://tokens.example.com/")
    document = client.get(METADATA).json()
    assert document["issuer"] == "https://tokens.example.com"
    assert document["token_endpoint"] == "https://tokens.example.com/api/token"
    assert document["authorization_endpoint"] == "https://tokens.example.com/authorize"
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert "client_credentials" in document["grant_types_supported"]


def test_without_a_public_url_there_is_no_metadata(client: httpx.Client) -> None:
    assert client.get(METADATA).status_code == 404


def test_a_base_path_is_before_every_path_but_the_probes(
    start: Start, simulator: httpx.Client
) -> None:
    client = start(BASE_PATH="/spotify", PUBLIC_URL="https://example.com/spotify")
    assert client.get("/spotify/").text == "success"
    assert client.post("/spotify/swap", data=refresh_form(simulator)).status_code == 200
    assert client.post(
        f"/spotify{PKCE_REFRESH}", data=good_form(simulator, PKCE_REFRESH)
    ).is_success
    assert client.get("/spotify/authorize").status_code == 302
    for path in (f"/spotify{METADATA}", f"{METADATA}/spotify"):
        assert client.get(path).json()["issuer"] == "https://example.com/spotify"
    assert client.get("/healthz").status_code == 200
    assert [client.get(path).status_code for path in ("/", "/spotify/healthz")] == [404, 404]


# The redirect URI in a URL -------------------------------------------------------------------


def test_a_redirect_uri_in_the_query_counts_if_it_is_allowed(
    serve: Serve, simulator: httpx.Client
) -> None:
    path = "/authorization-code-flow/retrieve-tokens"
    client = serve(ALLOWED_REDIRECT_URIS=REDIRECT_URI)
    for endpoint in (path, "/swap"):
        form = {"code": minted_code(simulator)}
        answer = client.post(endpoint, params={"redirect_uri": REDIRECT_URI}, data=form)
        assert answer.status_code == 200
    other = client.post(path, params={"redirect_uri": "other://x"}, data={"code": "x"})
    assert other.status_code == 400


def test_a_redirect_uri_in_the_query_does_not_count_without_a_list(client: httpx.Client) -> None:
    path = "/authorization-code-flow/retrieve-tokens"
    answer = client.post(path, params={"redirect_uri": REDIRECT_URI}, data={"code": "x"})
    assert answer.status_code == 400


# Metrics -------------------------------------------------------------------------------------


def test_metrics_count_the_endpoint(start: Start, simulator: httpx.Client) -> None:
    service = measured(start)
    service.client.post(TOKEN, data=refresh_form(simulator))
    service.client.post(TOKEN, data={"grant_type": "password"})
    service.client.post(PKCE_REFRESH, data=good_form(simulator, PKCE_REFRESH))
    name = 'spotify_api_server_endpoint_requests_total{{endpoint="{}",outcome="{}"}}'
    samples = service.scrape()
    assert samples[name.format("oauth", "success")] == 1
    assert samples[name.format("oauth", "rejected")] == 1
    assert samples[name.format("original", "success")] == 1
    assert service.requests() == {"pkce_refresh success": 2}
