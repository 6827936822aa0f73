"""/try for everybody: by keyboard, by ear, on a phone, in the dark, without motion or scripts."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import PICTURES, Open
from tests.browser.trying import PHONE, answered, expect_said, log_in, region, visit
from tests.browser.watching import Watch
from tests.chaos.processes import Service

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
  return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
}
"""
ROLES = """
- link "Skip to the first step"
- banner:
  - paragraph: With a simulator of Spotify
  - heading "Try it" [level=1]
  - navigation "Steps":
    - list:
      - listitem:
        - link "Log in"
      - listitem:
        - link "Tokens"
      - listitem:
        - link "The app’s own token"
      - listitem:
        - link "Errors"
      - listitem:
        - link "HTTP interface"
- status
- main:
  - region "Log in":
    - heading "Log in" [level=2]
    - group "Flow":
      - radio /PKCE/ [checked]
      - radio /Authorization code/
    - textbox /Scopes/
    - group "Redirect URI to register":
      - button "Copy redirect URI"
    - paragraph:
      - button "Log in with the simulator"
    - tablist "Code to log in":
      - tab "curl" [selected]
      - tab "Swift"
      - tab "iOS SDK"
      - tab "Kotlin"
      - tab "TypeScript"
    - button "Copy code"
    - tabpanel "curl"
  - region "Tokens":
    - heading "Tokens" [level=2]
    - paragraph:
      - button "Refresh tokens" [disabled]
      - button "Forget tokens" [disabled]
    - tablist "Code to refresh"
    - tabpanel "curl"
  - region "The app’s own token":
    - heading "The app’s own token" [level=2]
    - paragraph:
      - button "Get the app’s token"
    - tablist "Code for the app’s own token"
    - tabpanel "curl"
  - region "Errors":
    - heading "Errors" [level=2]
    - heading "By this server" [level=3]
    - list
    - heading "By Spotify" [level=3]
    - list
    - heading "By Spotify in trouble" [level=3]
    - list
- contentinfo
"""


def fill(page: Page, service: Service, watch: Watch) -> None:
    """Bring the page to where it shows all that it can."""
    visit(page, service.url)
    log_in(page)
    watch.announce("Failed to load resource: .* 405 ")
    for name in ("Get the app’s token", "405 Wrong method"):
        answered(page, "/retrieve-tokens", page.get_by_role("button", name=name).click)
    expect(region(page, "Errors").locator(".answer")).to_be_visible()


def test_ears_get_what_eyes_get(page: Page, service: Service) -> None:
    visit(page, service.url)
    expect(page.locator("body")).to_match_aria_snapshot(ROLES)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [None, PHONE], ids=["desktop", "phone"])
def test_nobody_is_kept_out(
    open_page: Open,
    service: Service,
    watch: Watch,
    scheme: str,
    viewport: dict[str, int] | None,
) -> None:
    page = open_page(color_scheme=scheme, **({"viewport": viewport} if viewport else {}))
    visit(page, service.url)
    assert violations(page) == []
    fill(page, service, watch)
    assert violations(page) == []


def test_nobody_is_kept_out_of_a_warning(page: Page, service: Service, watch: Watch) -> None:
    localhost = f"http://localhost:{service.port}"
    watch.allow(localhost)
    page.goto(f"{localhost}/try")
    expect(region(page, "To mend first")).to_be_visible()
    assert violations(page) == []


# By keyboard ---------------------------------------------------------------------------------


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until something has the focus; every stop on the way shows that it has it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS), page.evaluate("document.activeElement.outerHTML")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"Tab does not come to {wanted}")


def test_a_login_by_keyboard_alone(page: Page, service: Service) -> None:
    visit(page, service.url)
    tab_to(page, page.get_by_role("radio", name="PKCE"))
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Authorization code")).to_be_checked()
    tab_to(page, page.get_by_role("textbox", name="Scopes"))
    page.keyboard.type("user-read-private")
    tab_to(page, page.get_by_role("button", name="Log in with the simulator"))
    page.keyboard.press("Enter")
    agree = page.get_by_role("button", name="Agree")
    expect(agree).to_be_visible()
    page.keyboard.press("Tab")
    expect(agree).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Tokens")).to_be_focused()
    tab_to(page, page.get_by_role("button", name="Refresh tokens"))
    answered(page, "/refresh-tokens", lambda: page.keyboard.press("Space"))
    expect_said(page, "Refreshed: the new access token is good for 1 hour.")
    # The focus is where it was: the next stop is the next button.
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Forget tokens")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Tokens")).to_be_focused()


