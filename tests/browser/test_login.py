"""/try: log in, see the tokens, refresh them, and what stays behind of all that: nothing."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from simulator.pkce import challenge_of
from tests.browser import chromium
from tests.browser.conftest import Open, Picture
from tests.browser.trying import (
    FLOWS,
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

in_both_flows = pytest.mark.parametrize("flow", FLOWS)
HISTORY = {"History", "History-journal", "Session", "Tabs", "ukm_db", "ukm_db-wal"}
"""Where Chromium keeps which addresses somebody was at."""
BAD_REQUEST = r"Failed to load resource: .* 400 \(Bad Request\)"


@pytest.fixture
def trying(page: Page, service: Service) -> Page:
    visit(page, service.url)
    return page


@in_both_flows
def test_a_person_logs_in_and_refreshes_twice(trying: Page, flow: str, picture: Picture) -> None:
    first = log_in(trying, flow)
    assert first.status == 200
    tokens = region(trying, "Tokens")
    expect(tokens.get_by_text("200 OK")).to_be_visible()
    expect(tokens.get_by_role("timer", name="Time to expiry")).to_have_text(
        re.compile(r"1:00:00|59:\d\d")
    )
    expect_said(trying, "You are logged in: tokens have come.")
    expect(trying.get_by_role("heading", name="Tokens")).to_be_focused()
    picture(f"tokens-{flow[:4].lower()}")
    access_tokens = {first.json()["access_token"]}
    for _ in range(2):
        answer = refresh(trying)
        assert answer.status == 200
        expect_said(trying, "Refreshed: the new access token is good for 1 hour.")
        expect(tokens.get_by_role("button", name="Refresh tokens")).to_be_focused()
        access_tokens.add(answer.json()["access_token"])
    assert len(access_tokens) == 3


def test_pkce_proves_itself_without_the_secret(trying: Page, accounts: Simulator) -> None:
    log_in(trying)
    retrieved = accounts.requests()[-1]
    assert {name for name, _ in retrieved["form"]} == {
        "grant_type",
        "code",
        "code_verifier",
        "redirect_uri",
        "client_id",
    }


def test_each_pkce_refresh_sends_the_token_of_the_one_before(trying: Page) -> None:
    """The simulator takes each but once, as Spotify does."""
    newest = log_in(trying).json()["refresh_token"]
    for _ in range(2):
        answer = refresh(trying)
        assert parse_qs(answer.request.post_data or "")["refresh_token"] == [newest]
        newest = answer.json()["refresh_token"]


def test_scopes_that_were_asked_for_are_agreed_to_and_answered(trying: Page) -> None:
    trying.get_by_role("textbox", name="Scopes").fill("user-read-private, playlist-read-private ")
    choose(trying, "PKCE")
    go_to_login(trying)
    expect(trying.get_by_text("playlist-read-private", exact=True)).to_be_visible()
    trying.get_by_role("button", name="Agree").click()
    scope = region(trying, "Tokens").get_by_text("user-read-private playlist-read-private")
    expect(scope).to_be_visible()


@in_both_flows
def test_tokens_are_shortened_and_the_sealed_one_is_marked(trying: Page, flow: str) -> None:
    answer = log_in(trying, flow).json()
    tokens = region(trying, "Tokens")
    for name in ("access_token", "refresh_token"):
        token = answer[name]
        shown = tokens.locator("dl > div").filter(has=trying.get_by_text(name, exact=True))
        expect(shown).to_contain_text(f"{token[:10]}…{token[-10:]}")
        expect(shown).to_contain_text(f"{len(token)} characters")
        expect(shown.get_by_text("sealed", exact=True)).to_have_count(int(name == "refresh_token"))
    refresh(trying)
    kept = tokens.get_by_text("No refresh_token came: the one you have stays good.")
    expect(kept).to_have_count(int(flow == "Authorization code"))
    copy = tokens.get_by_role("button", name="Copy refresh_token")
    expect(copy).to_have_count(1)


def test_short_tokens_are_shortened_too(trying: Page, accounts: Simulator) -> None:
    body = '{"access_token": "a-short-access-token", "id_token": "a-short-id-token"}'
    json_type = "application/json"
    accounts.befall({"kind": "status", "status": 200, "content_type": json_type, "body": body})
    answer = log_in(trying)
    tokens = region(trying, "Tokens")
    expect(tokens).to_contain_text("a-sho…token")
    shown = tokens.inner_text()
    assert [token for token in tokens_of(answer) if token in shown] == []


@in_both_flows
def test_nothing_secret_outlives_the_login(trying: Page, flow: str) -> None:
    retrieved = log_in(trying, flow)
    renewed = refresh(trying)
    fields = parse_qs(retrieved.request.post_data or "")
    secrets = [fields[name][0] for name in ("code", "code_verifier") if name in fields]
    secrets += [*tokens_of(retrieved), *tokens_of(renewed)]
    assert len(secrets) == {"PKCE": 6, "Authorization code": 4}[flow]
    expect_said(trying, "Refreshed: the new access token is good for 1 hour.")
    left = traces(trying)
    assert [secret for secret in secrets if secret in left] == []
    assert trying.evaluate("sessionStorage.length") == 0
    assert trying.context.cookies() == []


def tokens_of(answer: Response) -> list[str]:
    return [value for name, value in answer.json().items() if name.endswith("_token")]


def traces(page: Page) -> str:
    """Return all that a page leaves where others may read it."""
    history = page.context.new_cdp_session(page).send("Page.getNavigationHistory")
    # NOTE: the entry of the navigation has the address that the page came by, code and all; nobody
    # can take it out, and it is gone with the page.
    held = page.evaluate(
        "async () => [{...localStorage}, {...sessionStorage}, history.state, document.cookie,"
        " await caches.keys(), await indexedDB.databases(), document.documentElement.outerHTML,"
        " window.name, document.referrer,"
        " performance.getEntries().filter(({ entryType }) => entryType !== 'navigation')]"
    )
    assert any("/authorize" in entry["url"] for entry in history["entries"])
    assert any("/retrieve-tokens" in entry["name"] for entry in held[-1])
    return json.dumps([history, held])


def test_the_disk_keeps_nothing_of_a_login_but_the_address_in_the_history(
    browser: Browser, watch: Watch, service: Service, tmp_path: Path
) -> None:
    with chromium.keeping(browser.browser_type, tmp_path) as context:
        watch.over(context)
        page = context.new_page()
        visit(page, service.url)
        retrieved = log_in(page)
        expect_said(page, "You are logged in: tokens have come.")
        fields = parse_qs(retrieved.request.post_data or "")
        tokens = tokens_of(retrieved)
    for secret in (fields["code_verifier"][0], *tokens):
        assert files_with(secret, tmp_path) == set()
    assert files_with(fields["code"][0], tmp_path) <= HISTORY
    assert files_with(f"{service.url}/try/main.js", tmp_path) - HISTORY


def files_with(text: str, directory: Path) -> set[str]:
    """Return the names of the files that have a text, without the numbers of some."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.name.partition("_1")[0] for path in files if text.encode() in path.read_bytes()}


