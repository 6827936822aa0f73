"""Test the playground's login, refresh and Web API calls, and that no secrets remain."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from simulator.pkce import challenge_of
from tests.browser import chromium
from tests.browser.conftest import Open
from tests.browser.playground import (
    FLOWS,
    choose,
    copied,
    expect_said,
    go_to_login,
    greeted,
    log_in,
    pasted,
    refresh,
    region,
    response_of,
    session,
    visit,
)
from tests.browser.watching import Watch
from tests.chaos.processes import Service, Simulator

in_both_flows = pytest.mark.parametrize("flow", FLOWS)
LOG_IN = "Log in as your app would"
HISTORY = {"Favicons", "History", "History-journal", "Session", "Tabs", "ukm_db", "ukm_db-wal"}
"""Where Chromium keeps the addresses of its history."""
BAD_REQUEST = r"Failed to load resource: .* 400 \(Bad Request\)"
REFRESHED = "Refreshed. The new access token expires in 1 hour."


@in_both_flows
def test_login_and_two_refreshes(playground: Page, flow: str) -> None:
    first = log_in(playground, flow)
    assert first.status == 200
    greeted(playground)
    expect(playground.get_by_role("heading", name="Hello, Alice")).to_be_focused()
    expect(playground.get_by_text("alice@example.com · premium · SE")).to_be_visible()
    timer = session(playground).get_by_role("timer", name="Time to expiry")
    expect(timer).to_have_text(re.compile(r"1:00:00|59:\d\d"))
    access_tokens = {first.json()["access_token"]}
    for words in ("Refreshed once", "Refreshed 2 times"):
        response = refresh(playground)
        assert response.status == 200
        expect_said(playground, re.compile(REFRESHED))
        expect(session(playground).get_by_text(words, exact=True)).to_be_visible()
        expect(playground.get_by_role("button", name="Refresh", exact=True)).to_be_focused()
        access_tokens.add(response.json()["access_token"])
    assert len(access_tokens) == 3


@pytest.mark.parametrize("viewport", [(1280, 800), (390, 844)])
def test_main_buttons_are_above_the_fold(
    open_page: Open, accounts: Simulator, viewport: tuple[int, int]
) -> None:
    width, height = viewport
    page = open_page(viewport={"width": width, "height": height})
    visit(page, accounts.url)
    expect(page.get_by_role("button", name="Log in with")).to_be_in_viewport(ratio=1)
    log_in(page)
    greeted(page)
    for shown in (
        page.get_by_role("heading", name="Hello, Alice"),
        page.get_by_role("timer"),
        page.get_by_role("button", name="Refresh", exact=True),
    ):
        expect(shown).to_be_in_viewport(ratio=1)


def test_pkce_exchange_sends_no_secret(playground: Page, accounts: Simulator) -> None:
    log_in(playground)
    retrieved = accounts.requests()[-1]
    assert {name for name, _ in retrieved["form"]} == {
        "grant_type",
        "code",
        "code_verifier",
        "redirect_uri",
        "client_id",
    }


def test_each_pkce_refresh_sends_the_newest_refresh_token(playground: Page) -> None:
    newest = log_in(playground).json()["refresh_token"]
    for _ in range(2):
        response = refresh(playground)
        assert parse_qs(response.request.post_data or "")["refresh_token"] == [newest]
        newest = response.json()["refresh_token"]


def test_selected_scopes_are_requested(playground: Page) -> None:
    playground.get_by_text("Scopes: 2").click()
    playground.get_by_role("checkbox", name="user-read-email").uncheck()
    playground.get_by_role("checkbox", name="user-read-private").uncheck()
    expect(playground.get_by_text("Scopes: none")).to_be_visible()
    playground.get_by_role("checkbox", name="user-library-read").check()
    expect(region(playground, LOG_IN).get_by_text("scope=user-library-read")).to_be_visible()
    assert log_in(playground).json()["scope"] == "user-library-read"
    button = playground.get_by_role("button", name="GET /v1/me/tracks")
    assert response_of(playground, "/v1/me/tracks", button.click).status == 200


def test_missing_scope_is_explained(playground: Page, watch: Watch) -> None:
    log_in(playground)
    greeted(playground)
    watch.announce("Failed to load resource: .* 403 ")
    playground.get_by_role("button", name="GET /v1/me/tracks").click()
    expect_said(playground, "The response is 403 Forbidden.")
    expect(session(playground).get_by_text("A scope is missing")).to_be_visible()


def test_user_who_is_not_registered_gets_403_from_the_web_api(
    playground: Page, watch: Watch
) -> None:
    watch.announce("Failed to load resource: .* 403 ")
    assert log_in(playground, user="Carol").status == 200
    expect_said(playground, "You are logged in. You are logged in.")
    expect(session(playground).get_by_text("403 Forbidden")).to_be_visible()


# Responses and commands ----------------------------------------------------------------------


def test_preview_has_the_requests_of_the_chosen_flow(
    playground: Page, service: Service, accounts: Simulator
) -> None:
    for flow, path in FLOWS.items():
        choose(playground, flow)
        login = copied(playground, region(playground, LOG_IN), "Copy the URL of the login page")
        assert login.startswith(f"{accounts.url}/authorize?client_id=")
        assert ("code_challenge" in login) == ("PKCE" in flow)
        exchange = copied(playground, region(playground, LOG_IN), "Copy the code exchange")
        assert f"'{service.url}/{path}/retrieve-tokens'" in exchange


@in_both_flows
def test_tokens_are_shortened_on_screen_and_complete_in_copies(playground: Page, flow: str) -> None:
    response = log_in(playground, flow)
    greeted(playground)
    tokens = response.json()
    for name in ("access_token", "refresh_token"):
        token = tokens[name]
        assert token not in playground.content()
        shown = session(playground).get_by_text(f"{token[:10]}…{token[-10:]}", exact=True)
        expect(shown).to_be_visible()
        assert copied(playground, session(playground), f"Copy {name}") == token
    assert copied(playground, session(playground), "Copy the response") == response.text()


@in_both_flows
def test_copied_refresh_command_has_the_real_token(playground: Page, flow: str) -> None:
    log_in(playground, flow)
    greeted(playground)
    refresh(playground)
    expect_said(playground, REFRESHED)
    command = copied(playground, session(playground), "Copy as curl: refresh")
    printed = pasted(command)
    assert " 200 " in printed.splitlines()[0]
    assert "access_token" in json.loads(printed.splitlines()[-1])


def test_copied_web_api_command_has_the_real_token(playground: Page) -> None:
    log_in(playground)
    greeted(playground)
    button = playground.get_by_role("button", name="GET /v1/me", exact=True)
    response_of(playground, "/v1/me", button.click)
    expect_said(playground, "The response is 200 OK.")
    command = copied(playground, session(playground), "Copy the request")
    assert json.loads(pasted(command).splitlines()[-1])["display_name"] == "Alice"


def test_copied_redirect_uri(playground: Page, accounts: Simulator) -> None:
    uri = copied(playground, region(playground, LOG_IN), "Copy the redirect URI")
    assert uri == f"{accounts.url}/"


def test_copying_without_a_clipboard_is_reported(open_page: Open, accounts: Simulator) -> None:
    page = open_page()
    page.add_init_script("delete Navigator.prototype.clipboard")  # as on plain http elsewhere
    visit(page, accounts.url)
    page.get_by_role("button", name="Copy the redirect URI").click()
    expect_said(page, "The browser does not allow copying. Select the text instead.")


def test_short_tokens_are_masked_too(playground: Page, accounts: Simulator, watch: Watch) -> None:
    body = '{"access_token": "a-short-access-token", "id_token": "a-short-id-token"}'
    json_type = "application/json"
    accounts.queue_faults(
        {"kind": "status", "status": 200, "content_type": json_type, "body": body}
    )
    watch.announce("Failed to load resource: .* 401 ")  # the Web API does not know this token
    response = log_in(playground)
    expect(session(playground).get_by_text("a-sho…token").first).to_be_visible()
    expect_said(playground, re.compile("You are logged in"))
    shown = session(playground).inner_text()
    assert [token for token in tokens_of(response) if token in shown] == []


def test_code_blocks_scroll_instead_of_wrapping(open_page: Open, accounts: Simulator) -> None:
    page = open_page(viewport={"width": 390, "height": 844})
    visit(page, accounts.url)
    block = page.get_by_role("group", name="2. Your app exchanges the code here")
    assert block.evaluate("block => block.scrollWidth > block.clientWidth")
    expect(block).to_have_css("white-space-collapse", "preserve")
    expect(block).to_have_css("text-wrap-mode", "nowrap")


# Secrets -------------------------------------------------------------------------------------


@in_both_flows
def test_no_secret_outlives_the_login(playground: Page, flow: str) -> None:
    retrieved = log_in(playground, flow)
    greeted(playground)
    renewed = refresh(playground)
    expect_said(playground, REFRESHED)
    fields = parse_qs(retrieved.request.post_data or "")
    secrets = [fields[name][0] for name in ("code", "code_verifier") if name in fields]
    secrets += [*tokens_of(retrieved), *tokens_of(renewed)]
    assert len(secrets) == (6 if "PKCE" in flow else 4)
    left = traces(playground)
    assert [secret for secret in secrets if secret in left] == []
    assert playground.evaluate("sessionStorage.length") == 0
    assert playground.context.cookies() == []


def tokens_of(response: Response) -> list[str]:
    return [value for name, value in response.json().items() if name.endswith("_token")]


def traces(page: Page) -> str:
    """Return everything that a page stores or exposes."""
    history = page.context.new_cdp_session(page).send("Page.getNavigationHistory")
    # NOTE: the navigation's own entry has the address with the code. No page can remove it; it
    # ends with the page.
    held = page.evaluate(
        "async () => [{...localStorage}, {...sessionStorage}, history.state, document.cookie,"
        " await caches.keys(), await indexedDB.databases(), document.documentElement.outerHTML,"
        " window.name, document.referrer,"
        " performance.getEntries().filter(({ entryType }) => entryType !== 'navigation')]"
    )
    assert any("/authorize" in entry["url"] for entry in history["entries"])
    assert any("/retrieve-tokens" in entry["name"] for entry in held[-1])
    return json.dumps([history, held])


def test_browser_stores_only_the_url_in_its_history(
    browser: Browser, watch: Watch, accounts: Simulator, tmp_path: Path
) -> None:
    with chromium.keeping(browser.browser_type, tmp_path) as context:
        watch.over(context)
        page = context.new_page()
        visit(page, accounts.url)
        retrieved = log_in(page)
        greeted(page)
        fields = parse_qs(retrieved.request.post_data or "")
        tokens = tokens_of(retrieved)
    for secret in (fields["code_verifier"][0], *tokens):
        assert files_with(secret, tmp_path) == set()
    assert files_with(fields["code"][0], tmp_path) <= HISTORY
    assert files_with(f"{accounts.url}/playground/main.js", tmp_path) - HISTORY


def files_with(text: str, directory: Path) -> set[str]:
    """Return the names of the files that contain a string, without numeric suffixes."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.name.partition("_1")[0] for path in files if text.encode() in path.read_bytes()}


