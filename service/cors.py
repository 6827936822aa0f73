"""Cross-origin requests from pages of the named origins (Fetch standard, section 3.2).

Only there if CORS_ALLOW_ORIGINS is set. What isn't allowed is answered as any other request is, but
without the headers that a browser looks for.
"""

from collections.abc import Iterable, Mapping, Sequence

from service.answers import Headers
from service.asgi import App, Message, Receive, Scope, Send

_ALLOWED_HEADERS = b"cache-control, content-type, x-request-id, traceparent, tracestate"
_EXPOSED_HEADERS = b"x-request-id, retry-after"
_MAX_AGE = b"600"
_VARY = (b"vary", b"Origin")


class Cors:
    """The application around `app` that speaks CORS.

    `methods` has the methods of each path. Credentials are never allowed: no cookie counts here.
    """

    def __init__(
        self, app: App, origins: Iterable[str], methods: Mapping[str, Sequence[str]]
    ) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = self._headers(_header(scope, b"origin"))

        async def crossing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].extend(headers)
            await send(message)

        allowed = self._preflight(scope) if len(headers) > 1 else ()
        if allowed:
            await crossing({"type": "http.response.start", "status": 204, "headers": [*allowed]})
            await crossing({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, crossing)

    def _headers(self, origin: bytes | None) -> Headers:
        """Return what every answer to `origin` carries."""
        if origin is None or origin not in self._origins:
            return (_VARY,)
        allowed = (b"access-control-allow-origin", origin)
        return (_VARY, allowed, (b"access-control-expose-headers", _EXPOSED_HEADERS))

    def _preflight(self, scope: Scope) -> Headers:
        """Return what answers a preflight for a request that there is; else nothing."""
        wanted = _header(scope, b"access-control-request-method") or b""
        methods = self._methods.get("/" + scope["path"].strip("/"), [])
        if scope["method"] != "OPTIONS" or wanted.decode("latin-1") not in methods:
            return ()
        return (
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-allow-headers", _ALLOWED_HEADERS),
            (b"access-control-max-age", _MAX_AGE),
        )


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    return next((value.strip(b" \t") for name, value in scope["headers"] if name == wanted), None)