def test_each_login_has_a_state_and_a_verifier_of_its_own(trying: Page, service: Service) -> None:
    sent = []
    for _ in range(2):
        choose(trying, "PKCE")
        go_to_login(trying)
        query = parse_qs(urlsplit(trying.url).query)
        trying.goto(f"{service.url}/docs")
        [kept] = trying.evaluate("Object.values(sessionStorage)")
        verifier = json.loads(kept)["verifier"]
        assert query["code_challenge"] == [challenge_of(verifier)]
        sent += [query["state"][0], verifier]
        visit(trying, service.url)
    assert len(set(sent)) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", text) for text in sent), sent


def test_between_login_and_answer_only_what_is_needed_is_put_aside(
    trying: Page, service: Service
) -> None:
    go_to_login(trying)
    query = parse_qs(urlsplit(trying.url).query)
    assert query["redirect_uri"] == [f"{service.url}/try"]
    assert query["code_challenge_method"] == ["S256"]
    trying.goto(f"{service.url}/docs")
    [kept] = trying.evaluate("Object.values(sessionStorage)")
    assert json.loads(kept) == {
        "flow": "pkce",
        "state": query["state"][0],
        "verifier": json.loads(kept)["verifier"],
    }
    assert len(json.loads(kept)["verifier"]) == 43