def test_each_login_has_its_own_state_and_verifier(playground: Page, accounts: Simulator) -> None:
    sent = []
    for _ in range(2):
        go_to_login(playground)
        query = parse_qs(urlsplit(playground.url).query)
        assert query["redirect_uri"] == [f"{accounts.url}/"]
        assert query["code_challenge_method"] == ["S256"]
        [kept] = playground.evaluate("Object.values(sessionStorage)")
        pending = json.loads(kept)
        assert pending.keys() == {"flow", "state", "verifier"}
        assert query["state"] == [pending["state"]]
        assert query["code_challenge"] == [challenge_of(pending["verifier"])]
        sent += [pending["state"], pending["verifier"]]
        visit(playground, accounts.url)
    assert len(set(sent)) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", text) for text in sent), sent


def test_calls_carry_no_cookie(playground: Page, accounts: Simulator) -> None:
    playground.context.add_cookies([{"name": "another", "value": "x", "url": accounts.url}])
    visit(playground, accounts.url)
    for response in (log_in(playground), refresh(playground)):
        assert "cookie" not in response.request.all_headers()


def test_redirects_are_not_followed(playground: Page, service: Service, watch: Watch) -> None:
    sent: list[str] = []
    playground.context.on("request", lambda request: sent.append(request.url))
    elsewhere = {"Location": f"{service.url}/docs", "Access-Control-Allow-Origin": "*"}
    playground.route("**/*-tokens", lambda route: route.fulfill(status=307, headers=elsewhere))
    watch.announce("^error: Failed to load resource: net::ERR_FAILED")
    playground.get_by_role("button", name="Get app token").click()
    expect_said(playground, "The response is No response.")
    assert sent == [f"{service.url}/client-credentials-flow/retrieve-tokens"]


