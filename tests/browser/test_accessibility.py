"""Test the playground with a keyboard, a screen reader, a phone, dark colours and no scripts."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import PICTURES, Open, Start
from tests.browser.playground import (
    PHONE,
    expect_said,
    greeted,
    log_in,
    region,
    response_of,
    session,
    visit,
)
from tests.browser.watching import Watch
from tests.chaos.processes import Service, Simulator

TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
MOVING = """
[...document.querySelectorAll("*")].filter((element) => {
  const {animationName, transitionDuration, scrollBehavior} = getComputedStyle(element);
  return animationName !== "none" || /[1-9]/.test(transitionDuration) || scrollBehavior !== "auto";
}).map((element) => element.outerHTML)
"""
FOCUS = """
() => {
  const {outlineStyle, outlineWidth} = getComputedStyle(document.activeElement);
  return outlineStyle === "auto" || (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2);
}
"""
ROLES = """
- link "Skip to content"
- banner:
  - paragraph: spotify-api-server
  - paragraph: Simulated Spotify
  - navigation "Page":
    - link "App token"
    - link "Errors"
    - link "API reference"
- main:
  - heading "Playground" [level=1]
  - status
  - region "Log in as your app would":
    - heading "Log in as your app would" [level=2]
    - group "Flow":
      - radio /with PKCE/ [checked]
      - radio /Authorization code/
    - paragraph:
      - button "Log in with the simulator"
    - group: "Scopes: 2"
    - term: Redirect URI
    - definition:
      - button "Copy the redirect URI"
    - definition
    - term: Service
    - definition
    - figure:
      - button "Copy the URL of the login page"
      - group "1. Your app opens the login page"
    - figure:
      - button "Copy the code exchange"
      - group "2. Your app exchanges the code here"
  - region "App access token":
    - heading "App access token" [level=2]
    - paragraph:
      - button "Get app token"
  - region "Errors":
    - heading "Errors" [level=2]
    - heading "From this server" [level=3]
    - list
    - heading "From Spotify" [level=3]
    - list
    - heading "When Spotify fails" [level=3]
    - list
