"""Test the errors that the playground provokes, their explanations and curl commands."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Start
from tests.browser.playground import copied, expect_said, pasted, region, response_of, visit
from tests.browser.watching import Watch

LOCAL = "Error from this server."
SPOTIFY = "Error from Spotify, passed on unchanged."
PROVOCATIONS = [
    # button, reason phrase, source, explanation, advice
    ("400 Missing field", "Bad Request", LOCAL, "missing, empty", "Fix the request"),
    ("400 Refresh token that cannot be decrypted", "Bad Request", LOCAL, "SECRET_KEY", "log in"),
    ("400 No redirect URI", "Bad Request", LOCAL, "has a redirect URI", "Send redirect_uri"),
    ("404 Unknown path", "Not Found", LOCAL, "no such path", "API reference"),
    ("405 Wrong method", "Method Not Allowed", LOCAL, "does not support", "Use POST"),
    ("413 Body too large", "Content Too Large", LOCAL, "16 KiB or larger", "Fix the request"),
    ("415 Wrong media type", "Unsupported Media Type", LOCAL, "media type", "urlencoded"),
    ("400 Invalid or used code", "Bad Request", SPOTIFY, "used, expired", "new login"),
    ("503 Spotify returns an HTML error", "Service Unavailable", SPOTIFY, "JSON", "later"),
    ("502 Invalid response from Spotify", "Bad Gateway", LOCAL, "not usable", "later"),
]
TOO_MANY = "429 Spotify asks for fewer requests"


def announce(watch: Watch, status: int | str) -> None:
    watch.announce(rf"^error: Failed to load resource: .* status of {status} ")


def errors(page: Page) -> Locator:
    return region(page, "Errors")


def button(page: Page, name: str) -> Locator:
    return errors(page).get_by_role("button", name=name)


def newest(page: Page) -> Locator:
    return errors(page).locator("details.exchange").first


@pytest.mark.parametrize(("name", "phrase", "source", "means", "todo"), PROVOCATIONS)
def test_error_is_explained_and_its_curl_command_reproduces_it(
    playground: Page, watch: Watch, name: str, phrase: str, source: str, means: str, todo: str
) -> None:
    status = name[:3]
    announce(watch, status)
    button(playground, name).click()
    expect_said(playground, f"The response is {status} {phrase}.")
    for part in (f"{status} {phrase}", source, means, todo):
        expect(newest(playground)).to_contain_text(part)
    command = copied(playground, newest(playground), "Copy the request")
    assert statuses(pasted(command)) == [status]


def statuses(response: str) -> list[str]:
    """Return the statuses of a response as `curl -i` prints it, without 100 Continue."""
    return [status for status in re.findall(r"(?m)^HTTP/\S+ (\d{3})", response) if status != "100"]


def test_every_button_is_tested_here(playground: Page) -> None:
    numbers = errors(playground).locator("button.provoke").all_inner_texts()
    assert len(numbers) == len(PROVOCATIONS) + 2
    for name in (*(name for name, *_ in PROVOCATIONS), TOO_MANY, "504 Spotify times out"):
        expect(button(playground, name)).to_be_visible()


def test_too_many_requests_come_from_spotify_first_and_then_from_the_server(
    playground: Page, start: Start, watch: Watch
) -> None:
    visit(playground, start().simulator.url)
    for source in (SPOTIFY, LOCAL):
        announce(watch, 429)
        response_of(playground, "/retrieve-tokens", button(playground, TOO_MANY).click)
        expect(newest(playground)).to_contain_text(source)
        expect(newest(playground)).to_contain_text(re.compile(r"retry-after: [1-3]\b"))


def test_provoked_errors_do_not_affect_each_other(
    playground: Page, start: Start, watch: Watch
) -> None:
    visit(playground, start().simulator.url)
    for name in (TOO_MANY, "503 Spotify returns an HTML error", "400 Invalid or used code"):
        announce(watch, name[:3])
        response_of(playground, "/retrieve-tokens", button(playground, name).click)
        expect(newest(playground)).to_contain_text(re.compile(f"^{name[:3]} "))


def test_timeout_is_explained(playground: Page, start: Start, watch: Watch) -> None:
    visit(playground, start(UPSTREAM_TIMEOUT="1").simulator.url)
    announce(watch, 504)
    button(playground, "504 Spotify times out").click()
    expect_said(playground, "The response is 504 Gateway Timeout.")
    for part in (LOCAL, "within UPSTREAM_TIMEOUT", "new login"):
        expect(newest(playground)).to_contain_text(part)


def test_stopped_service_is_reported(playground: Page, start: Start, watch: Watch) -> None:
    pair = start()
    visit(playground, pair.simulator.url)
    pair.service.stop()
    watch.announce("^error: Failed to load resource: net::ERR_CONNECTION_REFUSED")
    button(playground, "405 Wrong method").click()
    expect_said(playground, "The response is No response.")
    expect(newest(playground)).to_contain_text("The server is not running")


def test_unreachable_spotify_is_reported(playground: Page, start: Start, watch: Watch) -> None:
    visit(playground, start(SPOTIFY_TOKEN_URL="http://127.0.0.1:9/api/token").simulator.url)
    announce(watch, 502)
    playground.get_by_role("button", name="Get app token").click()
    expect_said(playground, "The response is 502 Bad Gateway.")
    expect(region(playground, "App access token")).to_contain_text(
        f"{LOCAL} Spotify cannot be reached"
    )


def test_app_token(playground: Page) -> None:
    act = playground.get_by_role("button", name="Get app token")
    token = response_of(playground, "/retrieve-tokens", act.click).json()["access_token"]
    shown = region(playground, "App access token")
    expect(shown.get_by_text("200 OK")).to_be_visible()
    expect(shown.get_by_text(token[:10])).to_be_visible()
    assert token not in playground.content()