def test_reload_forgets_the_tokens(playground: Page, accounts: Simulator) -> None:
    log_in(playground)
    greeted(playground)
    expect(playground).to_have_url(f"{accounts.url}/")
    playground.reload()
    expect(playground.get_by_role("heading", name=LOG_IN)).to_be_visible()
    expect(session(playground)).to_be_hidden()


def test_going_back_does_not_exchange_the_code_again(playground: Page, accounts: Simulator) -> None:
    """Back is the login page, and before that the playground as it was before the login."""
    log_in(playground)
    greeted(playground)
    playground.evaluate("history.back()")
    expect(playground.get_by_role("button", name="Agree")).to_be_visible()
    playground.evaluate("history.back()")
    expect(playground).to_have_url(f"{accounts.url}/")
    expect(playground.get_by_role("button", name="Log in with the simulator")).to_be_enabled()
    assert len(accounts.requests()) == 1


def test_tokens_can_be_forgotten(playground: Page) -> None:
    token = log_in(playground).json()["access_token"]
    greeted(playground)
    playground.get_by_role("button", name="Forget tokens").click()
    expect_said(playground, "The tokens are forgotten.")
    expect(playground.get_by_role("heading", name=LOG_IN)).to_be_focused()
    assert token[:10] not in playground.content()
    assert "Alice" not in playground.locator("main").inner_text()


