"""/try: what is misconfigured is said in words, before or when it fails."""

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import StartService, StartSimulator
from tests.browser.trying import (
    answered,
    choose,
    expect_said,
    go_to_login,
    log_in,
    refresh,
    region,
    visit,
)
from tests.browser.watching import Watch
from tests.chaos.processes import Service, Simulator
from tests.running import free_port

BAD_REQUEST = r"Failed to load resource: .* 400 \(Bad Request\)"
MEND = "To mend first"


def test_where_nothing_is_wrong_nothing_is_said(page: Page, service: Service) -> None:
    visit(page, service.url)
    expect(page.get_by_role("heading", name=MEND)).to_be_hidden()
    expect(page.get_by_role("heading", name=MEND, include_hidden=True)).to_have_count(1)


def test_localhost_leads_to_127_0_0_1(page: Page, service: Service, watch: Watch) -> None:
    localhost = f"http://localhost:{service.port}"
    watch.allow(localhost)
    page.goto(f"{localhost}/try")
    expect(region(page, MEND)).to_contain_text("no redirect URI with the name localhost")
    expect(region(page, "Log in").get_by_role("button", name="Log in with")).to_be_disabled()
    region(page, MEND).get_by_role("link").click()
    expect(page).to_have_url(f"{service.url}/try")
    expect(region(page, "Log in").get_by_role("button", name="Log in with")).to_be_enabled()
    expect(page.get_by_role("button", name="405 Wrong method")).to_be_attached()
    expect(page.get_by_role("heading", name=MEND)).to_be_hidden()


def test_a_redirect_uri_that_is_not_allowed_is_told_of_before_and_after(
    page: Page, start_service: StartService, watch: Watch
) -> None:
    service = start_service(ALLOWED_REDIRECT_URIS="https://app.example/callback")
    visit(page, service.url)
    expect(region(page, MEND)).to_contain_text("Allow this page’s redirect URI")
    expect(region(page, MEND)).to_contain_text(f"does not have {service.url}/try:")
    assert "app.example" not in page.content()
    watch.announce(BAD_REQUEST)
    assert log_in(page).status == 400
    expect(region(page, "Log in")).to_contain_text(
        "ALLOWED_REDIRECT_URIS, and this redirect URI is"
    )
    expect_said(page, "The swap failed: 400 Bad Request.")


def test_a_redirect_uri_that_is_allowed_works(page: Page, start_service: StartService) -> None:
    port = free_port()
    own = f"http://127.0.0.1:{port}/try"
    allowed = f"https://app.example/callback,{own}"
    visit(page, start_service(PORT=str(port), ALLOWED_REDIRECT_URIS=allowed).url)
    expect(page.get_by_role("heading", name=MEND)).to_be_hidden()
    assert log_in(page).status == 200


def test_a_login_that_leads_nowhere_is_told_of_and_the_rest_lives(
    page: Page, service: Service, accounts: Simulator, watch: Watch
) -> None:
    """A browser has an opinion of its own of what a URL is, and so the test writes it in."""

    def mistaken(route: Route) -> None:
        text = route.fetch().text()
        assert f"{accounts.url}/authorize" in text
        wrong = text.replace(f"{accounts.url}/authorize", "https://256.256.256.256/a")
        route.fulfill(response=route.fetch(), body=wrong)

    page.route("**/try", mistaken)
    visit(page, service.url)
    expect(region(page, MEND)).to_contain_text("Mend SPOTIFY_AUTHORIZE_URL")
    expect(page.get_by_role("button", name="Log in with the simulator")).to_be_disabled()
    expect(page.get_by_role("tab", name="curl")).to_have_count(2)
    watch.announce("Failed to load resource: .* 405 ")
    act = page.get_by_role("button", name="405 Wrong method")
    answered(page, "/retrieve-tokens", act.click)
    expect_said(page, "The answer is 405 Method Not Allowed.")


def test_client_credentials_that_are_off_are_told_of(
    page: Page, start_service: StartService, watch: Watch
) -> None:
    visit(page, start_service(CLIENT_CREDENTIALS_ENABLED="false").url)
    shown = region(page, "The app’s own token")
    expect(shown.get_by_text("This server has the flow switched off")).to_be_visible()
    watch.announce("Failed to load resource: .* 404 ")
    answered(page, "/retrieve-tokens", page.get_by_role("button", name="Get the app’s token").click)
    expect(shown.get_by_text("404 Not Found")).to_be_visible()
    expect(shown.get_by_text("as CLIENT_CREDENTIALS_ENABLED=false does")).to_be_visible()


