"""The OAuth 2.0 endpoints, to which any OAuth client library can be pointed.

    POST /api/token, /api/refresh_token, /swap, /refresh    RFC 6749's token endpoint
    GET  /authorize                                         redirects to Spotify's login
    GET  /.well-known/oauth-authorization-server            RFC 8414's metadata

The token endpoint uses the grants of the original endpoints. Client authentication is not needed:
the service has the secret, and a client's own is ignored.
"""

import base64
import binascii
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, unquote_plus, urlencode

import msgspec
from litestar import MediaType, Response, post, route
from litestar.handlers import HTTPRouteHandler

from service import responses
from service.errors import (
    InvalidClient,
    MalformedBody,
    NotFound,
    UnauthorizedClient,
    UnsupportedGrantType,
)
from service.forms import AnyRequest, OAuthForm, convert, read_form
from service.grants import GRANTS, Context, Endpoint, Flow, Grant
from service.responses import EncodedResponse
from service.routes import fetch, refuse_when_stopping, with_redirect_uri
from service.settings import Settings
from service.upstream import TokenEndpoint

TOKEN_PATHS: Final = ("/api/token", "/api/refresh_token", "/swap", "/refresh")
METADATA_PATH: Final = "/.well-known/oauth-authorization-server"

_GRANTS: Final = {grant.flow: grant for grant in GRANTS}


class Metadata(msgspec.Struct, frozen=True):
    """Authorization server metadata (RFC 8414, section 2)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    grant_types_supported: list[str]
    response_types_supported: tuple[str, ...] = ("code",)
    response_modes_supported: tuple[str, ...] = ("query",)
    code_challenge_methods_supported: tuple[str, ...] = ("S256",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = (
        "none",
        "client_secret_basic",
        "client_secret_post",
    )


def token_handler(context: Context, upstream: TokenEndpoint) -> HTTPRouteHandler:
    """Return the handler of the token endpoint, which calls Spotify through `upstream`."""
    settings = context.settings

    @post(list(TOKEN_PATHS), status_code=HTTPStatus.OK, opt={"endpoint": Endpoint.OAUTH})
    async def token(request: AnyRequest) -> EncodedResponse:
        refuse_when_stopping(request)
        form = await read_form(request, OAuthForm, seconds=settings.request_timeout)
        _check_client(request, form, settings)
        grant = _grant(form, settings)
        fields = {name: getattr(form, name, None) for name in grant.form.__struct_fields__}
        grant_form = convert({k: v for k, v in fields.items() if v is not None}, grant.form)
        token_request = grant.build(with_redirect_uri(grant_form, request, settings), context)
        response = await fetch(request, grant, token_request, upstream)
        if response.is_error:
            return responses.forward_as_oauth(response)
        return responses.seal(response, token_request.fallback, context.sealer)

    return token


def handlers(settings: Settings) -> list[HTTPRouteHandler]:
    """Return the handlers of the redirect to the login and, if PUBLIC_URL is set, the metadata."""

    @route("/authorize", http_method=["GET", "HEAD"])
    async def authorize(request: AnyRequest) -> Response[bytes]:
        """Redirect to Spotify's login with the query unchanged, `client_id` added if missing."""
        query = request.scope["query_string"].decode("latin-1")
        if not parse_qs(query).get("client_id"):
            query = "&".join(filter(None, [query, urlencode({"client_id": settings.client_id})]))
        headers = {
            "Location": f"{settings.spotify_authorize_url}?{query}",
            "Cache-Control": "no-store",
        }
        return Response(
            b"", status_code=HTTPStatus.FOUND, headers=headers, media_type=MediaType.TEXT
        )

    @route(METADATA_PATH, http_method=["GET", "HEAD"], sync_to_thread=False)
    def metadata() -> Response[bytes]:
        """Return the metadata of this authorization server."""
        return _metadata(settings)

    return [authorize, metadata]


def root_metadata(settings: Settings) -> list[HTTPRouteHandler]:
    """Return the handler of the metadata where RFC 8414, section 3.1, has it for a base path."""
    if not settings.base_path:
        return []

    @route(METADATA_PATH + settings.base_path, http_method=["GET", "HEAD"], sync_to_thread=False)
    def metadata() -> Response[bytes]:
        return _metadata(settings)

    return [metadata]


def _metadata(settings: Settings) -> Response[bytes]:
    url = settings.public_url
    if url is None:
        raise NotFound
    enabled = ["client_credentials"] if settings.client_credentials_enabled else []
    document = Metadata(
        issuer=url,
        authorization_endpoint=f"{url}/authorize",
        token_endpoint=f"{url}/api/token",
        grant_types_supported=["authorization_code", "refresh_token", *enabled],
    )
    return Response(msgspec.json.encode(document), media_type="application/json")


def _grant(form: OAuthForm, settings: Settings) -> Grant[Any]:
    """Return the grant of a form; without `grant_type`, `code` or `refresh_token` determines it.

    Raises MalformedBody, UnsupportedGrantType or UnauthorizedClient.
    """
    grant_type = form.grant_type or _implied_grant_type(form)
    if grant_type == "refresh_token":
        # The form is the same for PKCE and plain tokens; this grant serves both.
        return _GRANTS[Flow.PKCE_REFRESH]
    if grant_type == "authorization_code":
        return _GRANTS[
            Flow.PKCE_AUTHORIZATION_CODE if form.code_verifier else Flow.AUTHORIZATION_CODE
        ]
    if grant_type != "client_credentials":
        raise UnsupportedGrantType
    if not settings.client_credentials_enabled:
        raise UnauthorizedClient
    return _GRANTS[Flow.CLIENT_CREDENTIALS]


def _implied_grant_type(form: OAuthForm) -> str:
    if form.code:
        return "authorization_code"
    if form.refresh_token:
        return "refresh_token"
    raise MalformedBody("grant_type is required.")


def _check_client(request: AnyRequest, form: OAuthForm, settings: Settings) -> None:
    """Raise InvalidClient for another client id; a client's secret is ignored."""
    if form.client_id and form.client_id != settings.client_id:
        raise InvalidClient(basic=False)
    for sent in request.headers.getall("authorization", []):
        scheme, credentials = (*sent.split(maxsplit=1), "", "")[:2]
        if scheme.lower() == "basic" and _basic_user(credentials) != settings.client_id:
            raise InvalidClient(basic=True)


def _basic_user(credentials: str) -> str | None:
    """Return the user of Basic credentials, which is form-encoded (RFC 6749, section 2.3.1)."""
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return unquote_plus(decoded.partition(":")[0])
