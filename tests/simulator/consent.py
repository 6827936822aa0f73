"""The login page: the query that opens it, the form that it sends, the redirect to the app."""

from urllib.parse import parse_qsl, urlsplit

import httpx

from tests.simulator.requests import PUBLIC, REDIRECT_URI

PLAIN = PUBLIC | {"response_type": "code", "redirect_uri": REDIRECT_URI}
ALLOW = {"decision": "allow"}


def decide(
    client: httpx.Client, query: dict[str, str], form: dict[str, str] = ALLOW
) -> httpx.Response:
    return client.post("/authorize", params=query, data=form)


def arrival(response: httpx.Response) -> dict[str, str]:
    """Return the query of the redirect to the app."""
    assert response.status_code == 303
    assert response.headers["location"].startswith(REDIRECT_URI)
    return dict(parse_qsl(urlsplit(response.headers["location"]).query))
