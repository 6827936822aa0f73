"""/try: the lines for an app have this server's URLs, can be copied, and those for curl work."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Open
from tests.browser.trying import FLOWS, choose, expect_said, log_in, pasted, region, visit
from tests.chaos.processes import Service, Simulator
from tests.running import CLIENT_ID

LANGUAGES = ("curl", "Swift", "iOS SDK", "Kotlin", "TypeScript")
STEPS = {
    "Log in": "Code to log in",
    "Tokens": "Code to refresh",
    "The app’s own token": "Code for the app’s own token",
}


@pytest.fixture
def trying(open_page: Open, service: Service) -> Page:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    visit(page, service.url)
    return page


def code(page: Page, step: str) -> str:
    lines: str = region(page, step).get_by_role("tabpanel").inner_text()
    return lines


def tab(page: Page, step: str, language: str) -> Locator:
    tabs = region(page, step).get_by_role("tablist", name=STEPS[step])
    return tabs.get_by_role("tab", name=language, exact=True)


def clipboard(page: Page) -> str:
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_lines_have_the_urls_of_this_place(
    trying: Page, service: Service, accounts: Simulator, flow: str, language: str
) -> None:
    choose(trying, flow)
    tab(trying, "Log in", language).click()
    lines = "".join(code(trying, step) for step in STEPS)
    asked = FLOWS["Authorization code" if language == "iOS SDK" else flow]
    for path in (f"{asked}/retrieve-tokens", f"{asked}/refresh-tokens"):
        assert f"{service.url}/{path}" in lines
    app_token = f"{service.url}/client-credentials-flow/retrieve-tokens"
    assert (app_token in lines) == (language != "iOS SDK")  # which has no such flow
    # Nothing but this server, where to log in, and where the app itself is.
    origins = set(re.findall(r"https?://[^/'\"\s]+", lines))
    assert origins <= {service.url, accounts.url, "http://127.0.0.1:8888"}


def test_lines_are_of_this_app_and_its_scopes(trying: Page) -> None:
    trying.get_by_role("textbox", name="Scopes").fill("user-read-private")
    for language, scope in (("curl", "user-read-private"), ("Swift", ".userReadPrivate")):
        tab(trying, "Log in", language).click()
        assert CLIENT_ID in code(trying, "Log in")
        assert scope in code(trying, "Log in")


def test_the_language_is_the_same_everywhere_and_stays(trying: Page, service: Service) -> None:
    tab(trying, "Tokens", "Kotlin").click()
    for step in STEPS:
        expect(tab(trying, step, "Kotlin")).to_have_attribute("aria-selected", "true")
    visit(trying, service.url)
    expect(tab(trying, "Log in", "Kotlin")).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("kept", ["cobol", "", "__proto__"])
def test_a_language_that_is_none_is_no_harm(open_page: Open, service: Service, kept: str) -> None:
    page = open_page()
    page.goto(f"{service.url}/docs")
    page.evaluate("kept => localStorage.setItem('spotify-api-server.language', kept)", kept)
    visit(page, service.url)
    expect(tab(page, "Log in", "curl")).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("language", LANGUAGES)
def test_lines_are_copied(trying: Page, language: str) -> None:
    tab(trying, "Log in", language).click()
    region(trying, "Log in").get_by_role("button", name="Copy code").click()
    expect_said(trying, "Copied.")
    assert clipboard(trying).rstrip("\n") == code(trying, "Log in").rstrip("\n")


def test_the_redirect_uri_and_whole_tokens_are_copied(trying: Page, service: Service) -> None:
    trying.get_by_role("button", name="Copy redirect URI").click()
    expect(trying.get_by_role("button", name="Copied")).to_be_visible()
    assert clipboard(trying) == f"{service.url}/try"
    answer = log_in(trying).json()
    for name in ("access_token", "refresh_token"):
        trying.get_by_role("button", name=f"Copy {name}").click()
        expect_said(trying, re.compile("Copied"))
        assert clipboard(trying) == answer[name]


def test_where_nothing_can_be_copied_it_says_so(open_page: Open, service: Service) -> None:
    page = open_page()
    page.add_init_script("delete Navigator.prototype.clipboard")  # as on plain http elsewhere
    visit(page, service.url)
    page.get_by_role("button", name="Copy redirect URI").click()
    expect(page.get_by_role("button", name="Can’t copy")).to_be_visible()
    expect_said(page, "The browser does not let this page copy: select the text.")


# Pasted into bash ----------------------------------------------------------------------------


@pytest.fixture
def shell() -> Iterator["subprocess.Popen[str]"]:
    """Return a shell that lines can be pasted into one after the other."""
    with subprocess.Popen(
        ["bash"],  # noqa: S607 - as a person starts it
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("flow", FLOWS)
def test_the_lines_to_log_in_do(trying: Page, shell: "subprocess.Popen[str]", flow: str) -> None:
    choose(trying, flow)
    begin, swap = code(trying, "Log in").split("CODE=''\n")
    assert shell.stdin
    assert shell.stdout
    shell.stdin.write(begin)
    shell.stdin.flush()
    location = agreed(shell.stdout.readline().strip())
    assert location.startswith("http://127.0.0.1:8888/callback?")
    [given] = parse_qs(urlsplit(location).query)["code"]
    out, _ = shell.communicate(f"CODE='{given}'\n{swap}", timeout=30)
    assert set(json.loads(out)) >= {"access_token", "refresh_token", "expiration_date"}


def agreed(login_url: str) -> str:
    """Return where a person is sent who opens the URL and agrees."""
    answer = httpx.post(login_url, data={"decision": "allow"}, trust_env=False)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


@pytest.mark.parametrize("flow", FLOWS)
def test_the_lines_to_refresh_do(trying: Page, flow: str) -> None:
    log_in(trying, flow)
    trying.get_by_role("button", name="Copy refresh_token").click()
    expect_said(trying, "Copied.")
    token = clipboard(trying)
    lines = code(trying, "Tokens").replace("REFRESH_TOKEN=''", f"REFRESH_TOKEN='{token}'")
    assert token in lines
    assert "access_token" in json.loads(pasted(lines))


def test_the_lines_for_the_apps_own_token_do(trying: Page) -> None:
    assert "access_token" in json.loads(pasted(code(trying, "The app’s own token")))


def test_the_refresh_lines_are_of_the_flow_that_was_used(trying: Page) -> None:
    log_in(trying, "Authorization code")
    choose(trying, "PKCE")
    assert "/authorization-code-flow/refresh-tokens" in code(trying, "Tokens")
    assert "/authorization-code-flow-pkce/retrieve-tokens" in code(trying, "Log in")
