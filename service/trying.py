"""The page at /try: an app developer logs in, refreshes and fails there, with code to paste.

The page and its modules are files in try/; what they have to know of the settings is written into
the page as one attribute. The rest it finds out as an app does: by asking this service.
"""

import hashlib
import html
from functools import partial
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import urlsplit

import msgspec
from litestar.handlers import HTTPRouteHandler

from service import __version__
from service.documents import Document, css, handler
from service.reference import STYLE
from service.reference import TRY_PATH as PATH
from service.settings import SPOTIFY, Settings

FILES: Final = Path(__file__).with_name("try")

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
_html = partial(Document, "text/html", headers=_HEADERS)
_script = partial(Document, "text/javascript")


class Known(msgspec.Struct, frozen=True, rename="camel"):
    """What the page knows of the settings; `allowed_redirect_uris` is None where any is allowed.

    NOTE: anybody may read this. The client id and the URLs are in every app's login anyway; the
    allowed redirect URIs are digests, so that the page finds its own among them (only the browser
    knows where it is) and nobody reads the others, which may name hosts that aren't public. That
    somebody who guesses one can tell is no loss: a request with it is answered differently, too.
    Should CLIENT_ID hold the secret by mistake, anybody reads it here, and Spotify's login gets it;
    no flow works then, which `check --upstream` tells.
    """

    version: str
    client_id: str
    authorize_url: str
    is_spotify: bool
    has_redirect_uri: bool
    allowed_redirect_uris: list[str] | None
    client_credentials: bool
    upstream_timeout: float
    docs: bool


def page(settings: Settings) -> HTTPRouteHandler:
    """Return the handler of the page."""
    return handler(PATH, _html(lambda: _page(known(settings))))


def files() -> list[HTTPRouteHandler]:
    """Return the handlers of what the page loads."""
    scripts = [
        handler(f"{PATH}/{path.name}", _script(path.read_bytes))
        for path in sorted(FILES.glob("*.js"))
    ]
    return [handler(f"{PATH}/style.css", css(_style)), *scripts]


def known(settings: Settings) -> Known:
    """Return what the page is told."""
    allowed = settings.allowed_redirect_uris
    return Known(
        version=__version__,
        client_id=settings.client_id,
        authorize_url=settings.authorize_url,
        is_spotify=urlsplit(settings.spotify_token_url).hostname == SPOTIFY,
        has_redirect_uri=bool(settings.redirect_uri),
        allowed_redirect_uris=sorted(map(_digest, allowed)) if allowed else None,
        client_credentials=settings.client_credentials_enabled,
        upstream_timeout=settings.upstream_timeout,
        docs=settings.docs,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _page(told: Known) -> bytes:
    template = Template((FILES / "page.html").read_text())
    return template.substitute(known=html.escape(msgspec.json.encode(told).decode())).encode()


def _style() -> bytes:
    """Return the style that both pages have, then what this one adds."""
    return STYLE.read_bytes() + (FILES / "style.css").read_bytes()