def test_a_wrong_secret_is_the_operators_to_mend(
    page: Page, start_service: StartService, watch: Watch
) -> None:
    visit(page, start_service(CLIENT_SECRET="not-the-secret").url)
    watch.announce(BAD_REQUEST, times=2)
    assert log_in(page, "Authorization code").status == 400
    told = region(page, "Log in")
    expect(told).to_contain_text("CLIENT_SECRET is wrong")
    expect(told).to_contain_text("invalid_client")
    # PKCE's code needs no secret, its refresh does.
    assert log_in(page).status == 200
    assert refresh(page).status == 400
    expect(region(page, "Tokens")).to_contain_text("CLIENT_SECRET is wrong")


@pytest.mark.parametrize("how", ["back", "anew"])
@pytest.mark.parametrize(
    ("simulated", "words"),
    [
        ({"--redirect-uri": "https://app.example/callback"}, "Invalid redirect URI"),
        ({"--client-id": "another-app"}, "Invalid client"),
    ],
)
def test_what_the_login_refuses_is_explained_on_return(
    page: Page,
    start_simulator: StartSimulator,
    start_service: StartService,
    watch: Watch,
    simulated: dict[str, str],
    words: str,
    how: str,
) -> None:
    service = start_service(start_simulator(simulated).token_url)
    visit(page, service.url)
    choose(page, "PKCE")
    page.evaluate("window.left = true")
    watch.announce(BAD_REQUEST)  # the simulator's page
    page.get_by_role("button", name="Log in with the simulator").click()
    expect(page.get_by_text(f"INVALID_CLIENT: {words}")).to_be_visible()
    return_to(page, f"{service.url}/try", how)
    told = region(page, "Log in")
    expect(told).to_contain_text("You went to log in and came back without an answer.")
    expect(told).to_contain_text(f"“INVALID_CLIENT: {words}”")
    expect(told).to_contain_text(f"{service.url}/try")
    expect(page.get_by_role("button", name="Log in with the simulator")).to_be_enabled()


def return_to(page: Page, url: str, how: str) -> None:
    """Go back to the page as Chromium kept it, or open it anew."""
    if how == "anew":
        page.goto(url)
    else:
        page.evaluate("history.back()")
    expect(page).to_have_url(url)
    assert page.evaluate("window.left === true") == (how == "back")


def test_a_registered_redirect_uri_is_the_one_the_page_tells(
    page: Page, start_simulator: StartSimulator, start_service: StartService
) -> None:
    port = free_port()
    own = f"http://127.0.0.1:{port}/try"
    simulator = start_simulator({"--redirect-uri": own})
    visit(page, start_service(simulator.token_url, PORT=str(port)).url)
    expect(region(page, "Log in").get_by_text(own, exact=True)).to_be_visible()
    go_to_login(page)


def test_the_servers_own_redirect_uri_stands_in(page: Page, start_service: StartService) -> None:
    visit(page, start_service(REDIRECT_URI="my-app://callback").url)
    button = page.get_by_role("button", name="400 No redirect URI")
    expect(button).to_be_disabled()
    expect(page.get_by_text("REDIRECT_URI is set on this server, and stands in.")).to_be_visible()


def test_without_docs_no_link_leads_there(
    page: Page, service: Service, start_service: StartService
) -> None:
    link = page.get_by_role("link", name="HTTP interface")
    visit(page, service.url)
    expect(link).to_be_visible()
    visit(page, start_service(DOCS="false").url)
    expect(link).to_be_hidden()


def test_against_spotify_itself_it_says_so(page: Page, start_service: StartService) -> None:
    """As far as that can be told without asking it."""
    visit_spotify = start_service("https://accounts.spotify.com/api/token")
    page.goto(f"{visit_spotify.url}/try")
    expect(page.get_by_role("button", name="Log in with Spotify")).to_be_visible()
    expect(page.get_by_role("heading", name="By Spotify in trouble")).to_have_count(0)
    expect(page.get_by_text("developer.spotify.com/dashboard")).to_be_visible()


def test_it_is_there_only_where_it_is_asked_for(page: Page, start_service: StartService) -> None:
    service = start_service(TRY_PAGE="false")
    assert page.request.get(f"{service.url}/try").status == 404