def test_its_calls_carry_no_cookie(trying: Page, service: Service) -> None:
    trying.context.add_cookies([{"name": "another-apps", "value": "x", "url": service.url}])
    trying.reload()
    with trying.expect_request("**/try") as navigated:
        visit(trying, service.url)
    assert navigated.value.all_headers()["cookie"] == "another-apps=x"
    for answer in (log_in(trying), refresh(trying)):
        assert "cookie" not in answer.request.all_headers()


def test_an_answer_that_leads_elsewhere_is_not_followed(
    trying: Page, service: Service, watch: Watch
) -> None:
    asked: list[str] = []
    trying.context.on("request", lambda request: asked.append(request.url))
    elsewhere = {"Location": f"{service.url}/docs"}
    trying.route("**/*-tokens", lambda route: route.fulfill(status=307, headers=elsewhere))
    watch.announce("^error: Failed to load resource: net::ERR_FAILED")
    trying.get_by_role("button", name="Get the app’s token").click()
    expect_said(trying, "The answer is No answer.")
    assert asked == [f"{service.url}/client-credentials-flow/retrieve-tokens"]


def test_a_reload_forgets_the_tokens(trying: Page, service: Service) -> None:
    log_in(trying)
    expect(trying).to_have_url(f"{service.url}/try")
    trying.reload()
    none = region(trying, "Tokens").get_by_text("None yet: log in first.")
    expect(none).to_be_visible()
    expect(trying.get_by_role("button", name="Refresh tokens")).to_be_disabled()


def test_going_back_after_a_login_swaps_nothing_again(
    trying: Page, service: Service, accounts: Simulator
) -> None:
    """Back is the page of consent, and before that the page as it was before the login."""
    log_in(trying)
    expect_said(trying, "You are logged in: tokens have come.")
    trying.evaluate("history.back()")
    expect(trying.get_by_role("button", name="Agree")).to_be_visible()
    trying.evaluate("history.back()")
    expect(trying).to_have_url(f"{service.url}/try")
    expect(region(trying, "Tokens").get_by_text("None yet: log in first.")).to_be_visible()
    expect(trying.get_by_role("button", name="Log in with the simulator")).to_be_enabled()
    assert len(accounts.requests()) == 1


def test_tokens_can_be_forgotten(trying: Page) -> None:
    token = log_in(trying).json()["access_token"]
    trying.get_by_role("button", name="Forget tokens").click()
    expect_said(trying, "The tokens are forgotten.")
    expect(region(trying, "Tokens").get_by_text("None yet: log in first.")).to_be_visible()
    assert token[:10] not in trying.content()
    expect(trying.get_by_role("button", name="Refresh tokens")).to_be_disabled()


def test_the_time_left_is_counted_down_and_said_now_and_then(page: Page, service: Service) -> None:
    start = datetime(2026, 11, 1, 12, tzinfo=UTC)
    page.clock.install(time=start)
    visit(page, service.url)
    page.clock.pause_at(start.replace(hour=13))
    log_in(page)
    timer = region(page, "Tokens").get_by_role("timer", name="Time to expiry")
    expect(timer).to_have_text("1:00:00")
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


