"""The page at /try in a person's hands."""

import os
import re
import subprocess
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, Response, expect

FLOWS = {"PKCE": "authorization-code-flow-pkce", "Authorization code": "authorization-code-flow"}
"""The flows by the page's name for them, and where each is asked for tokens."""
PHONE = {"width": 390, "height": 844}


def visit(page: Page, origin: str) -> None:
    """Open the page of a service, and wait until its scripts have made it what it is."""
    page.goto(f"{origin}/try")
    expect(page.get_by_role("button", name="405 Wrong method")).to_be_attached()


def region(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def choose(page: Page, flow: str) -> None:
    page.get_by_role("radio", name=flow).check()


def go_to_login(page: Page) -> None:
    """Leave for the simulator's page of consent."""
    page.get_by_role("button", name="Log in with the simulator").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Agree to let this app in?")


def log_in(page: Page, flow: str = "PKCE") -> Response:
    """Log in as a person who agrees; return the answer that the page then gets."""
    choose(page, flow)
    go_to_login(page)
    return answered(
        page,
        f"/{FLOWS[flow]}/retrieve-tokens",
        lambda: page.get_by_role("button", name="Agree").click(),
    )


def refresh(page: Page) -> Response:
    button = page.get_by_role("button", name="Refresh tokens")
    return answered(page, "refresh-tokens", button.click)


def answered(page: Page, path: str, act: Callable[[], Any]) -> Response:
    """Return the answer that an act brings from a path, all of it arrived."""
    with page.expect_response(f"**{path}") as caught:
        act()
    caught.value.finished()
    return caught.value


def expect_said(page: Page, text: str | re.Pattern[str]) -> None:
    """Hold that screen readers were told this last."""
    expect(page.get_by_role("status")).to_have_text(text)


def pasted(lines: str) -> str:
    """Return what a shell says to lines that are pasted into it."""
    done = subprocess.run(
        ["bash"],  # noqa: S607 - as a person starts it
        input=lines,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), lines + done.stderr
    return done.stdout
