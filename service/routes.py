"""The original server's endpoints: the root, and one POST handler for each grant."""

from http import HTTPStatus
from typing import Any

import msgspec
from litestar import MediaType, Response, post, route
from litestar.handlers import HTTPRouteHandler
from litestar.types.asgi_types import RawHeaders

from service import responses
from service.errors import InvalidField, RedirectURINotAllowed, Stopping
from service.forms import AnyRequest, Form, read_form
from service.grants import GRANTS, Context, Endpoint, Flow, Grant, TokenRequest
from service.health import Readiness
from service.middleware import record_of
from service.responses import EncodedResponse, TokenResponse
from service.settings import Settings
from service.upstream import TokenEndpoint


def handlers(context: Context, upstream: TokenEndpoint) -> list[HTTPRouteHandler]:
    """Return the handlers of the token endpoints; a flow that is switched off has none."""
    enabled = context.settings.client_credentials_enabled
    grants = [grant for grant in GRANTS if enabled or grant.flow is not Flow.CLIENT_CREDENTIALS]
    return [token_handler(grant, context, upstream) for grant in grants]


def token_handler(grant: Grant[Any], context: Context, upstream: TokenEndpoint) -> HTTPRouteHandler:
    """Return the handler of `grant`, which calls Spotify through `upstream`."""
    opt = {"endpoint": Endpoint.ORIGINAL, "flow": grant.flow}

    @post(grant.path, status_code=HTTPStatus.OK, opt=opt)
    async def exchange(request: AnyRequest) -> EncodedResponse:
        refuse_when_stopping(request)
        form = await read_form(request, grant.form, seconds=context.settings.request_timeout)
        token_request = grant.build(with_redirect_uri(form, request, context.settings), context)
        response = await fetch(request, grant, token_request, upstream)
        if response.is_error:
            return responses.forward(response)
        return responses.seal(response, token_request.fallback, context.sealer)

    return exchange


async def fetch(
    request: AnyRequest, grant: Grant[Any], token_request: TokenRequest, upstream: TokenEndpoint
) -> TokenResponse:
    """Return Spotify's response to `token_request`, and note it in the request's record."""
    record = record_of(request.scope)
    record.flow, record.event = grant.flow, grant.event
    if wants_fresh(request.scope["headers"]):
        token_request = token_request._replace(fresh=True)
    record.response = await upstream.fetch(token_request)
    return record.response


def with_redirect_uri(form: Form, request: AnyRequest, settings: Settings) -> Form:
    """Return `form` with the query's redirect URI, if the body has none.

    The iOS SDK sends no redirect URI, but its `tokenSwapURL` can have one in its query. Such a URI
    must be in ALLOWED_REDIRECT_URIS. Raises InvalidField or RedirectURINotAllowed.
    """
    in_body: str | None = getattr(form, "redirect_uri", "no such field")
    if in_body or not request.scope["query_string"]:
        return form
    sent = request.query_params.getall("redirect_uri", [])
    if len(sent) > 1:
        raise InvalidField("redirect_uri", "is repeated")
    if not sent or not sent[0]:
        return form
    if sent[0] not in settings.allowed_redirect_uris:
        raise RedirectURINotAllowed
    return msgspec.structs.replace(form, redirect_uri=sent[0])


def wants_fresh(headers: RawHeaders) -> bool:
    """Return whether the client requests a response that is not cached (RFC 9111, 5.2.1.4)."""
    values = [value.lower() for name, value in headers if name == b"cache-control"]
    return any(b"no-cache" in map(bytes.strip, value.split(b",")) for value in values)


def refuse_when_stopping(request: AnyRequest) -> None:
    """Raise Stopping when the drain is over.

    NOTE: not a guard, because Litestar copies the handler for every call of one: a tenth of the
    time of a request for the cached app token.
    """
    readiness: Readiness = request.app.state["readiness"]
    if readiness.stopping:
        raise Stopping


@route("/", http_method=["GET", "HEAD"], sync_to_thread=False)
def root() -> Response[str]:
    """Return `success`, as the original server does."""
    return Response("success", media_type=MediaType.TEXT)
