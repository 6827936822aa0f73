"""The simulator's page of consent, which stands for Spotify's."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import Open, Picture
from tests.chaos.processes import Service, Simulator
from tests.running import CLIENT_ID


@pytest.fixture
def consent(service: Service, accounts: Simulator) -> str:
    """Return the page's URL; from there one comes to a page that exists."""
    query = {
        "client_id": CLIENT_ID,
        "redirect_uri": f"{service.url}/docs",
        "response_type": "code",
        "scope": "user-read-private playlist-read-private",
        "state": "as-it-was",
    }
    return f"{accounts.url}/authorize?{urlencode(query)}"


def test_it_says_who_asks_for_what_and_where_that_leads(
    page: Page, consent: str, service: Service, picture: Picture
) -> None:
    page.goto(consent)
    expect(page.get_by_role("heading", level=1)).to_have_text("Agree to let this app in?")
    for told in (CLIENT_ID, "user-read-private", "playlist-read-private", f"{service.url}/docs"):
        expect(page.get_by_text(told, exact=True)).to_be_visible()
    picture("consent")


@pytest.mark.parametrize(
    ("button", "answer"), [("Agree", {"code", "state"}), ("Cancel", {"error", "state"})]
)
def test_each_button_leads_back_to_the_app(
    page: Page, consent: str, button: str, answer: set[str]
) -> None:
    page.goto(consent)
    page.get_by_role("button", name=button).click()
    page.wait_for_url("**/docs?*")
    query = parse_qs(urlsplit(page.url).query)
    assert set(query) == answer
    assert query["state"] == ["as-it-was"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(open_page: Open, consent: str, scheme: str) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": 390, "height": 844})
    page.goto(consent)
    assert violations(page) == []
