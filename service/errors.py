"""What we answer when we refuse or fail, and nothing of what the client sent.

    ServiceError                      status, reason, extra headers
    ├── MissingField             400  a required field is missing, empty or not a string
    ├── InvalidField             400  a field is repeated, or not UTF-8
    ├── MalformedBody            400  the body isn't what its media type says
    ├── MissingRedirectURI       400  neither in the body nor in REDIRECT_URI
    ├── RedirectURINotAllowed    400  not one of ALLOWED_REDIRECT_URIS
    ├── UndecryptableToken       400  a refresh token that doesn't open, whatever is wrong with it
    ├── NotFound                 404  no such path, or a flow that is switched off
    ├── MethodNotAllowed         405  with Allow
    ├── RequestTimeout           408  the body did not arrive in time
    ├── PayloadTooLarge          413
    ├── UnsupportedMediaType     415
    ├── TooManyRequests          429  for a while, which Retry-After tells
    │   ├── RateLimited               a client asked too often
    │   └── Throttled                 Spotify wants no calls of this kind
    ├── ClientGone               499  the client left; nobody reads this
    ├── InternalError            500  a defect of ours
    ├── UpstreamFailed           502  Spotify could not be reached, or its answer can't be used
    ├── Overloaded               503  too many calls to Spotify are under way
    ├── Stopping                 503  the server finishes what is under way, and takes no more
    └── UpstreamTimeout          504  Spotify did not answer in time

Reasons are fixed texts or name a field of ours: a reason never repeats what a client or Spotify
sent, so that it can be logged and answered anywhere.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, ClassVar, Self

import msgspec
from msgspec import Meta


class ErrorBody(msgspec.Struct, frozen=True):
    """Our error as clients read it.

    `error` is the boolean: SpotifyAPI takes a string for one of Spotify's own errors.
    """

    reason: Annotated[str, Meta(description="Why, in a sentence of ours or the name of a status.")]
    error: Annotated[
        bool,
        Meta(
            description="The boolean, by which our errors are told from Spotify's.",
            extra_json_schema={"const": True},
        ),
    ] = True

    def to_json(self) -> bytes:
        """Write the error, `error` first as the original server does."""
        return msgspec.json.encode({"error": self.error, "reason": self.reason})


class ServiceError(Exception):
    """An answer of ours that isn't the success: `status`, `reason`, `headers`.

    `spared` is as answers.Upstream has it.
    """

    status: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR
    reason: str = "Internal Server Error"
    spared: str | None = None

    def __init__(self, reason: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        self.reason = reason or self.reason
        self.headers = headers or {}
        super().__init__(self.reason)

    def copy(self) -> Self:
        """Return the same error as if it had not been raised yet."""
        copy = self.__class__.__new__(self.__class__, *self.args)
        copy.__dict__.update(self.__dict__)
        return copy


class MissingField(ServiceError):
    """`field` is missing, empty or not a string."""

    status = HTTPStatus.BAD_REQUEST

    def __init__(self, field: str) -> None:
        super().__init__(f"Value of type 'String' required for key '{field}'.")


class InvalidField(ServiceError):
    """`field` is there, but can't be taken as `problem` says."""

    status = HTTPStatus.BAD_REQUEST

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"The value for key '{field}' {problem}.")


class MalformedBody(ServiceError):
    """The body can't be read as the media type that it says it has."""

    status = HTTPStatus.BAD_REQUEST


class MissingRedirectURI(ServiceError):
    """Neither the body nor REDIRECT_URI has a redirect URI."""

    status = HTTPStatus.BAD_REQUEST
    reason = (
        "the redirect URI must be present in either the body of this request "
        "or the 'REDIRECT_URI' environment variable"
    )


class RedirectURINotAllowed(ServiceError):
    """The body's redirect URI isn't one of ALLOWED_REDIRECT_URIS."""

    status = HTTPStatus.BAD_REQUEST
    reason = "the redirect URI is not one of those that this server allows"


class UndecryptableToken(ServiceError):
    """The sealed refresh token doesn't open.

    NOTE: one reason for every cause is intentional: telling a wrong key from a wrong tag or a wrong
    alphabet would only help somebody who forges tokens.
    """

    status = HTTPStatus.BAD_REQUEST
    reason = "could not decrypt refresh token"


class NotFound(ServiceError):
    """There is nothing at this path."""

    status = HTTPStatus.NOT_FOUND
    reason = "Not Found"


class MethodNotAllowed(ServiceError):
    """The path exists, with other methods: `allow` lists them."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    reason = "Method Not Allowed"

    def __init__(self, allow: str) -> None:
        super().__init__(headers={"Allow": allow})


class RequestTimeout(ServiceError):
    """The body did not arrive in time. The connection is closed after the answer."""

    status = HTTPStatus.REQUEST_TIMEOUT
    reason = "the body of this request did not arrive in time"

    def __init__(self) -> None:
        super().__init__(headers={"Connection": "close"})


class PayloadTooLarge(ServiceError):
    """The body is as long as the limit, or longer."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    reason = "Payload Too Large"


class UnsupportedMediaType(ServiceError):
    """No Content-Type, or one that carries no form."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    reason = "Unsupported Media Type"


class TooManyRequests(ServiceError):
    """No more for now; in `seconds` it may be tried again (RFC 6585, section 4)."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, seconds: int) -> None:
        super().__init__(headers={"Retry-After": str(seconds)})


class RateLimited(TooManyRequests):
    """A client asked too often; the body was not read."""

    reason = "too many requests; see Retry-After"


class Throttled(TooManyRequests):
    """Spotify answered 429 and wants no calls of this kind; none was made."""

    reason = "Spotify wants fewer requests; see Retry-After"


class ClientGone(ServiceError):
    """The client left before its body was complete. The status is nginx's, for the log."""

    status = 499
    reason = "the client left before its request was complete"


class InternalError(ServiceError):
    """A defect of ours; what is known about it is in the log, under the request's id."""


class UpstreamFailed(ServiceError):
    """Spotify could not be reached, or answered what can't be handed on."""

    status = HTTPStatus.BAD_GATEWAY
    reason = "Spotify could not be reached"


class Overloaded(ServiceError):
    """Too many calls to Spotify are under way; this one was not made."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    reason = "too many requests are waiting for Spotify"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class Stopping(ServiceError):
    """The drain is over: another replica, or the next process, takes this."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    reason = "this server is stopping"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class UpstreamTimeout(ServiceError):
    """Spotify did not answer in time."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    reason = "Spotify did not answer in time"
