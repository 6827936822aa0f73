"""/docs and /openapi.json: what is served, to browsers too, and what can be switched off."""

import html
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from service import errors, interface
from service.reference import STYLE_PATH
from tests.conftest import LogLines, Start

JSON = "/openapi.json"
PAGE = "/docs"
ALL = (JSON, PAGE, STYLE_PATH)
VOID = {"meta", "link", "input"}
TRY = {
    "/try": "text/html; charset=utf-8",
    "/try/style.css": "text/css; charset=utf-8",
    **{
        f"/try/{path.name}": "text/javascript; charset=utf-8"
        for path in sorted(Path("service/try").glob("*.js"))
    },
}
"""What the page to try it is made of, with media types."""
SERVED = {
    JSON: "application/json",
    PAGE: "text/html; charset=utf-8",
    STYLE_PATH: "text/css; charset=utf-8",
    **TRY,
}
on_every_document = pytest.mark.parametrize("path", ALL)
on_every_file = pytest.mark.parametrize("path", SERVED)


class Page(HTMLParser):
    """What a page is made of; nesting that doesn't fit is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]


@pytest.fixture
def page(client: httpx.Client) -> Page:
    return Page(client.get(PAGE).text)


@pytest.fixture
def everything(start: Start) -> httpx.Client:
    """Return a client of a service that serves the page to try it, too."""
    return start(TRY_PAGE="true")


# Serving -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "media_type"), SERVED.items())
def test_documents_are_what_they_say_and_are_asked_for_again(
    everything: httpx.Client, path: str, media_type: str
) -> None:
    answer = everything.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert everything.get(f"{path}/").content == answer.content


@on_every_file
def test_head_answers_as_get_without_the_body(everything: httpx.Client, path: str) -> None:
    got, head = everything.get(path), everything.head(path)
    for answer in (got, head):
        del answer.headers["x-request-id"], answer.headers["date"]
    assert (head.status_code, head.headers, head.content) == (200, got.headers, b"")


@on_every_file
def test_who_has_a_document_does_not_get_it_again(everything: httpx.Client, path: str) -> None:
    tag = everything.get(path).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = everything.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b""), known
        assert answer.headers["etag"] == tag
    twice = [("If-None-Match", '"other"'), ("If-None-Match", tag)]
    assert everything.get(path, headers=twice).status_code == 304
    for other in ('"other"', tag.strip('"'), ""):
        assert everything.get(path, headers={"If-None-Match": other}).status_code == 200, other


@on_every_document
def test_documents_are_the_same_bytes_each_time_and_in_each_replica(
    start: Start, path: str
) -> None:
    first = start(SECRET_KEY="x" * 32, CLIENT_ID="one")
    second = start(SECRET_KEY="y" * 32, CLIENT_ID="two")
    assert first.get(path).content == first.get(path).content == second.get(path).content


@on_every_document
def test_docs_false_removes_them(start: Start, path: str) -> None:
    answer = start(DOCS="false").get(path)
    assert (answer.status_code, answer.json()["reason"]) == (404, "Not Found")


@on_every_file
def test_another_method_is_a_405_as_everywhere(everything: httpx.Client, path: str) -> None:
    for method in ("POST", "OPTIONS", "DELETE"):
        answer = everything.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_page_of_a_listed_origin_may_read_the_document(start: Start) -> None:
    origin = "https://app.example"
    client = start(CORS_ALLOW_ORIGINS=origin)
    answer = client.get(JSON, headers={"Origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin


def test_nothing_of_the_settings_is_in_them(start: Start, log_lines: LogLines) -> None:
    secrets = {
        "CLIENT_ID": "the-client-id-to-hide",
        "CLIENT_SECRET": "the-client-secret-to-hide",
        "SECRET_KEY": "the-secret-key-to-hide",
        "REDIRECT_URI": "https://redirect-to-hide.example",
        "ALLOWED_REDIRECT_URIS": "https://allowed-to-hide.example",
    }
    client = start(**secrets)
    for path in ALL:
        assert "to-hide" not in client.get(path).text
    assert "request.served" in log_lines.text


# The page ------------------------------------------------------------------------------------


def test_the_page_runs_nothing_and_loads_its_own_style_alone(
    client: httpx.Client, page: Page
) -> None:
    assert page.open == []
    assert not page.tags & {"script", "style", "img", "iframe", "form", "base", "object", "embed"}
    names = {name for name, _ in page.attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]
    assert {link for link in page.all("href") if not link.startswith("#")} == {STYLE_PATH, JSON}
    assert "src" not in names
    style = client.get(STYLE_PATH).text
    assert "url(" not in style
    assert "@import" not in style


def test_the_page_leads_to_the_page_to_try_it_where_there_is_one(start: Start) -> None:
    assert "/try" in Page(start(TRY_PAGE="true").get(PAGE).text).all("href")


def test_the_pages_policy_allows_nothing_else(client: httpx.Client) -> None:
    policy = client.get(PAGE).headers["content-security-policy"].split("; ")
    wanted = ["base-uri 'none'", "default-src 'none'", "form-action 'none'"]
    assert sorted(policy) == [*wanted, "frame-ancestors 'none'", "style-src 'self'"]


def test_the_pages_links_lead_somewhere(client: httpx.Client, page: Page) -> None:
    ids = page.all("id")
    assert len(set(ids)) == len(ids)
    for link in page.all("href"):
        assert link[1:] in ids if link.startswith("#") else client.get(link).status_code == 200


def test_the_page_tells_all_that_the_document_does(client: httpx.Client, page: Page) -> None:
    document = client.get(JSON).json()
    told = " ".join(page.text.split())
    for path, methods in document["paths"].items():
        assert path in told
        for operation in methods.values():
            assert operation["summary"] in told
    for schema in document["components"]["schemas"].values():
        for field in schema["properties"].values():
            assert field["description"].replace("`", "") in told
    for kind in (errors.UndecryptableToken, errors.MissingRedirectURI, errors.Overloaded):
        assert kind.reason in told
    for status in interface.STATUSES:
        assert str(status) in told


def test_the_page_can_be_read_by_machine_and_at_any_width(client: httpx.Client, page: Page) -> None:
    text = client.get(PAGE).text
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "width=device-width, initial-scale=1" in page.all("content")
    assert {"header", "nav", "main", "footer", "h1", "title"} <= page.tags
    levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert "prefers-color-scheme: dark" in client.get(STYLE_PATH).text


def test_what_the_document_says_is_escaped(client: httpx.Client) -> None:
    text = client.get(PAGE).text
    assert html.unescape(text) != text
    assert "&amp;" in text
