"""/try: each error that can be provoked, what the page says of it, and its line for curl."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Picture, StartService
from tests.browser.trying import answered, expect_said, pasted, region, visit
from tests.browser.watching import Watch
from tests.chaos.processes import Service

OURS = "This server’s error."
SPOTIFYS = "Spotify’s error, passed on."
PROVOCATIONS = [
    # button, status text, whose, what the page says of it, what the app is to do
    ("400 Missing field", "Bad Request", OURS, "missing, empty", "Mend the request"),
    ("400 Token that can’t be opened", "Bad Request", OURS, "not sealed with SECRET_KEY", "log in"),
    ("400 No redirect URI", "Bad Request", OURS, "has a redirect URI", "Send redirect_uri"),
    ("404 Unknown path", "Not Found", OURS, "nothing at this path", "/docs lists"),
    ("405 Wrong method", "Method Not Allowed", OURS, "the one in Allow", "never come by GET"),
    ("413 Body too large", "Content Too Large", OURS, "16 KiB or more", "Mend the request"),
    ("415 Wrong media type", "Unsupported Media Type", OURS, "holds no form", "Content-Type"),
    ("400 Code that is no good", "Bad Request", SPOTIFYS, "used up, too old", "log in again"),
    ("503 Spotify fails with a page", "Service Unavailable", SPOTIFYS, "need not be JSON", "later"),
    ("502 Spotify answers nonsense", "Bad Gateway", OURS, "can’t be handed on", "later"),
]


def announce(watch: Watch, status: int | str) -> None:
    watch.announce(rf"^error: Failed to load resource: .* status of {status} ")


def provoke(page: Page, button: str) -> None:
    act = region(page, "Errors").get_by_role("button", name=button, exact=True)
    answered(page, "-flow/*", act.click)


def told(page: Page) -> str:
    expect(region(page, "Errors").locator(".answer")).to_be_visible()
    text: str = region(page, "Errors").locator("#error-answer").inner_text()
    return text


@pytest.mark.parametrize(("button", "words", "whose", "means", "do"), PROVOCATIONS)
def test_an_error_is_explained_and_its_line_for_curl_brings_the_same(
    page: Page,
    service: Service,
    watch: Watch,
    button: str,
    words: str,
    whose: str,
    means: str,
    do: str,
) -> None:
    status = button[:3]
    visit(page, service.url)
    announce(watch, status)
    provoke(page, button)
    expect_said(page, f"The answer is {status} {words}.")
    text = told(page)
    for part in (f"{status} {words}", whose, means, do):
        assert part in text, text
    line = page.get_by_label("The call with curl").inner_text()
    assert statuses(pasted(line)) == [status]


def statuses(answer: str) -> list[str]:
    """Return the statuses of an answer as `curl -i` prints it; 100 is none."""
    return [status for status in re.findall(r"(?m)^HTTP/\S+ (\d{3})", answer) if status != "100"]


def test_every_button_is_tried_here(page: Page, service: Service) -> None:
    visit(page, service.url)
    buttons = region(page, "Errors").locator("button.provoke").all_inner_texts()
    elsewhere = {"429 Spotify wants fewer requests", "504 Spotify is silent"}
    assert set(buttons) == {button for button, *_ in PROVOCATIONS} | elsewhere


def test_too_many_requests_are_spotifys_error_first_and_ours_after(
    page: Page, start_service: StartService, watch: Watch, picture: Picture
) -> None:
    visit(page, start_service().url)
    announce(watch, 429)
    provoke(page, "429 Spotify wants fewer requests")
    text = told(page)
    assert SPOTIFYS in text
    assert "retry-after: 5" in text
    picture("error")
    announce(watch, 429)
    provoke(page, "429 Spotify wants fewer requests")
    expect(region(page, "Errors").get_by_text(OURS)).to_be_visible()
    text = told(page)
    assert re.search(r"retry-after: [1-5]\b", text)
    assert "until its Retry-After is over" in text


def test_silence_is_waited_for_and_then_explained(
    page: Page, start_service: StartService, watch: Watch
) -> None:
    visit(page, start_service(UPSTREAM_TIMEOUT="1").url)
    expect(page.get_by_text("takes 1 s")).to_be_visible()
    announce(watch, 504)
    provoke(page, "504 Spotify is silent")
    text = told(page)
    for part in ("504 Gateway Timeout", OURS, "within UPSTREAM_TIMEOUT", "log in again"):
        assert part in text


def test_of_two_in_quick_succession_the_last_one_stays(
    page: Page, start_service: StartService, watch: Watch
) -> None:
    visit(page, start_service(UPSTREAM_TIMEOUT="2").url)
    announce(watch, 405)
    announce(watch, 504)
    with page.expect_response(lambda answer: answer.status == 504):
        region(page, "Errors").get_by_role("button", name="504 Spotify is silent").click()
        provoke(page, "405 Wrong method")
        expect_said(page, "The answer is 405 Method Not Allowed.")
    expect_said(page, "The answer is 504 Gateway Timeout.")
    assert "405 Method Not Allowed" in told(page)


def test_a_service_that_has_stopped_is_told_of(
    page: Page, start_service: StartService, watch: Watch
) -> None:
    service = start_service()
    visit(page, service.url)
    service.stop()
    watch.announce("^error: Failed to load resource: net::ERR_CONNECTION_REFUSED")
    region(page, "Errors").get_by_role("button", name="405 Wrong method").click()
    expect_said(page, "The answer is No answer.")
    text = told(page)
    assert "This server can’t be reached: it has stopped, or the network is down." in text
    assert "Keep the refresh token." in text


def test_a_spotify_that_cannot_be_reached_is_told_of(
    page: Page, start_service: StartService, watch: Watch
) -> None:
    visit(page, start_service("http://127.0.0.1:9/api/token").url)
    announce(watch, 502)
    answered(page, "/retrieve-tokens", page.get_by_role("button", name="Get the app’s token").click)
    shown = region(page, "The app’s own token")
    expect(shown).to_contain_text("502 Bad Gateway")
    expect(shown).to_contain_text(f"{OURS} Spotify could not be reached")


def test_the_apps_own_token_is_got_without_anybody(page: Page, service: Service) -> None:
    visit(page, service.url)
    answer = answered(
        page, "/retrieve-tokens", page.get_by_role("button", name="Get the app’s token").click
    )
    shown = region(page, "The app’s own token")
    expect(shown.get_by_text("200 OK")).to_be_visible()
    expect(shown.get_by_text(answer.json()["access_token"][:10])).to_be_visible()
    expect(shown.get_by_text("sealed", exact=True)).to_have_count(0)
