"""Test /docs: light and dark, wide and narrow, with a keyboard, without scripts."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import Open, Picture
from tests.chaos.processes import Service

PHONE = {"width": 390, "height": 844}
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
on_every_size = pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE])


@pytest.fixture
def docs(page: Page, service: Service) -> Page:
    page.goto(f"{service.url}/docs")
    return page


def navigation(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Contents")


def test_page_shows_every_operation(docs: Page, picture: Picture) -> None:
    expect(docs).to_have_title("spotify-api-server 1.0.0: HTTP interface")
    expect(docs.get_by_role("article").filter(has_text="POST /")).to_have_count(6)
    assert docs.locator("script").count() == 0
    picture("docs")


def test_curl_command_calls_this_server(docs: Page, service: Service) -> None:
    command = docs.get_by_role("article").filter(has_text="Exchange a code").locator("pre").first
    expect(command).to_contain_text(f"curl {service.url}/authorization-code-flow/retrieve-tokens")


@on_every_size
def test_navigation_stays_in_view(open_page: Open, service: Service, size: dict[str, int]) -> None:
    page = open_page(viewport=size, reduced_motion="reduce")
    page.goto(f"{service.url}/docs")
    navigation(page).get_by_role("link", name="Get an app access token").click()
    heading = page.get_by_role("heading", name="Get an app access token")
    expect(heading).to_be_in_viewport()
    expect(navigation(page)).to_be_in_viewport()
    bar, below = navigation(page).bounding_box(), heading.bounding_box()
    assert bar is not None
    assert below is not None
    assert below["x"] >= bar["x"] + bar["width"] or below["y"] >= bar["y"] + bar["height"]


def test_status_links_to_the_table_of_errors(docs: Page) -> None:
    operation = docs.get_by_role("article").filter(has_text="Get an app access token")
    operation.get_by_role("link", name="415").click()
    expect(docs).to_have_url(re.compile("/docs#UnsupportedMediaType$"))
    expect(docs.get_by_role("row").filter(has_text="Unsupported Media Type")).to_be_in_viewport()


def test_first_tab_skips_to_the_content(docs: Page) -> None:
    link = docs.get_by_role("link", name="Skip to the content")
    expect(link).not_to_be_in_viewport()
    docs.keyboard.press("Tab")
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport()
    docs.keyboard.press("Enter")
    docs.keyboard.press("Tab")
    assert docs.evaluate("document.querySelector('main').contains(document.activeElement)")


@on_every_size
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(
    open_page: Open, service: Service, scheme: str, size: dict[str, int]
) -> None:
    page = open_page(color_scheme=scheme, viewport=size)
    page.goto(f"{service.url}/docs")
    assert violations(page) == []


@pytest.mark.parametrize(("scheme", "ground"), [("light", "#ffffff"), ("dark", "#121614")])
def test_page_follows_the_colour_scheme(
    open_page: Open, service: Service, scheme: str, ground: str
) -> None:
    page = open_page(color_scheme=scheme)
    page.goto(f"{service.url}/docs")
    expect(page.locator("body")).to_have_css("background-color", rgb(ground))


def rgb(code: str) -> str:
    return f"rgb({', '.join(str(part) for part in bytes.fromhex(code[1:]))})"


def test_phone_does_not_scroll_sideways(open_page: Open, service: Service) -> None:
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True)
    page.goto(f"{service.url}/docs")
    assert not page.evaluate(WIDE)


def test_page_is_the_same_without_scripts(open_page: Open, docs: Page, service: Service) -> None:
    without = open_page(java_script_enabled=False)
    without.goto(f"{service.url}/docs")
    assert without.locator("body").aria_snapshot() == docs.locator("body").aria_snapshot()
