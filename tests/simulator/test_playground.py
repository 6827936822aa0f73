"""The playground as files and headers; tests/browser has it in Chromium."""

import httpx

from simulator.accounts import Accounts, RegisteredApp
from simulator.app import create_app, create_playground
from simulator.playground_page import FILES, Playground
from simulator.scopes import MEANINGS
from simulator.server import running

SPOTIFY = Playground(
    service_url="https://swap.example/spotify",
    client_id="my-app",
    authorize_url="https://accounts.spotify.com/authorize",
    web_api_url="https://api.spotify.com/v1",
    simulated=False,
)


def policy_of(response: httpx.Response) -> dict[str, str]:
    directives = response.headers["content-security-policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


def test_page_runs_its_own_scripts_and_calls_the_service_only(client: httpx.Client) -> None:
    response = client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = policy_of(response)
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self' http://127.0.0.1:7000"
    assert policy["require-trusted-types-for"] == "'script'"


def test_page_with_a_code_in_its_query_is_not_stored(client: httpx.Client) -> None:
    headers = client.get("/?code=any&state=any").headers
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"


def test_files_have_their_media_type_and_are_revalidated(client: httpx.Client) -> None:
    for path in sorted(FILES.iterdir()):
        types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
        response = client.get(f"/playground/{path.name}")
        assert response.content == path.read_bytes()
        assert response.headers["content-type"].startswith(types.get(path.suffix, "text/html"))
        assert "no-cache" in response.headers["cache-control"]


def test_nothing_outside_the_folder_is_served(client: httpx.Client) -> None:
    for path in ("/playground/../app.py", "/playground/%2e%2e/app.py", "/playground/"):
        assert client.get(path).status_code == 404


def test_page_gets_the_urls_from_the_simulator(client: httpx.Client) -> None:
    assert client.get("/playground.json").json() == {
        "service_url": "http://127.0.0.1:7000",
        "client_id": "simulator-client-id",
        "authorize_url": "/authorize",
        "web_api_url": "/v1",
        "simulated": True,
        "scopes": dict(MEANINGS),
    }


def test_app_and_service_of_the_page_are_configurable() -> None:
    app = create_app(Accounts(RegisteredApp(client_id="mine")), "http://[::1]:7010")
    with running(app) as url:
        page = httpx.get(f"{url}/playground.json", trust_env=False).json()
        policy = policy_of(httpx.get(url, trust_env=False))
    assert (page["client_id"], page["service_url"]) == ("mine", "http://[::1]:7010")
    assert policy["connect-src"] == "'self' http:"  # a policy cannot name [::1]


def test_playground_for_the_real_spotify_simulates_nothing() -> None:
    with running(create_playground(SPOTIFY)) as url:
        page = httpx.get(f"{url}/playground.json", trust_env=False).json()
        policy = policy_of(httpx.get(url, trust_env=False))
        for path in ("/authorize", "/v1/me", "/admin/users", "/healthz"):
            assert httpx.get(url + path, trust_env=False).status_code == 404
    assert page["authorize_url"] == "https://accounts.spotify.com/authorize"
    assert page["simulated"] is False
    assert policy["connect-src"] == "'self' https://swap.example https://api.spotify.com"