"""


def fill(page: Page, simulator: Simulator, watch: Watch) -> None:
    """Fill every part of the page."""
    visit(page, simulator.url)
    log_in(page)
    greeted(page)
    watch.announce("Failed to load resource: .* 405 ")
    for name in ("Get app token", "405 Wrong method"):
        act = page.get_by_role("button", name=name)
        response_of(page, "/retrieve-tokens", act.click)
    expect(region(page, "Errors").locator(".exchange")).to_be_visible()


def test_screen_readers_get_the_structure(playground: Page) -> None:
    expect(playground.locator("body")).to_match_aria_snapshot(ROLES)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [None, PHONE], ids=["desktop", "phone"])
def test_page_is_accessible(
    open_page: Open,
    accounts: Simulator,
    watch: Watch,
    scheme: str,
    viewport: dict[str, int] | None,
) -> None:
    page = open_page(color_scheme=scheme, **({"viewport": viewport} if viewport else {}))
    visit(page, accounts.url)
    page.get_by_text("Scopes: 2").click()
    assert violations(page) == []
    fill(page, accounts, watch)
    assert violations(page) == []


def test_warning_is_accessible(page: Page, start: Start, watch: Watch) -> None:
    watch.announce("blocked by CORS policy")
    watch.announce("Failed to load resource: net::ERR_FAILED")
    visit(page, start(CORS_ALLOW_ORIGINS="https://app.example").simulator.url)
    expect(page.locator("#problem")).to_be_visible()
    assert violations(page) == []


# Keyboard ------------------------------------------------------------------------------------


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until an element has the focus. Each focused element must show it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS), page.evaluate("document.activeElement.outerHTML")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"Tab does not reach {wanted}")


def test_login_by_keyboard_alone(playground: Page) -> None:
    page = playground
    tab_to(page, page.get_by_role("radio", name="with PKCE"))
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Authorization code for")).to_be_checked()
    tab_to(page, page.locator(".scopes summary"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("checkbox", name="streaming"))
    page.keyboard.press("Space")
    page.keyboard.press("Enter")  # a form is submitted from each of its fields
    page.wait_for_url("**/authorize?*scope=streaming*")  # a key that comes too early is lost
    tab_to(page, page.get_by_role("button", name="Agree"))
    page.keyboard.press("Enter")
    greeted(page)
    expect(page.get_by_role("heading", name="Hello, Alice")).to_be_focused()
    tab_to(page, page.get_by_role("button", name="Refresh", exact=True))
    response_of(page, "/refresh-tokens", lambda: page.keyboard.press("Space"))
    expect_said(page, "Refreshed. The new access token expires in 1 hour.")
    # The focus is where it was.
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Copy as curl: refresh")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Forget tokens")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Log in as your app would")).to_be_focused()


def test_error_by_keyboard_alone(playground: Page, watch: Watch) -> None:
    button = playground.get_by_role("button", name="405 Wrong method")
    tab_to(playground, button)
    watch.announce("Failed to load resource: .* 405 ")
    playground.keyboard.press("Enter")
    expect_said(playground, "The response is 405 Method Not Allowed.")
    expect(button).to_be_focused()
    # What is longer than its box can be scrolled to its end.
    response = region(playground, "Errors").get_by_role("group", name="Response")
    tab_to(playground, response)


def test_skip_link(playground: Page) -> None:
    playground.keyboard.press("Tab")
    expect(playground.get_by_role("link", name="Skip to content")).to_be_focused()
    expect(playground.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    playground.keyboard.press("Enter")
    playground.keyboard.press("Tab")
    expect(playground.get_by_role("radio", name="with PKCE")).to_be_focused()


# Screens -------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 320])
def test_phones_scroll_down_only(
    open_page: Open, accounts: Simulator, watch: Watch, width: int
) -> None:
    """WCAG 2.2, 1.4.10, requires this down to 320."""
    viewport = {"width": width, "height": 844}
    page = open_page(viewport=viewport, is_mobile=True, has_touch=True)
    visit(page, accounts.url)
    page.get_by_text("Scopes: 2").tap()
    assert not page.evaluate(TOO_WIDE)
    page.screenshot(path=PICTURES / f"phone-login-{width}.png", full_page=True)
    fill(page, accounts, watch)
    assert not page.evaluate(TOO_WIDE)
    page.screenshot(path=PICTURES / f"phone-{width}.png", full_page=True)


def test_targets_are_large_enough_for_fingers(
    open_page: Open, accounts: Simulator, watch: Watch
) -> None:
    """WCAG 2.2, 2.5.8: 24 by 24 pixels."""
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True)
    fill(page, accounts, watch)
    targets = page.locator("button:visible, summary:visible, nav a:visible").all()
    assert len(targets) > 25
    for target in targets:
        box = target.bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 24, target.inner_text()


@pytest.mark.parametrize(("scheme", "ground"), [("light", 255), ("dark", 0)])
def test_colour_scheme_is_followed(
    open_page: Open, accounts: Simulator, watch: Watch, scheme: str, ground: int
) -> None:
    page = open_page(color_scheme=scheme)
    fill(page, accounts, watch)
    colour = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    parts = [int(part) for part in re.findall(r"\d+", colour)]
    assert all(abs(part - ground) < 40 for part in parts), colour
    page.screenshot(path=PICTURES / f"playground-{scheme}.png", full_page=True)


def test_nothing_moves_with_reduced_motion(
    open_page: Open, accounts: Simulator, watch: Watch
) -> None:
    page = open_page(reduced_motion="reduce")
    fill(page, accounts, watch)
    assert page.evaluate(MOVING) == []


def test_forced_colours_show_which_flow_is_chosen(open_page: Open, accounts: Simulator) -> None:
    page = open_page(forced_colors="active")
    visit(page, accounts.url)
    radios = page.get_by_role("radio")
    assert radios.nth(0).screenshot() != radios.nth(1).screenshot()


def test_text_can_be_twice_as_large(open_page: Open, accounts: Simulator, watch: Watch) -> None:
    """WCAG 2.2, 1.4.4; Chromium's zoom of 200 % on a wide screen is one of half its width."""
    page = open_page(viewport={"width": 640, "height": 400}, device_scale_factor=2)
    fill(page, accounts, watch)
    assert not page.evaluate(TOO_WIDE)


def test_page_without_scripts_shows_a_notice(open_page: Open, accounts: Simulator) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(f"{accounts.url}/")
    message = page.locator("noscript > *")  # elements only where scripts are off
    expect(message).to_be_visible()
    expect(message).to_have_text("This page needs JavaScript.")


def test_api_reference_is_the_services(playground: Page, service: Service) -> None:
    link = playground.get_by_role("link", name="API reference")
    expect(link).to_have_attribute("href", f"{service.url}/docs")
    link.click()
    expect(playground).to_have_url(f"{service.url}/docs")
    expect(session(playground)).to_have_count(0)