def test_an_error_by_keyboard_alone(page: Page, service: Service, watch: Watch) -> None:
    visit(page, service.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the first step")).to_be_focused()
    button = page.get_by_role("button", name="405 Wrong method")
    tab_to(page, button)
    watch.announce("Failed to load resource: .* 405 ")
    page.keyboard.press("Enter")
    expect_said(page, "The answer is 405 Method Not Allowed.")
    expect(button).to_be_focused()
    # What is longer than its box can be scrolled to its end.
    tab_to(page, page.get_by_label("Answer", exact=True))


def test_arrows_go_through_the_languages(page: Page, service: Service) -> None:
    visit(page, service.url)
    tabs = region(page, "Log in").get_by_role("tab")
    tab_to(page, tabs.first)
    languages = ("Swift", "iOS SDK", "Kotlin", "TypeScript", "curl")
    for language in languages:
        page.keyboard.press("ArrowRight")
        tab = tabs.and_(page.get_by_role("tab", name=language, exact=True))
        expect(tab).to_be_focused()
        expect(tab).to_have_attribute("aria-selected", "true")
        expect(region(page, "Log in").get_by_role("tabpanel", name=language)).to_be_visible()
    for key, language in (("ArrowLeft", "TypeScript"), ("Home", "curl"), ("End", "TypeScript")):
        page.keyboard.press(key)
        expect(tabs.and_(page.get_by_role("tab", name=language, exact=True))).to_be_focused()
    # One stop for all of them (WAI-ARIA, pattern "Tabs"), then the copying, then the lines.
    page.keyboard.press("Tab")
    expect(region(page, "Log in").get_by_role("button", name="Copy code")).to_be_focused()
    page.keyboard.press("Tab")
    expect(region(page, "Log in").get_by_role("tabpanel")).to_be_focused()


def test_the_skip_link_skips(page: Page, service: Service) -> None:
    visit(page, service.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the first step")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name="PKCE")).to_be_focused()


# Other eyes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_scrolls_down_only(
    open_page: Open, service: Service, watch: Watch, width: int
) -> None:
    """WCAG 2.2, 1.4.10, wants this down to 320."""
    viewport = {"width": width, "height": 844}
    page = open_page(viewport=viewport, is_mobile=True, has_touch=True)
    fill(page, service, watch)
    for language in ("Swift", "iOS SDK", "Kotlin", "TypeScript", "curl"):
        region(page, "Log in").get_by_role("tab", name=language, exact=True).tap()
        assert not page.evaluate(TOO_WIDE), language
    page.screenshot(path=PICTURES / f"phone-{width}.png", full_page=True)


def test_a_finger_hits_what_it_means(open_page: Open, service: Service, watch: Watch) -> None:
    """WCAG 2.2, 2.5.8: 24 by 24 pixels."""
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True)
    fill(page, service, watch)
    targets = page.locator("button:visible, [role=tab]:visible, nav a:visible").all()
    assert len(targets) > 30
    for target in targets:
        box = target.bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 24, target.inner_text()


@pytest.mark.parametrize(("scheme", "ground"), [("light", 255), ("dark", 0)])
def test_it_is_as_dark_as_its_reader_wants(
    open_page: Open, service: Service, watch: Watch, scheme: str, ground: int
) -> None:
    page = open_page(color_scheme=scheme)
    fill(page, service, watch)
    colour = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    parts = [int(part) for part in re.findall(r"\d+", colour)]
    assert all(abs(part - ground) < 40 for part in parts), colour
    page.screenshot(path=PICTURES / f"try-{scheme}.png", full_page=True)


def test_nothing_moves_for_who_wants_no_motion(
    open_page: Open, service: Service, watch: Watch
) -> None:
    page = open_page(reduced_motion="reduce")
    fill(page, service, watch)
    assert page.evaluate(MOVING) == []


def test_colours_that_are_forced_hide_nothing(open_page: Open, service: Service) -> None:
    """High contrast: what is chosen, and what has the focus, is still told apart."""
    page = open_page(forced_colors="active")
    visit(page, service.url)
    tabs = region(page, "Log in").get_by_role("tab")
    tab_to(page, tabs.first)
    chosen, other = (tab.screenshot() for tab in (tabs.nth(1), tabs.nth(2)))
    assert chosen != other


def test_text_can_be_twice_as_large(open_page: Open, service: Service, watch: Watch) -> None:
    """WCAG 2.2, 1.4.4; Chromium's zoom of 200 % on a wide screen is one of half its width."""
    page = open_page(viewport={"width": 640, "height": 400}, device_scale_factor=2)
    fill(page, service, watch)
    assert not page.evaluate(TOO_WIDE)


def test_without_scripts_it_says_so(open_page: Open, service: Service) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(f"{service.url}/try")
    told = page.locator("noscript > *")  # which are elements only where scripts are off
    expect(told).to_be_visible()
    expect(told).to_have_text("This page is made of scripts, and they are switched off.")


def test_with_scripts_it_does_not(page: Page, service: Service) -> None:
    visit(page, service.url)
    expect(page.locator("noscript")).to_be_hidden()
    expect(page.locator("noscript > *")).to_have_count(0)
