"""The steps of a user in the playground."""

import os
import re
import subprocess
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, Response, expect

FLOWS = {
    "with PKCE": "authorization-code-flow-pkce",
    "Authorization code for": "authorization-code-flow",
}
"""The flows by the beginning of their label, and the path of their endpoints."""
PHONE = {"width": 390, "height": 844}
CLIPBOARD = ["clipboard-read", "clipboard-write"]


def visit(page: Page, simulator_url: str) -> None:
    """Open the playground and wait until its scripts have completed it."""
    page.goto(f"{simulator_url}/")
    expect(page.get_by_role("button", name="405 Wrong method")).to_be_attached()


def region(page: Page, name: str | re.Pattern[str]) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def session(page: Page) -> Locator:
    return page.locator("#session")


def choose(page: Page, flow: str) -> None:
    page.get_by_role("radio", name=flow).check()


def go_to_login(page: Page) -> None:
    page.get_by_role("button", name="Log in with the simulator").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in and grant access")


def log_in(page: Page, flow: str = "with PKCE", user: str = "Alice") -> Response:
    """Log in as a user who agrees; return the response of the code exchange."""
    choose(page, flow)
    go_to_login(page)
    page.get_by_role("radio", name=user).check()
    button = page.get_by_role("button", name="Agree")
    return response_of(page, f"/{FLOWS[flow]}/retrieve-tokens", button.click)


def greeted(page: Page, user: str = "Alice") -> None:
    """Wait until the login is complete."""
    expect_said(page, f"You are logged in. Hello, {user}.")


def refresh(page: Page) -> Response:
    button = page.get_by_role("button", name="Refresh", exact=True)
    return response_of(page, "refresh-tokens", button.click)


def response_of(page: Page, path: str, act: Callable[[], Any]) -> Response:
    """Perform an action; return the complete response to its request to a path."""
    with page.expect_response(f"**{path}") as caught:
        act()
    caught.value.finished()
    return caught.value


def expect_said(page: Page, text: str | re.Pattern[str]) -> None:
    """Expect this to be the last announcement for screen readers."""
    expect(page.get_by_role("status")).to_have_text(text)


def copied(page: Page, where: Locator, button: str) -> str:
    """Press a copy button; return the clipboard. The page needs the permissions in CLIPBOARD."""
    where.get_by_role("button", name=button).first.click()
    expect_said(page, re.compile("Copied"))
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def pasted(command: str) -> str:
    """Run a command in a shell; return its output."""
    done = subprocess.run(
        ["bash"],  # noqa: S607 - as a user starts it
        input=command,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, command + done.stderr
    return done.stdout