@pytest.mark.parametrize(
    "expires_in", ["1e308", '"3600"', "null", "-1", "0.5", "31622401", "[3600]", "1e999"]
)
def test_an_expiry_that_is_none_is_not_counted_down(
    trying: Page, accounts: Simulator, expires_in: str
) -> None:
    told = {"kind": "status", "status": 200, "content_type": "application/json"}
    body = f'{{"access_token": "any", "refresh_token": "one", "expires_in": {expires_in}}}'
    accounts.befall({**told, "body": body}, {**told, "body": body})
    assert log_in(trying).status == 200
    expect_said(trying, "You are logged in: tokens have come.")
    tokens = region(trying, "Tokens")
    expect(tokens.get_by_text("No expiry came")).to_be_visible()
    expect(tokens.get_by_role("timer")).to_be_hidden()
    assert refresh(trying).status == 200
    expect_said(trying, "Refreshed: no expiry came.")


def test_who_says_no_comes_back_to_that_in_words(trying: Page, service: Service) -> None:
    go_to_login(trying)
    trying.get_by_role("button", name="Cancel").click()
    told = region(trying, "Log in").get_by_text("The person said no (access_denied).")
    expect(told).to_be_visible()
    expect(trying).to_have_url(f"{service.url}/try")
    expect(trying.get_by_role("heading", name="Log in")).to_be_focused()
    assert log_in(trying).status == 200


def test_a_code_with_another_state_is_thrown_away(
    trying: Page, service: Service, accounts: Simulator
) -> None:
    go_to_login(trying)
    trying.goto(f"{service.url}/try?code=somebody-elses&state=another")
    told = region(trying, "Log in").get_by_text("a state that this page did not send")
    expect(told).to_be_visible()
    expect(trying).to_have_url(f"{service.url}/try")
    assert trying.evaluate("sessionStorage.length") == 0
    assert accounts.requests() == []


@pytest.mark.parametrize("path", ["/try", "//try", "/try/"])
@pytest.mark.parametrize("query", ["code=any", "code=any&state=", "error=access_denied"])
def test_an_answer_without_a_login_is_thrown_away(
    page: Page, service: Service, accounts: Simulator, path: str, query: str
) -> None:
    page.goto(f"{service.url}{path}?{query}")
    expect(region(page, "Log in").get_by_text("so it was thrown away")).to_be_visible()
    expect(page).to_have_url(f"{service.url}/try")
    assert accounts.requests() == []


@pytest.mark.parametrize(
    ("came", "left"),
    [("#access_token=any", ""), ("?code=any#access_token=any", ""), ("#errors", "#errors")],
)
def test_a_fragment_that_is_no_step_is_taken_out_of_the_address(
    page: Page, service: Service, came: str, left: str
) -> None:
    page.goto(f"{service.url}/try{came}")
    expect(page.get_by_role("button", name="405 Wrong method")).to_be_attached()
    expect(page).to_have_url(f"{service.url}/try{left}")


def test_a_refresh_that_fails_says_why_and_keeps_the_tokens(
    trying: Page, accounts: Simulator, watch: Watch
) -> None:
    log_in(trying)
    accounts.reset()  # which forgets every token it issued
    watch.announce(BAD_REQUEST)
    assert refresh(trying).status == 400
    tokens = region(trying, "Tokens")
    expect(tokens.get_by_text("Spotify’s error, passed on")).to_be_visible()
    expect(tokens.get_by_text("have the person log in again")).to_be_visible()
    expect_said(trying, "The refresh failed: 400 Bad Request.")
    expect(tokens.get_by_role("timer")).to_be_visible()


def test_two_pages_log_in_beside_each_other(open_page: Open, service: Service) -> None:
    first = open_page()
    visit(first, service.url)
    second = first.context.new_page()
    visit(second, service.url)
    go_to_login(first)
    assert log_in(second, "Authorization code").status == 200
    first.get_by_role("button", name="Agree").click()
    expect_said(first, "You are logged in: tokens have come.")
