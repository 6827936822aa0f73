"""The five POST handlers and the root: form in, answer out, nothing else.

Handlers return the Answer itself, which is an ASGI application: Litestar sends it as it is.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import msgspec
from litestar import MediaType, Request, Response, post, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from service import answers, flows, forms, observation
from service.answers import Upstream
from service.app_token import AppToken
from service.asgi import LATE, Receive, Scope
from service.errors import (
    ClientGone,
    MethodNotAllowed,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)
from service.flows import Exchanged, Grant

Form = TypeVar("Form", bound=msgspec.Struct)
AnyRequest = Request[Any, Any, Any]
Ask = Callable[[Grant], Awaitable[Upstream]]
Exchange = Callable[[Grant], Awaitable[Exchanged]]

CODE_FLOW = "/authorization-code-flow"
PKCE_FLOW = "/authorization-code-flow-pkce"
CLIENT_FLOW = "/client-credentials-flow"


class Swap:
    """The way of a request through forms, flows, Spotify and answers."""

    def __init__(self, context: flows.Context, ask: Ask) -> None:
        self._context = context
        self._ask = ask

    async def __call__(
        self,
        request: AnyRequest,
        form: type[Form],
        grant: Callable[[Form, flows.Context], Grant],
        event: str,
        exchange: Exchange | None = None,
    ) -> ASGIApp:
        """Answer `request`, whose body is a `form` and asks for a `grant`.

        `exchange` stands in for the way to Spotify that this was made with.
        """
        observed = observation.of(request.scope)
        observed.flow = grant.__name__
        body_type, body = await _body(request.scope, request.receive)
        asked = grant(forms.decode(body_type, body, form), self._context)
        upstream, answer = await (exchange or self.exchange)(asked)
        observed.spared = upstream.spared
        if answers.is_success(upstream.status):
            observed.event = event
        else:
            observed.event = "token.refused" if upstream.status < 500 else "upstream.failed"  # noqa: PLR2004
            observed.error = answers.error_code(upstream)
        return answer  # type: ignore[return-value]  # ASGI by any other types

    def exchange(self, grant: Grant) -> Awaitable[Exchanged]:
        """Ask Spotify for `grant`, and make our answer of what it says."""
        return flows.exchange(grant, self._ask, self._context.sealer, _now)


def handlers(
    swap: Swap, app_token: AppToken | None, *, client_credentials: bool
) -> list[HTTPRouteHandler]:
    """Return the handlers of all flows.

    Without `client_credentials` that one is no path, without an `app_token` it asks each time.
    """
    code_flow = [retrieve_code(swap), refresh_code(swap), retrieve_pkce(swap), refresh_pkce(swap)]
    own = [retrieve_client(swap, app_token)] if client_credentials else []
    return [root, *code_flow, *own]


def retrieve_client(swap: Swap, app_token: AppToken | None) -> HTTPRouteHandler:
    """Answer the app's own access token."""

    @post(f"{CLIENT_FLOW}/retrieve-tokens", status_code=200)
    async def retrieve(request: AnyRequest) -> ASGIApp:
        form, grant = forms.ClientCredentialsForm, flows.client_credentials
        if app_token is None:
            return await swap(request, form, grant, "token.retrieved")
        exchange = partial(app_token.exchange, fresh=_wants_fresh(request.scope))
        return await swap(request, form, grant, "token.retrieved", exchange)

    return retrieve


def retrieve_code(swap: Swap) -> HTTPRouteHandler:
    """Answer tokens for an authorization code."""

    @post(f"{CODE_FLOW}/retrieve-tokens", status_code=200)
    async def retrieve(request: AnyRequest) -> ASGIApp:
        form, grant = forms.AuthorizationCodeForm, flows.authorization_code
        return await swap(request, form, grant, "token.retrieved")

    return retrieve


def refresh_code(swap: Swap) -> HTTPRouteHandler:
    """Answer a new access token for a sealed refresh token."""

    @post(f"{CODE_FLOW}/refresh-tokens", status_code=200)
    async def refresh(request: AnyRequest) -> ASGIApp:
        return await swap(request, forms.RefreshForm, flows.refresh, "token.refreshed")

    return refresh


def retrieve_pkce(swap: Swap) -> HTTPRouteHandler:
    """Answer tokens for an authorization code and its verifier."""

    @post(f"{PKCE_FLOW}/retrieve-tokens", status_code=200)
    async def retrieve(request: AnyRequest) -> ASGIApp:
        form, grant = forms.PKCEAuthorizationCodeForm, flows.pkce_authorization_code
        return await swap(request, form, grant, "token.retrieved")

    return retrieve


def refresh_pkce(swap: Swap) -> HTTPRouteHandler:
    """Answer new tokens for a sealed refresh token of PKCE."""

    @post(f"{PKCE_FLOW}/refresh-tokens", status_code=200)
    async def refresh(request: AnyRequest) -> ASGIApp:
        return await swap(request, forms.PKCERefreshForm, flows.pkce_refresh, "token.refreshed")

    return refresh


@route("/", http_method=["GET", "HEAD"], sync_to_thread=False)
def root() -> Response[str]:
    """Answer `success`, as the original server does."""
    return Response("success", media_type=MediaType.TEXT)


def methods(handlers: Iterable[HTTPRouteHandler]) -> dict[str, list[str]]:
    """Return the methods of each path, in order."""
    return {path: sorted(each.http_methods) for each in handlers for path in each.paths}


def options(handlers: list[HTTPRouteHandler]) -> HTTPRouteHandler:
    """Refuse OPTIONS on every path as any other method that isn't there.

    Litestar would answer 204 by itself; preflights never come here, CORS answers them before.
    """
    allowed = {path: ", ".join(known) for path, known in methods(handlers).items()}

    @route(list(allowed), http_method="OPTIONS", include_in_schema=False, sync_to_thread=False)
    def refuse(request: AnyRequest) -> None:
        raise MethodNotAllowed(allowed[request.scope["path_template"]])

    return refuse


def _now() -> datetime:
    return datetime.now(UTC)


def _wants_fresh(scope: Scope) -> bool:
    """Tell whether the client wants nothing cached (RFC 9111, section 5.2.1.4)."""
    return any(
        name == b"cache-control" and b"no-cache" in map(bytes.strip, value.lower().split(b","))
        for name, value in scope["headers"]
    )


async def _body(scope: Scope, receive: Receive) -> tuple[str, bytes]:
    """Return Content-Type and body, refusing by the headers alone where they are enough."""
    content_type = length = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value
        elif name == b"content-length":
            length = value
    body_type = content_type.decode("latin-1")
    if not forms.is_supported(body_type):
        raise UnsupportedMediaType
    if length.isdigit() and int(length) >= forms.BODY_LIMIT:
        raise PayloadTooLarge
    body = await _read(receive)
    if scope["state"].get(LATE):
        raise RequestTimeout
    return body_type, body


async def _read(receive: Receive) -> bytes:
    """Read a body, and no further than the limit.

    A body that isn't complete in time is ended by the server: see server.Protocol.
    """
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        body += message["body"]
        if len(body) >= forms.BODY_LIMIT:
            raise PayloadTooLarge
        if not message["more_body"]:
            return body
