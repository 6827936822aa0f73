"""Test that the playground explains misconfiguration."""

import pytest
from playwright.sync_api import Page, expect

from simulator.app import create_playground
from simulator.playground_page import Playground
from simulator.server import running
from tests.browser.conftest import Start
from tests.browser.playground import (
    expect_said,
    go_to_login,
    greeted,
    log_in,
    refresh,
    region,
    visit,
)
from tests.browser.watching import Watch
from tests.chaos.processes import Service, Simulator
from tests.running import CLIENT_ID, free_port

BAD_REQUEST = r"Failed to load resource: .* 400 \(Bad Request\)"
LOG_IN = "Log in as your app would"


def test_no_problem_is_shown_without_one(playground: Page) -> None:
    expect(playground.locator("#problem")).to_be_hidden()


def test_localhost_redirects_to_127_0_0_1(page: Page, accounts: Simulator, watch: Watch) -> None:
    localhost = f"http://localhost:{accounts.port}"
    watch.allow(localhost)
    page.goto(f"{localhost}/")
    expect(page).to_have_url(f"{accounts.url}/")
    expect(page.get_by_role("button", name="Log in with")).to_be_enabled()


def test_service_without_cors_is_reported(page: Page, start: Start, watch: Watch) -> None:
    pair = start(CORS_ALLOW_ORIGINS="https://app.example")
    watch.announce("blocked by CORS policy")
    watch.announce("Failed to load resource: net::ERR_FAILED")
    visit(page, pair.simulator.url)
    expect(page.locator("#problem")).to_have_text(
        f"This page cannot call the service at {pair.service.url}. Check that it is running, and "
        f"that its CORS_ALLOW_ORIGINS contains {pair.simulator.url}."
    )


def test_redirect_uri_that_is_not_allowed_is_explained(
    page: Page, start: Start, watch: Watch
) -> None:
    visit(page, start(ALLOWED_REDIRECT_URIS="https://app.example/callback").simulator.url)
    watch.announce(BAD_REQUEST)
    assert log_in(page).status == 400
    expect(region(page, LOG_IN)).to_contain_text("ALLOWED_REDIRECT_URIS does not list this")
    expect_said(page, "The code exchange failed: 400 Bad Request.")


def test_disabled_client_credentials_are_explained(page: Page, start: Start, watch: Watch) -> None:
    visit(page, start(CLIENT_CREDENTIALS_ENABLED="false").simulator.url)
    watch.announce("Failed to load resource: .* 404 ")
    page.get_by_role("button", name="Get app token").click()
    expect_said(page, "The response is 404 Not Found.")
    shown = region(page, "App access token")
    expect(shown).to_contain_text("CLIENT_CREDENTIALS_ENABLED=false")


def test_wrong_client_secret_is_explained(page: Page, start: Start, watch: Watch) -> None:
    visit(page, start(CLIENT_SECRET="not-the-secret").simulator.url)
    watch.announce(BAD_REQUEST, times=2)
    assert log_in(page, "Authorization code for").status == 400
    expect(region(page, LOG_IN)).to_contain_text("does not accept CLIENT_ID or CLIENT_SECRET")
    # The PKCE code exchange needs no secret, its refresh does.
    assert log_in(page).status == 200
    greeted(page)
    assert refresh(page).status == 400
    expect(page.locator("#session")).to_contain_text("does not accept CLIENT_ID or CLIENT_SECRET")


@pytest.mark.parametrize("how", ["back button", "link"])
@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--redirect-uri=https://app.example/callback", "Invalid redirect URI"),
        ("--client-id=another-app", "Invalid client"),
    ],
)
def test_error_of_the_login_page_is_explained_on_return(
    page: Page, start: Start, watch: Watch, flag: str, words: str, how: str
) -> None:
    pair = start((flag,))
    if "client-id" in flag:  # the service and the playground disagree with Spotify
        page.route(
            "**/playground.json",
            lambda route: route.fulfill(json={**route.fetch().json(), "client_id": CLIENT_ID}),
        )
    visit(page, pair.simulator.url)
    watch.announce(BAD_REQUEST)  # the simulator's page
    page.get_by_role("button", name="Log in with the simulator").click()
    expect(page.get_by_text(f"INVALID_CLIENT: {words}")).to_be_visible()
    if how == "link":
        page.get_by_role("link", name="Back to the playground").click()
    else:
        page.evaluate("history.back()")
    expect(page).to_have_url(pair.page)
    message = region(page, LOG_IN).locator(".notice")
    expect(message).to_contain_text("The login was not finished.")
    expect(message).to_contain_text(f"“INVALID_CLIENT: {words}”")
    expect(message).to_contain_text(pair.page)
    expect(page.get_by_role("button", name="Log in with the simulator")).to_be_enabled()


def test_page_shows_the_redirect_uri_to_register(page: Page, start: Start) -> None:
    pair = start(
        ("--redirect-uri=http://127.0.0.1/",)
    )  # registered without a port, as Spotify allows
    visit(page, pair.simulator.url)
    expect(region(page, LOG_IN).get_by_text(pair.page, exact=True)).to_be_visible()
    go_to_login(page)


def test_with_the_real_spotify_nothing_is_simulated(
    page: Page, service: Service, watch: Watch
) -> None:
    """Check everything before the redirect to Spotify."""
    spotify = Playground(
        service_url=service.url,
        client_id="my-app",
        authorize_url="https://accounts.spotify.com/authorize",
        web_api_url="https://api.spotify.com/v1",
        simulated=False,
    )
    # The service allows the origin of its own simulator only.
    watch.announce("blocked by CORS policy")
    watch.announce("Failed to load resource: net::ERR_FAILED")
    with running(create_playground(spotify), free_port()) as url:
        watch.allow(url)
        visit(page, url)
        expect(page.get_by_text("Real Spotify")).to_be_visible()
        expect(page.get_by_role("heading", name="When Spotify fails")).to_have_count(0)
        expect(page.get_by_text("developer.spotify.com/dashboard")).to_be_visible()
        watch.announce(
            r"^elsewhere: GET https://accounts\.spotify\.com/authorize\?client_id=my-app&"
        )
        with page.expect_request("https://accounts.spotify.com/**"):
            page.get_by_role("button", name="Log in with Spotify").click()
        assert page.request.get(f"{url}/authorize").status == 404
