"""/try: that it is served where TRY_PAGE=true, what the page is told, and what it can't do.

How its files are served is in test_documents; what it does in a browser, in the tests with one.
"""

import hashlib
import json
import re
from itertools import pairwise

import httpx
import pytest

from tests.conftest import LogLines, Start
from tests.test_documents import TRY, Page

PAGE = "/try"
STYLE = "/try/style.css"
SCRIPTS = tuple(path for path in TRY if path.endswith(".js"))


@pytest.fixture
def client(start: Start) -> httpx.Client:
    return start(TRY_PAGE="true")


class TryPage(Page):
    """The page as it is served, and what it knows."""

    @property
    def known(self) -> dict[str, object]:
        [text] = self.all("data-known")
        known: dict[str, object] = json.loads(text)
        return known


def page(client: httpx.Client) -> TryPage:
    return TryPage(client.get(PAGE).text)


# Serving -------------------------------------------------------------------------------------


def test_a_query_makes_no_difference(client: httpx.Client) -> None:
    for path in TRY:
        assert client.get(f"{path}?code=x&state=y").content == client.get(path).content


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/", f"/{PAGE}"])
def test_an_address_with_a_code_is_kept_nowhere(
    client: httpx.Client, path: str, method: str
) -> None:
    """Neither by a cache, nor by asking whether what was kept is still the same."""
    url = f"{client.base_url}{path}?code=x&state=y"
    for known in ("", "*", client.get(PAGE).headers["etag"]):
        answer = client.request(method, url, headers={"If-None-Match": known})
        assert (answer.status_code, answer.headers.get("etag")) == (200, None), known
        assert answer.headers.get_list("cache-control") == ["no-store"]
        for name in ("content-security-policy", "referrer-policy", "x-content-type-options"):
            assert answer.headers[name] == client.get(PAGE).headers[name]


@pytest.mark.parametrize("settings", [{}, {"TRY_PAGE": "false"}], ids=str)
def test_there_is_no_page_unless_it_is_asked_for(start: Start, settings: dict[str, str]) -> None:
    client = start(**settings)
    for path in TRY:
        answer = client.get(path)
        assert (answer.status_code, answer.json()["reason"]) == (404, "Not Found")


def test_other_files_beside_them_are_not_served(client: httpx.Client) -> None:
    for path in ("page.html", "../trying.py", "%2e%2e/trying.py", "main.mjs", "main.js/x"):
        assert client.get(f"/try/{path}").status_code == 404, path


def test_the_document_tells_of_the_page_where_there_is_one(
    start: Start, client: httpx.Client
) -> None:
    assert PAGE in client.get("/openapi.json").json()["paths"]
    assert PAGE not in start().get("/openapi.json").json()["paths"]
    without = start(TRY_PAGE="true", DOCS="false")
    assert without.get(STYLE).content == client.get(STYLE).content
    assert page(without).known["docs"] is False


# What a browser lets it do -------------------------------------------------------------------


def test_its_policy_allows_its_own_files_and_this_server_alone(client: httpx.Client) -> None:
    headers = client.get(PAGE).headers
    assert sorted(headers["content-security-policy"].split("; ")) == [
        "base-uri 'none'",
        "connect-src 'self'",
        "default-src 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "script-src 'self'",
        "style-src 'self'",
        "trusted-types 'none'",
    ]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"


def test_it_needs_nothing_that_the_policy_forbids(client: httpx.Client) -> None:
    found = page(client)
    assert found.open == []
    assert not found.tags & {"style", "img", "iframe", "form", "base", "object", "embed"}
    names = {name for name, _ in found.attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]
    assert found.all("src") == ["/try/main.js"]
    assert "<script>" not in client.get(PAGE).text
    style = client.get(STYLE).text
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("path", SCRIPTS)
def test_scripts_make_no_html_and_no_code_of_texts(client: httpx.Client, path: str) -> None:
    text = client.get(path).text
    assert text.startswith("// @ts-check\n")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function"
    assert not re.search(forbidden, text)
    for imported in re.findall(r' from "(.+)";$', text, re.MULTILINE):
        assert f"/try/{imported.removeprefix('./')}" in SCRIPTS


def test_links_lead_somewhere_and_labels_name_something(client: httpx.Client) -> None:
    found = page(client)
    ids = found.all("id")
    assert len(set(ids)) == len(ids)
    for link in found.all("href"):
        assert link[1:] in ids if link.startswith("#") else client.get(link).status_code == 200
    for attribute in ("for", "aria-labelledby", "aria-describedby"):
        assert set(found.all(attribute)) <= set(ids)


