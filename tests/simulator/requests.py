"""Requests that a client of the simulator would send."""

import base64

import httpx

CLIENT = {"client_id": "simulator-client-id", "client_secret": "simulator-client-secret"}
PUBLIC = {"client_id": "simulator-client-id"}
REDIRECT_URI = "https://app.example/callback"

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
"""The pair of RFC 7636, appendix B."""


def minted_code(client: httpx.Client, **order: str) -> str:
    response = client.post("/admin/codes", json={"redirect_uri": REDIRECT_URI, **order})
    return str(response.raise_for_status().json()["code"])


def minted_refresh_token(client: httpx.Client, *, pkce: bool, scope: str = "") -> str:
    response = client.post("/admin/refresh-tokens", json={"pkce": pkce, "scope": scope})
    return str(response.raise_for_status().json()["refresh_token"])


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def post_token(
    client: httpx.Client, form: dict[str, str], headers: dict[str, str] | None = None
) -> httpx.Response:
    return client.post("/api/token", data=form, headers=headers)


def swap(client: httpx.Client, code: str, **form: str) -> httpx.Response:
    """Exchange a code; the form's fields are those of the plain flow unless given."""
    fixed = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
    return post_token(client, fixed | (form or CLIENT))


def refresh(client: httpx.Client, token: str, **form: str) -> httpx.Response:
    return post_token(
        client, {"grant_type": "refresh_token", "refresh_token": token} | (form or CLIENT)
    )


def refused(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()
    assert set(error) == {"error", "error_description"}
    return response.status_code, error["error"], error["error_description"]
