"""The playground: a web page where developers log in, refresh tokens and trigger errors.

The page is static files in playground/. It calls the service with CORS, as the web page of an app
does; /playground.json has the URLs of the service and Spotify.
"""

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from litestar import MediaType, Response, get
from litestar.datastructures.headers import CacheControlHeader
from litestar.handlers import HTTPRouteHandler
from litestar.router import Router
from litestar.static_files import create_static_files_router
from msgspec import Struct

from simulator.scopes import MEANINGS

FILES: Final = Path(__file__).with_name("playground")
STYLE: Final = "/playground/style.css"
SERVICE_URL: Final = "http://127.0.0.1:7000"

_URL = re.compile(r"https?://[A-Za-z0-9._-]+(:\d+)?(/[A-Za-z0-9._~/-]*)?|http://\[::1\](:\d+)?")


class Playground(Struct, frozen=True, kw_only=True):
    """The configuration of the page. URLs of Spotify can be relative to the page.

    ``service_url`` is the URL of the service as browsers reach it, without a trailing slash.
    """

    service_url: str = SERVICE_URL
    client_id: str
    authorize_url: str = "/authorize"
    web_api_url: str = "/v1"
    simulated: bool = True


def service_url(text: str) -> str:
    """Check a service URL and remove a trailing slash; ValueError if it is not valid."""
    if _URL.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not an http or https URL without a query")
    return text.rstrip("/")


def routes(playground: Playground) -> list[HTTPRouteHandler | Router]:
    """Return the handlers of the page, its files and its configuration."""
    html = (FILES / "index.html").read_text()
    headers = _headers(playground)

    @get("/", media_type=MediaType.HTML, sync_to_thread=False)
    def page() -> Response[str]:
        return Response(html, headers=headers)

    @get("/playground.json", sync_to_thread=False)
    def configuration() -> dict[str, Any]:
        fields = {name: getattr(playground, name) for name in Playground.__struct_fields__}
        return {**fields, "scopes": dict(MEANINGS)}

    files = create_static_files_router(
        "/playground", [FILES], cache_control=CacheControlHeader(no_cache=True)
    )
    return [page, configuration, files]


def _headers(playground: Playground) -> dict[str, str]:
    """Return the headers of the page, which may call the service and Spotify's Web API only.

    NOTE: a login redirects to this page with the code in the query, so no cache may store it.
    """
    urls = (playground.service_url, playground.web_api_url)
    called = [_source(url) for url in urls if not url.startswith("/")]
    return {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"img-src 'self'; connect-src 'self' {' '.join(called)}; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _source(url: str) -> str:
    """Return a URL's origin; only its scheme for the host [::1], which a policy cannot name."""
    parts = urlsplit(url)
    return f"{parts.scheme}:" if "[" in parts.netloc else f"{parts.scheme}://{parts.netloc}"
