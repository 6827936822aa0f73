"""The five POST handlers and the root: form in, answer out, nothing else.

Handlers return the Answer itself, which is an ASGI application.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from litestar import MediaType, Request, Response, post, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from service import answers, flows, forms, observation
from service.answers import Upstream
from service.app_token import AppToken
from service.asgi import CLOSED, LATE, Receive, Scope, Send
from service.errors import (
    ClientGone,
    MethodNotAllowed,
    PayloadTooLarge,
    RequestTimeout,
    Stopping,
    UnsupportedMediaType,
)
from service.flows import Exchanged, Grant

Form = TypeVar("Form", bound=msgspec.Struct)
AnyRequest = Request[Any, Any, Any]
Handler = Callable[[Scope, Receive], Awaitable[ASGIApp]]
Ask = Callable[[Grant], Awaitable[Upstream]]
Exchange = Callable[[Grant], Awaitable[Exchanged]]
Admit = Callable[[Scope], Awaitable[None]]

CODE_FLOW = "/authorization-code-flow"
PKCE_FLOW = "/authorization-code-flow-pkce"
CLIENT_FLOW = "/client-credentials-flow"


class Flow(NamedTuple, Generic[Form]):
    """A flow: the form that it takes, what that asks Spotify for, the event of its success."""

    form: type[Form]
    grant: Callable[[Form, flows.Context], Grant]
    event: str


def straight(path: str) -> Callable[[Handler], HTTPRouteHandler]:
    """Have a function answer POST at `path`; Litestar routes to it, and it gets what ASGI gives.

    What else Litestar does for a handler (a Request, arguments by a model of the signature, an exit
    stack, a response by its type) is a sixth of a cached answer's cost, and nothing here needs it.
    So a middleware of the route calls the function, and the handler below it is never reached.
    """

    def routed(answer: Handler) -> HTTPRouteHandler:
        async def straight_to(scope: Scope, receive: Receive, send: Send) -> None:
            await (await answer(scope, receive))(scope, receive, send)

        @post(path, status_code=200, middleware=[lambda app: straight_to])  # noqa: ARG005 - Litestar's
        async def unreached() -> None:
            raise AssertionError

        return unreached

    return routed


class Swap:
    """The way of a request through forms, flows, Spotify and answers.

    `admit`, if there is one, may refuse a request before its body is read.
    """

    def __init__(self, context: flows.Context, ask: Ask, admit: Admit | None = None) -> None:
        self._context = context
        self._ask = ask
        self._admit = admit

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,
        flow: Flow[Form],
        exchange: Exchange | None = None,
    ) -> ASGIApp:
        """Answer a request of `flow`.

        `exchange` stands in for the way to Spotify that this was made with.
        """
        if CLOSED in scope["state"]:
            raise Stopping  # counted in no flow: an alert of too many requests would be wrong
        observed = observation.of(scope)
        observed.flow = flow.grant.__name__
        if self._admit is not None:
            await self._admit(scope)
        body_type, body = await _body(scope, receive)
        asked = flow.grant(forms.decode(body_type, body, flow.form), self._context)
        upstream, answer = await (exchange or self.exchange)(asked)
        observed.spared = upstream.spared
        if answers.is_success(upstream.status):
            observed.event = flow.event
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
    flow = Flow(forms.ClientCredentialsForm, flows.client_credentials, "token.retrieved")

    @straight(f"{CLIENT_FLOW}/retrieve-tokens")
    async def retrieve(scope: Scope, receive: Receive) -> ASGIApp:
        if app_token is None:
            return await swap(scope, receive, flow)
        exchange = partial(app_token.exchange, fresh=_wants_fresh(scope))
        return await swap(scope, receive, flow, exchange)

    return retrieve


def retrieve_code(swap: Swap) -> HTTPRouteHandler:
    """Answer tokens for an authorization code."""
    flow = Flow(forms.AuthorizationCodeForm, flows.authorization_code, "token.retrieved")

    @straight(f"{CODE_FLOW}/retrieve-tokens")
    async def retrieve(scope: Scope, receive: Receive) -> ASGIApp:
        return await swap(scope, receive, flow)

    return retrieve


def refresh_code(swap: Swap) -> HTTPRouteHandler:
    """Answer a new access token for a sealed refresh token."""
    flow = Flow(forms.RefreshForm, flows.refresh, "token.refreshed")

    @straight(f"{CODE_FLOW}/refresh-tokens")
    async def refresh(scope: Scope, receive: Receive) -> ASGIApp:
        return await swap(scope, receive, flow)

    return refresh


def retrieve_pkce(swap: Swap) -> HTTPRouteHandler:
    """Answer tokens for an authorization code and its verifier."""
    flow = Flow(forms.PKCEAuthorizationCodeForm, flows.pkce_authorization_code, "token.retrieved")

    @straight(f"{PKCE_FLOW}/retrieve-tokens")
    async def retrieve(scope: Scope, receive: Receive) -> ASGIApp:
        return await swap(scope, receive, flow)

    return retrieve


def refresh_pkce(swap: Swap) -> HTTPRouteHandler:
    """Answer new tokens for a sealed refresh token of PKCE."""
    flow = Flow(forms.PKCERefreshForm, flows.pkce_refresh, "token.refreshed")

    @straight(f"{PKCE_FLOW}/refresh-tokens")
    async def refresh(scope: Scope, receive: Receive) -> ASGIApp:
        return await swap(scope, receive, flow)

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
    fields = [value for name, value in scope["headers"] if name == b"cache-control"]
    return any(b"no-cache" in map(bytes.strip, field.lower().split(b",")) for field in fields)


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

    A body that isn't complete in time is ended by the server: see protocol.Protocol.
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
