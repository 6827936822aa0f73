"""What there is to say of the HTTP interface that the code can't tell: texts, and who answers what.

`openapi` makes the document of it. Descriptions are CommonMark, of which the page at /docs knows
paragraphs, `code` and **bold**.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from service import errors, forms
from service.errors import ServiceError

Schema = dict[str, Any]

ABOUT: Final = """\
A token-swap backend: it keeps a Spotify app's client secret off its users' devices. An app sends
an authorization code or a sealed refresh token, the server asks Spotify with the secret.

**Requests.** A body is `application/x-www-form-urlencoded`, `application/json` or
`multipart/form-data` with text fields, in UTF-8, under 16 KiB. A field comes once; fields that are
not listed are ignored. A slash at the end of a path makes no difference.

**Answers.** A success is Spotify's, its fields and numbers untouched, but for the refresh token,
which is sealed. An error of Spotify's is passed on as it is: status, body, media type,
`Retry-After`. An error of ours is `{"error":true,"reason":"…"}`, where `error` is the boolean.
Every answer has `X-Request-ID`. A path that isn't listed is answered 404, another method 405 with
`Allow`; what isn't HTTP, or has more than 32 KiB of headers, 400.

**Security.** Nobody signs in here: a code, its verifier or a sealed refresh token is what a caller
has to bring, and a sealed token is of use at this server only. The app's own token, which opens
public data alone, goes to whoever asks; an operator can switch that off. Serve this over https.
Nothing of a request but the listed fields goes to Spotify, and no reason repeats what a request
held. Answers about tokens are not to be stored: `Cache-Control: no-store`."""

_SEALED: Final = ("refresh_token", "expiration_date")


class Flow(NamedTuple):
    """What there is to say of a flow.

    `answered` are fields that we see to, `left_out` those that its successes don't have as a rule;
    `errors` are what can be wrong with its fields, besides what can be with any.
    """

    operation_id: str
    summary: str
    description: str
    form: type[msgspec.Struct]
    answered: tuple[str, ...]
    left_out: tuple[str, ...]
    errors: tuple[type[ServiceError], ...]
    parameters: tuple[str, ...] = ("RequestID",)


_CODE_ERRORS: Final = (errors.MissingRedirectURI, errors.RedirectURINotAllowed)
_REFRESH_ERRORS: Final = (errors.UndecryptableToken,)

FLOWS: Final[Mapping[str, Flow]] = {
    "/authorization-code-flow/retrieve-tokens": Flow(
        "retrieveTokens",
        "Tokens for an authorization code",
        "The code is exchanged with the client secret (RFC 6749, section 4.1.3). For Spotify's iOS "
        "SDK (`tokenSwapURL`) and SpotifyAPI's `AuthorizationCodeFlowProxyBackend`.",
        forms.AuthorizationCodeForm,
        ("refresh_token",),
        (),
        _CODE_ERRORS,
    ),
    "/authorization-code-flow/refresh-tokens": Flow(
        "refreshTokens",
        "A new access token",
        "Spotify keeps the refresh token of this flow, and the answer has none, unless the sent "
        "one was sealed with a key that is being replaced: then it comes back sealed with the new "
        "one, and is to be kept instead. For `tokenRefreshURL` of Spotify's iOS SDK.",
        forms.RefreshForm,
        (),
        _SEALED,
        _REFRESH_ERRORS,
    ),
    "/authorization-code-flow-pkce/retrieve-tokens": Flow(
        "retrieveTokensPKCE",
        "Tokens for an authorization code, with PKCE",
        "The code is exchanged by its verifier (RFC 7636, section 4.5), without the client secret.",
        forms.PKCEAuthorizationCodeForm,
        ("refresh_token",),
        (),
        _CODE_ERRORS,
    ),
    "/authorization-code-flow-pkce/refresh-tokens": Flow(
        "refreshTokensPKCE",
        "New tokens, with PKCE",
        "Spotify replaces refresh tokens of this flow: keep the one that is answered. There always "
        "is one, the caller's own sealed anew if Spotify sent none. A token that is sent twice at "
        "the same time is asked for once, and both get the answer.",
        forms.PKCERefreshForm,
        ("refresh_token",),
        (),
        _REFRESH_ERRORS,
    ),
    "/client-credentials-flow/retrieve-tokens": Flow(
        "retrieveAppToken",
        "The app's own access token",
        "It opens what is public, and is the same for all: it is fetched once, `expires_in` being "
        "what remains of it. There is no refresh token (RFC 6749, section 4.4.3). NOTE: whoever "
        "reaches the server gets it; `CLIENT_CREDENTIALS_ENABLED=false` removes this path.",
        forms.ClientCredentialsForm,
        (),
        _SEALED,
        (),
        ("RequestID", "CacheControl"),
    ),
}

OF_EVERY_FLOW: Final = (
    errors.RequestTimeout,
    errors.PayloadTooLarge,
    errors.UnsupportedMediaType,
    errors.RateLimited,
    errors.Throttled,
    errors.InternalError,
    errors.UpstreamFailed,
    errors.Overloaded,
    errors.Stopping,
    errors.UpstreamTimeout,
)
OF_EVERY_PATH: Final = (errors.NotFound, errors.MethodNotAllowed)
UNSEEN: Final = (errors.ClientGone,)
"""Errors that nobody is there to read."""

REASONS: Final[Mapping[type[ServiceError], tuple[str, ...]]] = {
    errors.InvalidField: ("is repeated", "is not UTF-8 text"),
    errors.MalformedBody: (
        "The body is not valid JSON.",
        "The body is not valid JSON, or nested too deeply.",
        "The body is not a JSON object.",
        "The body is not valid multipart/form-data.",
    ),
    errors.UpstreamFailed: (
        errors.UpstreamFailed.reason,
        "Spotify answered with an unexpected status",
        "Spotify's answer could not be understood",
        "Spotify's answer could not be decoded",
        "Spotify's answer had an unknown content coding",
        "Spotify's answer was too long",
        "Spotify's answer was too long or cut off",
    ),
}
"""Those of errors that have several; of InvalidField, its problems."""

STATUSES: Final[Mapping[int, tuple[str, tuple[str, ...]]]] = {
    400: ("The request is no good: our `reason` tells why, or Spotify does.", ()),
    404: ("There is nothing at this path, or the flow is switched off.", ()),
    405: ("The path takes other methods, those in `Allow`.", ("Allow",)),
    408: ("The body did not arrive in time; the connection is closed. Or Spotify's own.", ()),
    413: ("The body has 16 KiB or more, and is not read to its end. Or Spotify's own.", ()),
    415: ("The body has no media type, or one that holds no form. Or Spotify's own.", ()),
    429: ("Ask again after `Retry-After`, and not before. Or Spotify's own.", ("Retry-After",)),
    500: ("A defect of ours; `X-Request-ID` finds it in the log. Or Spotify's own.", ()),
    502: ("Spotify can't be reached, or its answer not handed on. Or Spotify's own.", ()),
    503: ("Too many calls are under way, or the server stops. Or Spotify's own.", ("Retry-After",)),
    504: ("Spotify did not answer in time. Or Spotify's own.", ()),
}
"""What each status tells, and the headers that come with it."""

SPOTIFYS: Final[Mapping[str, Schema]] = {
    "SpotifyGrant": {"error": "invalid_grant", "error_description": "Invalid authorization code"},
    "SpotifyRevoked": {"error": "invalid_grant", "error_description": "Refresh token revoked"},
    "SpotifyClient": {"error": "invalid_client", "error_description": "Invalid client"},
}
"""Its usual refusals."""
SPOTIFYS_OTHERS: Final[Mapping[str, str]] = {
    "4XX": "Another refusal of Spotify's, as Spotify sent it.",
    "5XX": "Another failure of Spotify's, as Spotify sent it.",
}

PARAMETERS: Final[Mapping[str, Schema]] = {
    "RequestID": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "An id of the caller's for this request, 1 to 128 of `A–Z a–z 0–9 . _ -`; "
        "any other is replaced.",
        "schema": {"type": "string"},
        "example": "7f9c2ba4e88f827d",
    },
    "CacheControl": {
        "name": "Cache-Control",
        "in": "header",
        "description": "`no-cache` has the token fetched anew, once a second at most.",
        "schema": {"type": "string"},
        "example": "no-cache",
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "ETags that the caller has.",
        "schema": {"type": "string"},
    },
}

HEADERS: Final[Mapping[str, Schema]] = {
    "X-Request-ID": {
        "description": "The request's id, as in the server's log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "Cache-Control": {
        "description": "Answers about tokens are not to be stored (RFC 6749, section 5.1).",
        "required": True,
        "schema": {"const": "no-store"},
    },
    "Pragma": {
        "description": "The same, for HTTP/1.0.",
        "required": True,
        "schema": {"const": "no-cache"},
    },
    "Retry-After": {
        "description": "Seconds to wait; of Spotify's own also a date (RFC 9110, section 10.2.3), "
        "or missing.",
        "schema": {"type": "string"},
    },
    "Allow": {
        "description": "The methods that there are.",
        "required": True,
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "For `If-None-Match`.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-f]+"$'},
    },
}
TOKEN_HEADERS: Final = ("X-Request-ID", "Cache-Control", "Pragma")


class Page(NamedTuple):
    """What there is to say of a path that takes no body: `answers` by status."""

    operation_id: str
    summary: str
    tag: str
    answers: Mapping[int, tuple[str, str, str]]
    """Description, media type and example; an example in JSON would be the document itself."""
    headers: tuple[str, ...] = ("X-Request-ID",)


_PROBE: Final = ("X-Request-ID", "Cache-Control")
_KEPT: Final = ("X-Request-ID", "ETag")
_PLAIN: Final = "text/plain"

PAGES: Final[Mapping[str, Page]] = {
    "/": Page(
        "getRoot",
        "Whether this is the server",
        "Probes",
        {200: ("It is, as the original server tells.", _PLAIN, "success")},
    ),
    "/healthz": Page(
        "getHealth",
        "Whether the process lives",
        "Probes",
        {200: ("It does. Spotify's state doesn't matter.", _PLAIN, "alive")},
        _PROBE,
    ),
    "/readyz": Page(
        "getReadiness",
        "Whether the server wants requests",
        "Probes",
        {
            200: ("It does. Spotify's state doesn't matter.", _PLAIN, "ready"),
            503: ("It is about to stop, or has not started.", _PLAIN, "draining"),
        },
        _PROBE,
    ),
    "/openapi.json": Page(
        "getDocument",
        "This document",
        "Documents",
        {200: ("OpenAPI 3.1.", "application/json", "")},
        _KEPT,
    ),
    "/docs": Page(
        "getDocs",
        "This document, for people",
        "Documents",
        {200: ("A page without scripts.", "text/html", "")},
        _KEPT,
    ),
    "/try": Page(
        "getTryPage",
        "A page to try this with",
        "Documents",
        {200: ("A page that logs in, refreshes and fails in a browser.", "text/html", "")},
        _KEPT,
    ),
    "/docs/style.css": Page(
        "getDocsStyle",
        "The page's style sheet",
        "Documents",
        {200: ("CSS.", "text/css", "")},
        _KEPT,
    ),
}

TAGS: Final = {
    "Tokens": "What apps ask for.",
    "Probes": "What load balancers and Kubernetes ask.",
    "Documents": "What developers read; `DOCS` and `TRY_PAGE` switch these paths.",
}
