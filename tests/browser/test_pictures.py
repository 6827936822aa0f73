"""The README's pictures of /try, made anew by each run; `make screenshots` puts them there."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser import chromium
from tests.browser.conftest import PICTURES, Open, StartService
from tests.browser.trying import answered, log_in, region, visit
from tests.browser.watching import Watch
from tests.chaos.processes import Simulator

SIZE: ViewportSize = {"width": 1200, "height": 745}
"""Of both, for they stand side by side."""
LIMIT = 120_000
"""Bytes, which everybody loads who reads the README."""
SERVICE, SIMULATOR = "http://127.0.0.1:7000", "http://127.0.0.1:7001"
"""Where `make run` has them. Here they may be taken: Chromium is told of other ports."""


@pytest.fixture
def demo(browser: Browser, start_service: StartService, accounts: Simulator) -> Iterator[Browser]:
    """Return a Chromium that finds service and simulator where a person would."""
    service = start_service(SPOTIFY_AUTHORIZE_URL=f"{SIMULATOR}/authorize")
    reachable = (
        f"MAP 127.0.0.1:7000 127.0.0.1:{service.port} , "
        f"MAP 127.0.0.1:7001 127.0.0.1:{accounts.port}"
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


def shoot(page: Page, part: str, name: str) -> None:
    """Take a picture of what a person sees who has scrolled to a part of the page."""
    region(page, part).evaluate("part => scrollTo(0, part.getBoundingClientRect().top + scrollY)")
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=PICTURES / name)


def test_tokens_in_the_light(open_demo: Open) -> None:
    page = open_demo(viewport=SIZE, color_scheme="light")
    visit(page, SERVICE)
    log_in(page)
    expect(region(page, "Tokens").get_by_text("sealed", exact=True)).to_be_visible()
    shoot(page, "Tokens", "try-tokens.png")


def test_an_error_in_the_dark(open_demo: Open, watch: Watch) -> None:
    page = open_demo(viewport=SIZE, color_scheme="dark")
    visit(page, SERVICE)
    watch.announce("Failed to load resource: .* 400 ")
    button = page.get_by_role("button", name="400 Code that is no good")
    answered(page, "/retrieve-tokens", button.click)
    expect(region(page, "Errors").get_by_text("Spotify’s error, passed on.")).to_be_visible()
    shoot(page, "Errors", "try-error.png")


@pytest.mark.parametrize("name", ["try-tokens.png", "try-error.png"])
def test_the_readme_shows_pictures_that_are_there(name: str) -> None:
    assert f"docs/images/{name}" in Path("README.md").read_text()
    assert Path("docs/images", name).stat().st_size < LIMIT
