"""Local errors: every error response of this service that is not forwarded from Spotify.

    ServiceError                      status, reason, headers, log event, metric outcome
    ├── MissingField             400  a required field is missing, empty or not a string
    ├── InvalidField             400  a field is repeated, or not UTF-8
    ├── MalformedBody            400  the body is not what its media type says
    ├── MissingRedirectURI       400  neither in the body nor in REDIRECT_URI
    ├── RedirectURINotAllowed    400  not one of ALLOWED_REDIRECT_URIS
    ├── UnsupportedGrantType     400  a grant that the OAuth endpoint does not support
    ├── UnauthorizedClient       400  a flow that is switched off, at the OAuth endpoint
    ├── InvalidClient            401  client credentials that are not this server's
    ├── UndecryptableToken       400  a refresh token that cannot be opened, for any reason
    ├── NotFound                 404  no such path, or a flow that is switched off
    ├── MethodNotAllowed         405  with Allow
    ├── RequestTimeout           408  the body did not arrive in time
    ├── PayloadTooLarge          413
    ├── UnsupportedMediaType     415
    ├── TooManyRequests          429  with Retry-After
    │   ├── RateLimited               the client exceeded RATE_LIMIT
    │   └── Throttled                 Spotify requested a pause
    ├── ClientGone               499  the client disconnected; only the log sees this
    ├── InternalError            500  a defect of this service
    ├── UpstreamFailed           502  Spotify is unreachable, or its response cannot be used
    ├── Overloaded               503  too many calls to Spotify in flight
    ├── Stopping                 503  the server finishes requests in flight and refuses new ones
    └── UpstreamTimeout          504  Spotify did not respond in time

`handle` turns every exception of the application into a response: `{"error":true,"reason":…}` at
the original endpoints, RFC 6749's `error` and `error_description` at the OAuth endpoint. Reasons
are fixed strings or name a field of the form: a reason never repeats what a client or Spotify sent,
so that it can be logged and sent anywhere.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    MethodNotAllowedException,
    NotFoundException,
)

NO_STORE: Final[Sequence[tuple[str, str]]] = (
    ("cache-control", "no-store"),
    ("pragma", "no-cache"),
)
"""On every response about tokens (RFC 6749, section 5.1)."""

STATE_KEY: Final = "error"
"""Where `handle` leaves the error in the state of a request."""


class Outcome(StrEnum):
    """How a token request ended: the metric label `outcome`."""

    SUCCESS = "success"
    REFUSED = "refused"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_ERROR = "upstream_error"
    OVERLOADED = "overloaded"
    ABANDONED = "abandoned"
    FAILED = "failed"


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of a local error.

    `error` is the boolean, so that SpotifyAPI does not mistake it for one of Spotify's errors.
    """

    error: bool
    reason: str


class OAuthErrorBody(msgspec.Struct, frozen=True):
    """The body of an error at the OAuth endpoint (RFC 6749, section 5.2)."""

    error: str
    error_description: str


class ServiceError(Exception):
    """A local error response: `status`, `reason`, `headers`.

    `code` is its OAuth error code (RFC 6749, section 5.2), `event` its name in the log, `outcome`
    its metric label. `shared` marks the copy that a request gets whose upstream call was another
    request's.
    """

    status: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR
    code: ClassVar[str] = "invalid_request"
    event: ClassVar[str] = "request.refused"
    outcome: ClassVar[Outcome] = Outcome.REJECTED
    reason: str = "Internal Server Error"
    headers: Mapping[str, str] = MappingProxyType({})
    shared: bool = False

    def __init__(self, reason: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        self.reason = reason or self.reason
        self.headers = headers or self.headers
        super().__init__(self.reason)

    def copy(self) -> Self:
        """Return the same error without traceback and cause."""
        copy = self.__class__.__new__(self.__class__, *self.args)
        copy.__dict__.update(self.__dict__)
        return copy


class MissingField(ServiceError):
    """`field` is missing, empty or not a string."""

    status = HTTPStatus.BAD_REQUEST

    def __init__(self, field: str) -> None:
        super().__init__(f"Value of type 'String' required for key '{field}'.")


class InvalidField(ServiceError):
    """`field` is present but unusable, for the reason in `problem`."""

    status = HTTPStatus.BAD_REQUEST

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"The value for key '{field}' {problem}.")


class MalformedBody(ServiceError):
    """The body cannot be read as its media type."""

    status = HTTPStatus.BAD_REQUEST


class MissingRedirectURI(ServiceError):
    """Neither the body nor REDIRECT_URI has a redirect URI."""

    status = HTTPStatus.BAD_REQUEST
    reason = (
        "the redirect URI must be present in either the body of this request "
        "or the 'REDIRECT_URI' environment variable"
    )


class RedirectURINotAllowed(ServiceError):
    """The body's redirect URI is not one of ALLOWED_REDIRECT_URIS."""

    status = HTTPStatus.BAD_REQUEST
    reason = "the redirect URI is not one of those that this server allows"


class UnsupportedGrantType(ServiceError):
    """The OAuth endpoint does not support the `grant_type`."""

    status = HTTPStatus.BAD_REQUEST
    code = "unsupported_grant_type"
    reason = "grant_type must be authorization_code, refresh_token or client_credentials"


class UnauthorizedClient(ServiceError):
    """The flow is switched off (CLIENT_CREDENTIALS_ENABLED)."""

    status = HTTPStatus.BAD_REQUEST
    code = "unauthorized_client"
    reason = "client_credentials is disabled on this server"


