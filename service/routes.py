"""The original server's endpoints: the root, and one POST handler for each grant."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from litestar import MediaType, Response, post, route
from litestar.datastructures import Headers
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from service import responses
from service.forms import AnyRequest, read_form
from service.grants import GRANTS, Context, Flow, Grant
from service.middleware import record_of
from service.upstream import TokenEndpoint


def handlers(context: Context, endpoint: TokenEndpoint) -> list[HTTPRouteHandler]:
    """Return the handlers of all endpoints; a flow that is switched off has none."""
    enabled = context.settings.client_credentials_enabled
    grants = [grant for grant in GRANTS if enabled or grant.flow is not Flow.CLIENT_CREDENTIALS]
    return [root, *[token_handler(grant, context, endpoint) for grant in grants]]


def token_handler(
    grant: Grant[Any], context: Context, endpoint: TokenEndpoint
) -> HTTPRouteHandler:
    """Return the handler of `grant`, which calls Spotify through `endpoint`."""

    @post(grant.path, status_code=HTTPStatus.OK, opt={"flow": grant.flow})
    async def exchange(request: AnyRequest) -> ASGIResponse:
        record = record_of(request.scope)
        record.event = grant.event
        form = await read_form(request, grant.form, seconds=context.settings.request_timeout)
        token_request = grant.build(form, context)
        if wants_fresh(request.headers):
            token_request = token_request._replace(fresh=True)
        response = record.response = await endpoint.fetch(token_request)
        return responses.respond(
            response, context.sealer, token_request.fallback, datetime.now(UTC)
        )

    return exchange


def wants_fresh(headers: Headers) -> bool:
    """Return whether the client asks for a response that is not cached (RFC 9111, 5.2.1.4)."""
    directives = headers.get("cache-control", "").lower().split(",")
    return "no-cache" in map(str.strip, directives)


@route("/", http_method=["GET", "HEAD"], sync_to_thread=False)
def root() -> Response[str]:
    """Return `success`, as the original server does."""
    return Response("success", media_type=MediaType.TEXT)
