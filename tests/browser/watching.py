"""What a page does behind its reader's back: it is written down, and fails the test."""

import re
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, WebError, WebSocket

# Chromium tells most violations on the console, too; this one tells those of report-only policies.
_TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.effectiveDirective} ${event.blockedURI} ${event.disposition}`));
"""
_NOT_FROM_A_HOST = frozenset({"about", "blob", "data"})


class Watch:
    """Holds contexts to this: no word on the console, and no request but to `origins`.

    Chromium's own words there count, violations of a policy and uncaught exceptions, too. A test
    that provokes one announces it. Requests are heard of, not routed: that would switch the cache
    off, and not see redirects. They come to nothing anyway, for Chromium has no address of anybody
    else.
    """

    def __init__(self, *origins: str) -> None:
        self._origins = set(origins)
        self._announced: list[str] = []
        self._seen: list[str] = []

    def allow(self, origin: str) -> None:
        """Let pages ask this origin, too."""
        self._origins.add(origin)

    def announce(self, pattern: str, times: int = 1) -> None:
        """Say that something matching `pattern` is to happen, exactly so many times."""
        self._announced += [pattern] * times

    def over(self, context: BrowserContext) -> None:
        """Watch a context that has no page yet."""
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("request", self._on_request)
        context.on("page", self._on_page)
        context.add_init_script(_TELL_VIOLATIONS)

    def verify(self) -> None:
        """Fail on what happened unannounced, and on what was announced and did not happen."""
        missing, surprises = list(self._announced), list[str]()
        for seen in self._seen:
            met = next((pattern for pattern in missing if re.search(pattern, seen)), None)
            if met is None:
                surprises.append(seen)
            else:
                missing.remove(met)
        told = [f"not announced: {seen}" for seen in surprises]
        told += [f"announced in vain: {pattern}" for pattern in missing]
        assert not told, "\n".join(told)

    def _is_elsewhere(self, url: str) -> bool:
        parts = urlsplit(url)
        if parts.scheme in _NOT_FROM_A_HOST:
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