class InvalidClient(ServiceError):
    """The client id is not this server's. `basic` says whether it came by Basic authentication.

    RFC 6749, section 5.2: then the response names the scheme.
    """

    status = HTTPStatus.UNAUTHORIZED
    code = "invalid_client"
    reason = "the client_id is not the one of this server"

    def __init__(self, *, basic: bool) -> None:
        challenge = {"WWW-Authenticate": 'Basic realm="spotify-api-server"'}
        super().__init__(headers=challenge if basic else {})


class UndecryptableToken(ServiceError):
    """The sealed refresh token cannot be opened.

    NOTE: one reason for every cause is intentional: to distinguish a wrong key, a wrong tag and a
    wrong alphabet would only help to forge tokens.
    """

    status = HTTPStatus.BAD_REQUEST
    code = "invalid_grant"
    reason = "could not decrypt refresh token"


class NotFound(ServiceError):
    """There is nothing at this path."""

    status = HTTPStatus.NOT_FOUND
    reason = "Not Found"


class MethodNotAllowed(ServiceError):
    """The path exists with other methods, which `allow` lists."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    reason = "Method Not Allowed"

    def __init__(self, allow: str) -> None:
        super().__init__(headers={"Allow": allow})


class RequestTimeout(ServiceError):
    """The body did not arrive in time. The connection closes after the response."""

    status = HTTPStatus.REQUEST_TIMEOUT
    reason = "the body of this request did not arrive in time"
    headers = MappingProxyType({"Connection": "close"})


class PayloadTooLarge(ServiceError):
    """The body is as long as the limit or longer."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    reason = "Payload Too Large"


class UnsupportedMediaType(ServiceError):
    """No Content-Type, or one that carries no form."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    reason = "Unsupported Media Type"


class TooManyRequests(ServiceError):
    """Too many requests; the client may try again in `seconds` (RFC 6585, section 4)."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "temporarily_unavailable"

    def __init__(self, seconds: int) -> None:
        super().__init__(headers={"Retry-After": str(seconds)})


class RateLimited(TooManyRequests):
    """The client exceeded RATE_LIMIT; the body was not read."""

    event = "request.rate_limited"
    outcome = Outcome.RATE_LIMITED
    reason = "too many requests; see Retry-After"


class Throttled(TooManyRequests):
    """Spotify responded 429 and requested a pause; no call was made."""

    outcome = Outcome.THROTTLED
    reason = "Spotify wants fewer requests; see Retry-After"


class ClientGone(ServiceError):
    """The client disconnected before its body was complete. The status is nginx's, for the log."""

    status = 499
    event = "request.abandoned"
    outcome = Outcome.ABANDONED
    reason = "the client disconnected before its request was complete"


class InternalError(ServiceError):
    """A defect of this service; the log has its cause under the request id."""

    code = "server_error"
    event = "request.failed"
    outcome = Outcome.FAILED


class UpstreamFailed(ServiceError):
    """Spotify could not be reached, or its response cannot be used."""

    status = HTTPStatus.BAD_GATEWAY
    code = "temporarily_unavailable"
    event = "upstream.failed"
    outcome = Outcome.UPSTREAM_ERROR
    reason = "Spotify could not be reached"


class Overloaded(ServiceError):
    """Too many calls to Spotify are in flight; this one was not made."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "temporarily_unavailable"
    outcome = Outcome.OVERLOADED
    reason = "too many requests are waiting for Spotify"
    headers = MappingProxyType({"Retry-After": "1"})


class Stopping(ServiceError):
    """The drain is over: the client can retry at another replica or the next process."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "temporarily_unavailable"
    outcome = Outcome.OVERLOADED
    reason = "this server is stopping"
    headers = MappingProxyType({"Retry-After": "1"})


class UpstreamTimeout(ServiceError):
    """Spotify did not respond in time."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "temporarily_unavailable"
    event = "upstream.failed"
    outcome = Outcome.UPSTREAM_ERROR
    reason = "Spotify did not respond in time"


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Return the response for anything that a handler, a guard or Litestar raised."""
    local = _as_local(error)
    request.scope["state"][STATE_KEY] = local
    # Other spellings (`//`, percent-encoding) are a 404 in the form of the intended endpoint.
    path = re.sub("/+", "/", request.scope["path"]).rstrip("/")
    return respond(local, oauth=path in request.app.state["oauth_paths"])


def respond(error: ServiceError, *, oauth: bool = False) -> Response[bytes]:
    """Return the response for a local error, in RFC 6749's form if `oauth`."""
    return Response(
        body(error, oauth=oauth),
        status_code=error.status,
        headers={**dict(NO_STORE), **error.headers},
        media_type="application/json",
    )


def body(error: ServiceError, *, oauth: bool = False) -> bytes:
    """Return the body of the response for a local error."""
    if oauth:
        return msgspec.json.encode(OAuthErrorBody(error.code, error_description=error.reason))
    return msgspec.json.encode(ErrorBody(error=True, reason=error.reason))


def _as_local(error: Exception) -> ServiceError:
    """Return Litestar's exceptions as local errors, and anything unforeseen as a defect."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, NotFoundException):
        return NotFound()
    if isinstance(error, MethodNotAllowedException):
        allowed = (error.headers or {}).get("allow", "").split(", ")
        return MethodNotAllowed(", ".join(sorted(allowed)))
    if isinstance(error, ClientException):
        return MalformedBody("Bad Request")
    defect = InternalError()
    defect.__cause__ = error
    return defect