def test_scripts_find_what_they_look_for_in_the_page(client: httpx.Client) -> None:
    ids = page(client).all("id")
    looked_for = re.findall(r'\bfind\("([^"]+)"', "".join(client.get(s).text for s in SCRIPTS))
    assert looked_for
    assert set(looked_for) <= set(ids)


def test_it_can_be_read_by_machine_and_at_any_width(client: httpx.Client) -> None:
    text = client.get(PAGE).text
    found = TryPage(text)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "width=device-width, initial-scale=1" in found.all("content")
    assert {"header", "nav", "main", "footer", "h1", "title", "noscript"} <= found.tags
    levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert "prefers-color-scheme: dark" in client.get(STYLE).text


# What it is told -----------------------------------------------------------------------------


def test_it_knows_what_a_login_needs(start: Start) -> None:
    client = start(
        TRY_PAGE="true",
        CLIENT_ID="the-app",
        SPOTIFY_TOKEN_URL="https://accounts.spotify.com/api/token",
        UPSTREAM_TIMEOUT="2.5",
    )
    assert page(client).known == {
        "version": page(client).known["version"],
        "clientId": "the-app",
        "authorizeUrl": "https://accounts.spotify.com/authorize",
        "isSpotify": True,
        "hasRedirectUri": False,
        "allowedRedirectUris": None,
        "clientCredentials": True,
        "upstreamTimeout": 2.5,
        "docs": True,
    }


def test_it_knows_which_settings_are_otherwise(start: Start) -> None:
    known = page(
        start(
            TRY_PAGE="true",
            REDIRECT_URI="my-app://callback",
            ALLOWED_REDIRECT_URIS="http://127.0.0.1:7000/try",
            CLIENT_CREDENTIALS_ENABLED="false",
            SPOTIFY_AUTHORIZE_URL="http://127.0.0.1:7001/authorize",
        )
    ).known
    assert known["hasRedirectUri"] is True
    assert known["isSpotify"] is False
    assert known["clientCredentials"] is False
    assert known["authorizeUrl"] == "http://127.0.0.1:7001/authorize"
    digest = hashlib.sha256(b"http://127.0.0.1:7000/try").hexdigest()
    assert known["allowedRedirectUris"] == [digest]


def test_no_secret_and_no_redirect_uri_is_in_it(start: Start, log_lines: LogLines) -> None:
    client = start(
        TRY_PAGE="true",
        CLIENT_SECRET="the-client-secret-to-hide",
        SECRET_KEY="the-secret-key-to-hide",
        SECRET_KEYS_PREVIOUS="another-secret-key-to-hide",
        REDIRECT_URI="https://redirect-to-hide.example",
        ALLOWED_REDIRECT_URIS="https://allowed-to-hide.example,app://to-hide",
        RATE_LIMIT="1000/second",
        RATE_LIMIT_STORAGE="redis://:storage-to-hide@127.0.0.1:1/",
        TRUSTED_PROXIES="192.0.2.7",
    )
    for path in TRY:
        assert "to-hide" not in client.get(path).text
        assert "192.0.2.7" not in client.get(path).text
    assert log_lines.of("request.served")


@pytest.mark.parametrize(
    "hostile",
    [
        '"><script>alert(1)</script>',
        "' onload='alert(1)",
        "</body></html><img src=x onerror=alert(1)>",
        "$known ${known} &quot; &amp; \\u0022",
    ],
)
def test_hostile_settings_stay_texts(start: Start, hostile: str) -> None:
    client = start(TRY_PAGE="true", CLIENT_ID=hostile)
    found = page(client)
    assert found.known["clientId"] == hostile
    assert found.all("src") == ["/try/main.js"]
    assert not found.tags & {"img"}
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.open == []


def test_hostile_urls_stay_texts(start: Start) -> None:
    url = "https://accounts.example/\"><script>alert('1')</script>"
    client = start(TRY_PAGE="true", SPOTIFY_AUTHORIZE_URL=url)
    assert page(client).known["authorizeUrl"] == url
    assert "<script>" not in client.get(PAGE).text


def test_it_is_the_same_bytes_in_each_replica(start: Start) -> None:
    several = "https://a.example,https://b.example,https://c.example"
    first, second = (
        start(TRY_PAGE="true", ALLOWED_REDIRECT_URIS=several, SECRET_KEY=key * 32) for key in "xy"
    )
    for path in TRY:
        assert first.get(path).content == first.get(path).content == second.get(path).content
