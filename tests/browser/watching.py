"""Fail tests for console messages and for requests to other origins."""

import re
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, WebError, WebSocket

# Chromium logs most violations by itself, but not those of report-only policies.
_LOG_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.effectiveDirective} ${event.blockedURI} ${event.disposition}`));
"""
_LOCAL_SCHEMES = frozenset({"about", "blob", "data"})


class Watch:
    """Watches browser contexts: no console message, no request except to `origins`.

    Uncaught exceptions, failed requests and violations of the Content-Security-Policy count as
    console messages. A test that provokes one announces it. Requests are observed, not routed:
    routing would disable the cache and miss redirects.
    """

    def __init__(self, *origins: str) -> None:
        self._origins = set(origins)
        self._announced: list[str] = []
        self._seen: list[str] = []

    def allow(self, origin: str) -> None:
        """Allow requests to this origin."""
        self._origins.add(origin)

    def announce(self, pattern: str, times: int = 1) -> None:
        """Expect this many events that match `pattern`."""
        self._announced += [pattern] * times

    def over(self, context: BrowserContext) -> None:
        """Watch a context, which must not have pages yet."""
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("request", self._on_request)
        context.on("page", self._on_page)
        context.add_init_script(_LOG_VIOLATIONS)

    def verify(self) -> None:
        """Fail for unexpected events, and for announced events that did not occur."""
        missing, unexpected = list(self._announced), list[str]()
        for seen in self._seen:
            match = next((pattern for pattern in missing if re.search(pattern, seen)), None)
            if match is None:
                unexpected.append(seen)
            else:
                missing.remove(match)
        errors = [f"not announced: {seen}" for seen in unexpected]
        errors += [f"did not occur: {pattern}" for pattern in missing]
        assert not errors, "\n".join(errors)

    def _is_elsewhere(self, url: str) -> bool:
        parts = urlsplit(url)
        if parts.scheme in _LOCAL_SCHEMES:
            return False
        return f"{parts.scheme}://{parts.netloc}" not in self._origins

    def _on_console(self, message: ConsoleMessage) -> None:
        self._seen.append(f"{message.type}: {message.text} ({message.location['url']})")

    def _on_error(self, error: WebError) -> None:
        self._seen.append(f"uncaught: {error.error}")

    def _on_request(self, request: Request) -> None:
        if self._is_elsewhere(request.url):
            self._seen.append(f"elsewhere: {request.method} {request.url}")

    def _on_page(self, page: Page) -> None:
        page.on("websocket", self._on_websocket)

    def _on_websocket(self, websocket: WebSocket) -> None:
        self._seen.append(f"websocket: {websocket.url}")