# Expiry --------------------------------------------------------------------------------------


def test_time_left_is_counted_down_and_sometimes_announced(page: Page, accounts: Simulator) -> None:
    start = datetime(2026, 11, 1, 12, tzinfo=UTC)
    page.clock.install(time=start)
    visit(page, accounts.url)
    page.clock.pause_at(start.replace(hour=13))
    log_in(page)
    timer = session(page).get_by_role("timer", name="Time to expiry")
    expect(timer).to_have_text("1:00:00")
    greeted(page)
    for seconds, left in ((1, "59:59"), (59, "59:00"), (60 * 60 - 360, "5:00")):
        page.clock.run_for(seconds * 1000)
        expect(timer).to_have_text(left)
    expect_said(page, "The access token expires in 5 minutes.")
    page.clock.run_for(299_000)
    expect(timer).to_have_text("0:01")
    expect_said(page, "The access token expires in 1 minute.")
    page.clock.run_for(1000)
    expect(timer).to_have_text("Expired")
    expect_said(page, "The access token has expired. Refresh it.")
    refresh(page)
    expect(timer).to_have_text("1:00:00")


@pytest.mark.parametrize("expires_in", ["1e308", '"3600"', "null", "-1", "0.5", "31622401"])
def test_unusable_expiry_is_not_counted_down(
    playground: Page, accounts: Simulator, watch: Watch, expires_in: str
) -> None:
    fault = {"kind": "status", "status": 200, "content_type": "application/json"}
    body = f'{{"access_token": "any", "refresh_token": "one", "expires_in": {expires_in}}}'
    accounts.queue_faults({**fault, "body": body}, {**fault, "body": body})
    watch.announce("Failed to load resource: .* 401 ")  # the Web API does not know this token
    assert log_in(playground).status == 200
    expect(session(playground).get_by_text("no usable expires_in")).to_be_visible()
    expect(session(playground).get_by_role("timer")).to_be_hidden()
    assert refresh(playground).status == 200
    expect_said(playground, "Refreshed. The response has no expiry.")


# Logins that fail ----------------------------------------------------------------------------


def test_declined_login_is_explained(playground: Page, accounts: Simulator) -> None:
    go_to_login(playground)
    playground.get_by_role("button", name="Cancel").click()
    message = region(playground, LOG_IN).get_by_text("The user declined (access_denied).")
    expect(message).to_be_visible()
    expect(playground).to_have_url(f"{accounts.url}/")
    expect(playground.get_by_role("heading", name=LOG_IN)).to_be_focused()
    assert log_in(playground).status == 200


def test_code_with_another_state_is_discarded(playground: Page, accounts: Simulator) -> None:
    go_to_login(playground)
    playground.goto(f"{accounts.url}/?code=foreign&state=another")
    notice = playground.locator("#login-message")
    expect(notice).to_contain_text("a state that this page did not send")
    expect(playground).to_have_url(f"{accounts.url}/")
    assert playground.evaluate("sessionStorage.length") == 0
    assert accounts.requests() == []


@pytest.mark.parametrize("query", ["code=any", "code=any&state=", "error=access_denied"])
def test_code_without_a_login_is_discarded(page: Page, accounts: Simulator, query: str) -> None:
    page.goto(f"{accounts.url}/?{query}")
    expect(page.locator("#login-message")).to_contain_text("so it was discarded")
    expect(page).to_have_url(f"{accounts.url}/")
    assert accounts.requests() == []


def test_failed_refresh_is_explained_and_keeps_the_tokens(
    playground: Page, accounts: Simulator, watch: Watch
) -> None:
    log_in(playground)
    greeted(playground)
    accounts.reset()  # which forgets every token it issued
    watch.announce(BAD_REQUEST)
    assert refresh(playground).status == 400
    expect(session(playground).get_by_text("Error from Spotify")).to_be_visible()
    expect(session(playground).get_by_text("let the user log in again")).to_be_visible()
    expect_said(playground, "The refresh failed: 400 Bad Request.")
    expect(session(playground).get_by_role("timer")).to_be_visible()


def test_two_pages_log_in_independently(open_page: Open, accounts: Simulator) -> None:
    first = open_page()
    visit(first, accounts.url)
    second = first.context.new_page()
    visit(second, accounts.url)
    go_to_login(first)
    assert log_in(second, "Authorization code for").status == 200
    greeted(second)
    first.get_by_role("button", name="Agree").click()
    greeted(first)
