"""Test the simulator's login page and its error page."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import Open, Picture
from tests.browser.watching import Watch
from tests.chaos.processes import Service, Simulator
from tests.running import CLIENT_ID


@pytest.fixture
def consent(service: Service, accounts: Simulator) -> str:
    """Return the page's URL, with a redirect URI that is a page."""
    query = {
        "client_id": CLIENT_ID,
        "redirect_uri": f"{service.url}/docs",
        "response_type": "code",
        "scope": "user-read-private playlist-read-private",
        "state": "as-it-was",
    }
    return f"{accounts.url}/authorize?{urlencode(query)}"


def test_page_shows_app_scopes_and_redirect_uri(
    page: Page, consent: str, service: Service, picture: Picture
) -> None:
    page.goto(consent)
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in and grant access")
    for text in (CLIENT_ID, "user-read-private", "playlist-read-private", f"{service.url}/docs"):
        expect(page.get_by_text(text, exact=True)).to_be_visible()
    picture("consent")


@pytest.mark.parametrize(
    ("button", "response"), [("Agree", {"code", "state"}), ("Cancel", {"error", "state"})]
)
def test_each_button_redirects_to_the_app(
    page: Page, consent: str, button: str, response: set[str]
) -> None:
    page.goto(consent)
    page.get_by_role("button", name=button).click()
    page.wait_for_url("**/docs?*")
    query = parse_qs(urlsplit(page.url).query)
    assert set(query) == response
    assert query["state"] == ["as-it-was"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(
    open_page: Open, consent: str, accounts: Simulator, watch: Watch, scheme: str
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": 390, "height": 844})
    page.goto(consent)
    assert violations(page) == []
    watch.announce(r"Failed to load resource: .* 400 \(Bad Request\)")
    page.goto(f"{accounts.url}/authorize")
    assert violations(page) == []


def test_page_has_the_style_of_the_playground_and_a_link_to_it(
    page: Page, consent: str, accounts: Simulator, watch: Watch
) -> None:
    watch.announce(r"Failed to load resource: .* 400 \(Bad Request\)")
    page.goto(f"{accounts.url}/")
    ground = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    for url in (consent, f"{accounts.url}/authorize"):
        page.goto(url)
        expect(page.locator("body")).to_have_css("background-color", ground)
        page.get_by_role("link", name="Back to the playground").click()
        expect(page).to_have_url(f"{accounts.url}/")
