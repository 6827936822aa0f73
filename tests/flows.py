"""Paths, forms, error reasons and running services that the tests of token endpoints share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from service import settings as service_settings
from service.app import create_app
from service.sealing import Sealer
from tests.running import SECRET_KEY, environment, running
from tests.simulator.requests import (
    CHALLENGE,
    REDIRECT_URI,
    VERIFIER,
    minted_code,
    minted_refresh_token,
)

CREDENTIALS = "/client-credentials-flow/retrieve-tokens"
CODE = "/authorization-code-flow/retrieve-tokens"
REFRESH = "/authorization-code-flow/refresh-tokens"
PKCE_CODE = "/authorization-code-flow-pkce/retrieve-tokens"
PKCE_REFRESH = "/authorization-code-flow-pkce/refresh-tokens"
FLOWS = (CREDENTIALS, CODE, REFRESH, PKCE_CODE, PKCE_REFRESH)
on_every_flow = pytest.mark.parametrize("path", FLOWS)
on_every_refresh = pytest.mark.parametrize("path", [REFRESH, PKCE_REFRESH])

URLENCODED = "application/x-www-form-urlencoded"
JSON = "application/json"

SEALER = Sealer(SECRET_KEY)

Serve = Callable[..., httpx.Client]

MISSING_REDIRECT_URI = (
    "the redirect URI must be present in either the body of this request "
    "or the 'REDIRECT_URI' environment variable"
)
NOT_ALLOWED = "the redirect URI is not one of those that this server allows"
UNDECRYPTABLE = "could not decrypt refresh token"
UNREACHABLE = "Spotify could not be reached"
LATE = "Spotify did not respond in time"


def missing(field: str) -> str:
    return f"Value of type 'String' required for key '{field}'."


def valid_form(simulator: httpx.Client, path: str) -> dict[str, str]:
    """Return fields that the simulator accepts for the flow at `path`."""
    if path == CREDENTIALS:
        return {"grant_type": "client_credentials"}
    if path == CODE:
        return {"code": minted_code(simulator), "redirect_uri": REDIRECT_URI}
    if path == PKCE_CODE:
        code = minted_code(simulator, code_challenge=CHALLENGE)
        return {"code": code, "code_verifier": VERIFIER, "redirect_uri": REDIRECT_URI}
    token = minted_refresh_token(simulator, pkce=path == PKCE_REFRESH)
    return {"refresh_token": SEALER.seal(token)}


def well_formed(path: str, **changes: str) -> dict[str, str]:
    """Return fields that the service accepts; the simulator does not know the code or token."""
    code = {"code": "a-code", "redirect_uri": REDIRECT_URI}
    token = {"refresh_token": SEALER.seal("a-token")}
    forms: dict[str, dict[str, str]] = {
        CREDENTIALS: {"grant_type": "client_credentials"},
        CODE: code,
        PKCE_CODE: code | {"code_verifier": VERIFIER},
        REFRESH: token,
        PKCE_REFRESH: token,
    }
    return forms[path] | changes


def without(field: str, form: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in form.items() if name != field}


def send(client: httpx.Client, path: str, media_type: str, content: bytes) -> httpx.Response:
    return client.post(path, content=content, headers={"Content-Type": media_type})


def queue_faults(simulator: httpx.Client, *faults: dict[str, Any]) -> None:
    """Queue faults for the simulator's next responses."""
    simulator.post("/admin/faults", json=list(faults)).raise_for_status()


def recorded(simulator: httpx.Client) -> list[dict[str, Any]]:
    """Return the requests that the simulator has received."""
    entries: list[dict[str, Any]] = simulator.get("/admin/requests").json()
    return entries


def sent_form(simulator: httpx.Client) -> dict[str, str]:
    """Return the form of the last request to the simulator."""
    return dict(recorded(simulator)[-1]["form"])


def assert_refused(response: httpx.Response, status: int, reason: str) -> None:
    """Check that `response` is a local error with this reason."""
    assert (response.status_code, response.json()) == (status, {"error": True, "reason": reason})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"


@contextmanager
def services(simulator_url: str) -> Iterator[Serve]:
    """Yield a function that returns a client of a service with the given settings.

    A service is started when its settings are first used and shared by the tests of a module. The
    cache of the app access token is off, so that one test does not affect the next.
    """
    started: dict[tuple[tuple[str, str], ...], httpx.Client] = {}
    with ExitStack() as stack:

        def serve(
            transport: httpx.AsyncBaseTransport | None = None, **changes: str
        ) -> httpx.Client:
            key = tuple(sorted(changes.items()))
            if key not in started:
                settings = {"CLIENT_CREDENTIALS_CACHE": "false", **changes}
                environ = environment(f"{simulator_url}/api/token", **settings)
                app = create_app(service_settings.load(environ), transport=transport)
                url = stack.enter_context(running(app, environ))
                client = httpx.Client(base_url=url, trust_env=False, timeout=20)
                started[key] = stack.enter_context(client)
            return started[key]

        yield serve
