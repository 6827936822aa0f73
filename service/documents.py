"""What developers read: /openapi.json, and the page at /docs with its style sheet.

Each is made when it is first asked for, and kept as bytes; so are those of `trying`.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import msgspec
from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

from service import openapi, reference, routes
from service.interface import Schema

AnyRequest = Request[Any, Any, Any]

_HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
"""A browser may keep it, but asks whether it is still the same: an update may have changed it."""
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def handlers(others: list[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """Return the handlers of documents about `others` and themselves."""
    own: list[HTTPRouteHandler] = []

    def document() -> Schema:
        return openapi.document(routes.methods([*others, *own]))

    own += [
        handler("/openapi.json", _json(lambda: msgspec.json.encode(document()))),
        handler("/docs", _html(lambda: reference.page(document()))),
        handler(reference.STYLE_PATH, css(reference.STYLE.read_bytes)),
    ]
    return own


class Document:
    """What `make` makes, as an answer of `media_type` with these headers."""

    def __init__(
        self,
        media_type: str,
        make: Callable[[], bytes],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._media_type = media_type
        self._make = make
        self._headers = {**_HEADERS, **headers}

    def answer(self, if_none_match: str) -> Response[bytes]:
        """Return it, or that the client has it already (RFC 9110, section 13.1.2)."""
        body, headers = self._made
        if _has(if_none_match, headers["ETag"]):
            return Response(b"", status_code=304, headers=headers)
        return Response(body, media_type=self._media_type, headers=headers)

    def unstored(self) -> Response[bytes]:
        """Return it so that nobody keeps it, nor the address it was asked for by."""
        body, _ = self._made
        headers = {**self._headers, "Cache-Control": "no-store"}
        return Response(body, media_type=self._media_type, headers=headers)

    @cached_property
    def _made(self) -> tuple[bytes, dict[str, str]]:
        body = self._make()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return body, {"ETag": tag, **self._headers}


_json = partial(Document, "application/json")
css = partial(Document, "text/css")
_html = partial(Document, "text/html", headers=_PAGE_HEADERS)


def handler(path: str, document: Document) -> HTTPRouteHandler:
    """Return a handler that answers GET and HEAD at `path` with `document`.

    NOTE: no document needs a query, but /try comes back from a login with the code in one, and a
    cache keeps an answer under its whole address.
    """

    @route(path, http_method=["GET", "HEAD"], sync_to_thread=False)
    def answer(request: AnyRequest) -> Response[bytes]:
        if request.scope["query_string"]:
            return document.unstored()
        return document.answer(", ".join(request.headers.getall("if-none-match", [])))

    return answer


def _has(if_none_match: str, tag: str) -> bool:
    tags = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return tag in tags or tags == ["*"]
