"""Test that Watch catches each kind of event, and that Chromium reaches no other host."""

from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Error, Page, Route

from tests.browser.watching import Watch
from tests.chaos.processes import Simulator
from tests.chromium import executable
from tests.running import CLIENT_ID

ORIGIN = "http://127.0.0.1:9"  # the test responds to its requests
Serve = Callable[[str], Watch]
POLICY = "default-src 'none'; script-src 'unsafe-inline'; img-src data:"


@pytest.fixture
def serve(browser: Browser, request: pytest.FixtureRequest) -> Serve:
    """Return a function that opens a page with these elements and returns its watch."""

    def serve(html: str, **headers: str) -> Watch:
        watch = Watch(ORIGIN)
        context = browser.new_context()
        request.addfinalizer(context.close)
        watch.over(context)
        context.route(f"{ORIGIN}/**", lambda route: respond(route, html, headers))
        page = context.new_page()
        page.goto(f"{ORIGIN}/page")
        page.wait_for_function("window.done !== false")
        context.close()
        return watch

    return serve


def respond(route: Route, html: str, headers: dict[str, str]) -> None:
    if route.request.url.endswith("/page"):
        body = f"<!doctype html><link rel=icon href='data:,'>{html}"
        route.fulfill(body=body, headers={"Content-Type": "text/html", **headers})
    else:
        route.fulfill(status=400, body="{}")


def assert_caught(watch: Watch, *patterns: str) -> None:
    """Assert that the watch fails for exactly these events, and passes if they are announced."""
    with pytest.raises(AssertionError, match="not announced"):
        watch.verify()
    for pattern in patterns:
        watch.announce(pattern)
    watch.verify()


def test_page_without_events_passes(serve: Serve) -> None:
    serve("<p>Fine</p><script>document.title = 'Fine'</script>").verify()


@pytest.mark.parametrize("kind", ["error", "warn", "info", "log", "debug", "table"])
def test_console_message_is_caught(serve: Serve, kind: str) -> None:
    watch = serve(f"<script>console.{kind}('a message')</script>")
    assert_caught(watch, "^(error|warning|info|log|debug|table): a message")


def test_uncaught_exception_is_caught(serve: Serve) -> None:
    assert_caught(serve("<script>throw new Error('lost')</script>"), "^uncaught: lost")


def test_unhandled_rejection_is_caught(serve: Serve) -> None:
    watch = serve("<script>Promise.reject(new Error('lost'))</script>")
    assert_caught(watch, "^uncaught: lost")


def test_error_response_is_caught(serve: Serve) -> None:
    page = "<script>window.done = false; fetch('/x').finally(() => { window.done = true })</script>"
    assert_caught(serve(page), r"^error: Failed to load resource: .* 400 .*/x\)$")


@pytest.mark.parametrize(
    ("header", "disposition", "level"),
    [
        ("Content-Security-Policy", "enforce", "error"),
        ("Content-Security-Policy-Report-Only", "report", "info"),
    ],
)
def test_policy_violation_is_caught(
    serve: Serve, header: str, disposition: str, level: str
) -> None:
    watch = serve("<style>p { color: red }</style>", **{header: POLICY})
    csp = f"^error: CSP: style-src-elem inline {disposition}"
    assert_caught(watch, csp, f"^{level}: Applying inline style")


@pytest.mark.parametrize(
    "element",
    [
        "<img src='{}/pixel.png'>",
        "<script src='{}/code.js'></script>",
        "<link rel=stylesheet href='{}/style.css'>",
    ],
)
@pytest.mark.parametrize(
    "origin", ["https://cdn.example", "http://192.0.2.1", "http://127.0.0.1:1"]
)
def test_request_to_another_origin_is_caught(serve: Serve, element: str, origin: str) -> None:
    watch = serve(element.format(origin))
    assert_caught(watch, f"^elsewhere: GET {origin}/", "^error: Failed to load resource")


def test_frame_of_another_origin_is_caught(serve: Serve) -> None:
    watch = serve("<iframe src='https://cdn.example/frame'></iframe>")
    assert_caught(watch, "^elsewhere: GET https://cdn.example/frame")


def test_redirect_to_another_origin_is_caught(
    page: Page, watch: Watch, accounts: Simulator
) -> None:
    query = urlencode({"client_id": CLIENT_ID, "redirect_uri": "https://app.example/"})
    watch.announce(r"^elsewhere: GET https://app\.example/\?error=unsupported_response_type")
    with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        page.goto(f"{accounts.url}/authorize?{query}")


def test_websocket_is_caught(serve: Serve) -> None:
    page = (
        "<script>window.done = false; const socket = new WebSocket('wss://cdn.example');"
        "socket.onclose = () => { window.done = true }</script>"
    )
    assert_caught(serve(page), "^websocket: wss://cdn.example", "^error: WebSocket connection")


def test_announced_event_must_occur(serve: Serve) -> None:
    watch = serve("<p>Fine</p>")
    watch.announce("a message")
    with pytest.raises(AssertionError, match="did not occur"):
        watch.verify()


def test_chromium_reaches_no_other_host(browser: Browser) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        for url in ("http://example.com", "http://192.0.2.1", "https://[2001:db8::1]"):
            with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
                page.goto(url)


def test_missing_chromium_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(FileNotFoundError, match=r"no /nowhere/chromium on PATH: install"):
        executable()
    monkeypatch.delenv("CHROMIUM")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="no chromium or chromium-browser or google-chrome"):
        executable()
