"""/docs as its readers have it: any colour, any width, by keyboard, without scripts."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import Open, Picture
from tests.chaos.processes import Service

PHONE = {"width": 390, "height": 844}
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture
def docs(page: Page, service: Service) -> Page:
    page.goto(f"{service.url}/docs")
    return page


def test_it_reads_as_a_page_of_every_request(docs: Page, picture: Picture) -> None:
    expect(docs).to_have_title("spotify-api-server 1.0.0: HTTP interface")
    requests = docs.get_by_role("main").get_by_role("heading", level=3)
    expect(requests.filter(has_text="POST /")).to_have_count(5)
    assert docs.locator("script").count() == 0
    picture("docs")


def test_every_link_leads_somewhere(docs: Page) -> None:
    links = docs.get_by_role("link").evaluate_all("links => links.map(a => a.href)")
    assert len(links) > 10
    for link in links:
        answer = docs.request.get(link)
        assert answer.ok, link
        if fragment := link.partition("#")[2]:
            assert docs.locator(f"[id='{fragment}']").count() == 1, link


def test_the_first_tab_skips_to_the_requests(docs: Page) -> None:
    link = docs.get_by_role("link", name="Skip to the requests")
    assert not in_view(link.bounding_box())
    docs.keyboard.press("Tab")
    expect(link).to_be_focused()
    assert in_view(link.bounding_box())
    docs.keyboard.press("Enter")
    expect(docs).to_have_url(re.compile("/docs#requests$"))
    docs.keyboard.press("Tab")
    inside = "document.querySelector('main').contains(document.activeElement)"
    assert docs.evaluate(inside)


def in_view(box: object) -> bool:
    return isinstance(box, dict) and box["y"] >= 0 and box["x"] >= 0


def test_answers_unfold_by_keyboard(docs: Page) -> None:
    answer = docs.locator("details").first
    expect(answer.locator("pre").first).to_be_hidden()
    answer.locator("summary").press("Enter")
    expect(answer.locator("pre").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(open_page: Open, service: Service, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    page.goto(f"{service.url}/docs")
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
    assert violations(page) == []


@pytest.mark.parametrize(("scheme", "ground"), [("light", "#ffffff"), ("dark", "#121614")])
def test_it_is_as_dark_as_its_reader_wants(
    open_page: Open, service: Service, scheme: str, ground: str
) -> None:
    page = open_page(color_scheme=scheme)
    page.goto(f"{service.url}/docs")
    expect(page.locator("body")).to_have_css("background-color", rgb(ground))


def rgb(code: str) -> str:
    return f"rgb({', '.join(str(part) for part in bytes.fromhex(code[1:]))})"


def test_a_phone_scrolls_down_only(open_page: Open, service: Service) -> None:
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True)
    page.goto(f"{service.url}/docs")
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
    assert not page.evaluate(WIDE)


def test_it_is_the_same_without_scripts(open_page: Open, docs: Page, service: Service) -> None:
    without = open_page(java_script_enabled=False)
    without.goto(f"{service.url}/docs")
    assert without.locator("body").aria_snapshot() == docs.locator("body").aria_snapshot()
