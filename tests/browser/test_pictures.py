"""Take the README's screenshots of the playground; `make screenshots` copies them."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser import chromium
from tests.browser.conftest import PICTURES, Open, Start
from tests.browser.playground import greeted, log_in, region, response_of, session, visit
from tests.browser.watching import Watch

SIZE: ViewportSize = {"width": 1200, "height": 745}
"""Of both screenshots."""
LIMIT = 150_000
"""The maximum size in bytes."""
SERVICE, SIMULATOR = "http://127.0.0.1:7000", "http://127.0.0.1:7001"
"""The URLs of `make run`. Chromium maps them to free ports."""


@pytest.fixture
def demo(browser: Browser, start: Start) -> Iterator[Browser]:
    """Return a Chromium that reaches service and simulator at the URLs of `make run`."""
    pair = start(("--service-url", SERVICE), CORS_ALLOW_ORIGINS=SIMULATOR)
    reachable = (
        f"MAP 127.0.0.1:7000 127.0.0.1:{pair.service.port} , "
        f"MAP 127.0.0.1:7001 127.0.0.1:{pair.simulator.port}"
    )
    with chromium.launch(browser.browser_type, reachable) as demo:
        yield demo


@pytest.fixture
def open_demo(demo: Browser, watch: Watch) -> Iterator[Open]:
    watch.allow(SERVICE)
    watch.allow(SIMULATOR)
    with ExitStack() as stack:

        def open_demo(**options: Any) -> Page:  # noqa: ANN401 - Playwright has a type for each
            context = demo.new_context(locale="en-GB", reduced_motion="reduce", **options)
            watch.over(stack.enter_context(context))
            return context.new_page()

        yield open_demo


def shoot(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=PICTURES / name)


def test_picture_of_a_login(open_demo: Open) -> None:
    page = open_demo(viewport=SIZE, color_scheme="light")
    visit(page, SIMULATOR)
    log_in(page)
    greeted(page)
    expect(session(page).get_by_text("200 OK").first).to_be_visible()
    shoot(page, "playground-login.png")


def test_picture_of_an_error(open_demo: Open, watch: Watch) -> None:
    page = open_demo(viewport=SIZE, color_scheme="light")
    visit(page, SIMULATOR)
    watch.announce("Failed to load resource: .* 503 ")
    button = page.get_by_role("button", name="503 Spotify returns")
    response_of(page, "/retrieve-tokens", button.click)
    errors = region(page, "Errors")
    expect(errors.get_by_text("Error from Spotify, passed on unchanged.")).to_be_visible()
    errors.evaluate("part => scrollTo(0, part.getBoundingClientRect().top + scrollY)")
    shoot(page, "playground-error.png")


@pytest.mark.parametrize("name", ["playground-login.png", "playground-error.png"])
def test_pictures_of_the_readme_exist(name: str) -> None:
    assert f"docs/images/{name}" in Path("README.md").read_text()
    assert Path("docs/images", name).stat().st_size < LIMIT
