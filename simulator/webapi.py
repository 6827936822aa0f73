"""The parts of api.spotify.com/v1 that an app calls after a login.

Bodies and messages are Spotify's, from its docs page "API calls" and from users' reports.
"""

from typing import Any

from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from simulator import responses, scopes
from simulator.accounts import Access, Accounts, Consent
from simulator.exchange import received
from simulator.record import Entry
from simulator.responses import Headers, RawResponse

ADDRESS = "https://api.spotify.com/v1"

_CORS: Headers = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin, Retry-After"),
    ("Access-Control-Allow-Methods", "GET, POST, OPTIONS, PUT, DELETE, PATCH"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Access-Control-Max-Age", "604800"),
)
_NOT_REGISTERED = (
    "The user is not registered for this application."
    " Please check your settings on https://developer.spotify.com/dashboard."
)


class WebApiError(Exception):
    """An error of the Web API."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def web_api_route(accounts: Accounts) -> ASGIRouteHandler:
    """Return the endpoint for all paths below /v1."""

    @asgi("/v1", is_mount=True, copy_scope=False)
    async def web_api(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = await received(scope, receive, send)
        if exchange is not None:
            await exchange.respond(_response(accounts, exchange.entry))

    return web_api


def _response(accounts: Accounts, entry: Entry) -> RawResponse:
    if entry.method == "OPTIONS":
        return responses.edged(204, "text/plain", b"", _CORS)
    try:
        consent = _consent(_access(accounts, entry.header("authorization")))
        if not consent.user.registered:
            return responses.edged(403, "text/plain", _NOT_REGISTERED.encode(), _CORS)
        return responses.as_json(200, _resource(entry, consent), _CORS)
    except WebApiError as error:
        fields = {"status": error.status, "message": error.message}
        return responses.as_json(error.status, {"error": fields}, _CORS)


def _access(accounts: Accounts, authorization: str) -> Access:
    """Return the access token of a request (RFC 6750, section 2.1)."""
    if not authorization:
        raise WebApiError(401, "No token provided")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise WebApiError(400, "Only valid bearer authentication supported")
    access = accounts.access(token)
    if access is None:
        raise WebApiError(401, "Invalid access token")
    if accounts.now() >= access.expires_at:
        raise WebApiError(401, "The access token expired")
    return access


def _consent(access: Access) -> Consent:
    """Return the consent of the user; an app access token (client credentials) has none."""
    if access.consent is None:
        raise WebApiError(401, "Unauthorized.")
    return access.consent


def _resource(entry: Entry, consent: Consent) -> dict[str, Any]:
    path = entry.path.rstrip("/")
    if path not in {"/v1/me", "/v1/me/tracks"}:
        raise WebApiError(404, "Service not found")
    if entry.method != "GET":
        raise WebApiError(405, "Method not allowed")
    return _profile(consent) if path == "/v1/me" else _saved_tracks(consent)


def _profile(consent: Consent) -> dict[str, Any]:
    """Return the fields of the user that the scope allows."""
    user = consent.user
    profile: dict[str, Any] = {
        "display_name": user.display_name,
        "external_urls": {"spotify": f"https://open.spotify.com/user/{user.id}"},
        "followers": {"href": None, "total": 0},
        "href": f"{ADDRESS}/users/{user.id}",
        "id": user.id,
        "images": [],
        "type": "user",
        "uri": f"spotify:user:{user.id}",
    }
    if scopes.includes(consent.scope, "user-read-email"):
        profile["email"] = user.email
    if scopes.includes(consent.scope, "user-read-private"):
        profile["country"] = user.country
        profile["product"] = user.product
        profile["explicit_content"] = {"filter_enabled": False, "filter_locked": False}
    return profile


def _saved_tracks(consent: Consent) -> dict[str, Any]:
    """Return an empty page of saved tracks, as an example of a call that needs a scope."""
    if not scopes.includes(consent.scope, "user-library-read"):
        raise WebApiError(403, "Insufficient client scope")
    return {
        "href": f"{ADDRESS}/me/tracks?offset=0&limit=20",
        "limit": 20,
        "next": None,
        "offset": 0,
        "previous": None,
        "total": 0,
        "items": [],
    }
