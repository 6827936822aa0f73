"""The grants: which form each endpoint takes, and what it sends to Spotify's token endpoint.

| flow | client authentication |
|---|---|
| client credentials | Basic |
| authorization code, retrieve | client id and secret in the body |
| authorization code, refresh | Basic |
| PKCE, retrieve | client id in the body, no secret (RFC 7636) |
| PKCE, refresh | Basic, and the client id in the body |

The upstream form always carries the correct `grant_type`, for any value of the client's, and of
the client's request only the fields of its form. All functions here are pure.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from service.errors import MissingRedirectURI, RedirectURINotAllowed
from service.forms import (
    AuthorizationCodeForm,
    ClientCredentialsForm,
    PKCEAuthorizationCodeForm,
    PKCERefreshForm,
    RefreshForm,
)
from service.sealing import Opened, Sealer
from service.settings import Settings


class Flow(StrEnum):
    """The name of a flow: its log field, metric label, span attribute and coalescing key."""

    CLIENT_CREDENTIALS = "client_credentials"
    AUTHORIZATION_CODE = "authorization_code"
    REFRESH = "refresh"
    PKCE_AUTHORIZATION_CODE = "pkce_authorization_code"
    PKCE_REFRESH = "pkce_refresh"


class Endpoint(StrEnum):
    """The kind of a token endpoint: the metric label `endpoint`."""

    ORIGINAL = "original"
    OAUTH = "oauth"


class TokenRequest(NamedTuple):
    """A request to Spotify's token endpoint.

    `fields` is its form and `basic` says whether it carries Basic authentication. `fallback` is the
    caller's own refresh token, for responses that must have one even if Spotify sends none. `fresh`
    forbids a cached response.
    """

    flow: Flow
    fields: tuple[tuple[str, str], ...]
    basic: bool
    fallback: Opened | None = None
    fresh: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        """The part that reaches Spotify: requests with equal keys can share a call."""
        return self.flow, self.fields, self.basic

    def __repr__(self) -> str:
        return f"TokenRequest(flow={self.flow}, …)"


class Context(NamedTuple):
    """Dependencies of the grants."""

    settings: Settings
    sealer: Sealer


Form = TypeVar("Form", bound=msgspec.Struct)


class Grant(NamedTuple, Generic[Form]):
    """An endpoint: its path, its form, how that becomes a TokenRequest, its event in the log."""

    flow: Flow
    path: str
    form: type[Form]
    build: Callable[[Form, Context], TokenRequest]
    event: str


def client_credentials(_form: ClientCredentialsForm, _context: Context) -> TokenRequest:
    """Request the app access token (RFC 6749, section 4.4.2)."""
    fields = (("grant_type", "client_credentials"),)
    return TokenRequest(Flow.CLIENT_CREDENTIALS, fields, basic=True)


def authorization_code(form: AuthorizationCodeForm, context: Context) -> TokenRequest:
    """Exchange a code (RFC 6749, section 4.1.3), authenticated in the body.

    Raises MissingRedirectURI or RedirectURINotAllowed.
    """
    settings = context.settings
    fields = [
        ("grant_type", "authorization_code"),
        ("code", form.code),
        ("redirect_uri", _redirect_uri(form.redirect_uri, settings)),
        ("client_id", settings.client_id),
        ("client_secret", settings.client_secret.reveal()),
    ]
    if form.code_verifier:
        fields.append(("code_verifier", form.code_verifier))
    return TokenRequest(Flow.AUTHORIZATION_CODE, tuple(fields), basic=False)


def pkce_authorization_code(form: PKCEAuthorizationCodeForm, context: Context) -> TokenRequest:
    """Exchange a code by its verifier (RFC 7636, section 4.5), without the secret.

    Raises MissingRedirectURI or RedirectURINotAllowed.
    """
    fields = (
        ("grant_type", "authorization_code"),
        ("code", form.code),
        ("code_verifier", form.code_verifier),
        ("redirect_uri", _redirect_uri(form.redirect_uri, context.settings)),
        ("client_id", context.settings.client_id),
    )
    return TokenRequest(Flow.PKCE_AUTHORIZATION_CODE, fields, basic=False)


def refresh(form: RefreshForm, context: Context) -> TokenRequest:
    """Refresh a token (RFC 6749, section 6). Raises UndecryptableToken.

    Spotify keeps the refresh token of this flow and responds without one. The caller gets its own
    token back only if that moves it from a previous key to the current one.
    """
    opened = context.sealer.open(form.refresh_token)
    fields = (("grant_type", "refresh_token"), ("refresh_token", opened.token))
    fallback = opened if opened.stale else None
    return TokenRequest(Flow.REFRESH, fields, basic=True, fallback=fallback)


def pkce_refresh(form: PKCERefreshForm, context: Context) -> TokenRequest:
    """Refresh a PKCE token; the response always has a refresh token. Raises UndecryptableToken.

    Spotify rotates these tokens but may omit an unchanged one since July 2026; SpotifyAPI's PKCE
    manager fails without it.
    """
    opened = context.sealer.open(form.refresh_token)
    fields = (
        ("grant_type", "refresh_token"),
        ("refresh_token", opened.token),
        ("client_id", context.settings.client_id),
    )
    return TokenRequest(Flow.PKCE_REFRESH, fields, basic=True, fallback=opened)


def _redirect_uri(sent: str | None, settings: Settings) -> str:
    """Return the redirect URI: the body's, which must be an allowed one, else the setting's."""
    if sent:
        if settings.allowed_redirect_uris and sent not in settings.allowed_redirect_uris:
            raise RedirectURINotAllowed
        return sent
    if not settings.redirect_uri:
        raise MissingRedirectURI
    return settings.redirect_uri


GRANTS: Final[tuple[Grant[Any], ...]] = (
    Grant(
        Flow.CLIENT_CREDENTIALS,
        "/client-credentials-flow/retrieve-tokens",
        ClientCredentialsForm,
        client_credentials,
        "token.retrieved",
    ),
    Grant(
        Flow.AUTHORIZATION_CODE,
        "/authorization-code-flow/retrieve-tokens",
        AuthorizationCodeForm,
        authorization_code,
        "token.retrieved",
    ),
    Grant(
        Flow.REFRESH,
        "/authorization-code-flow/refresh-tokens",
        RefreshForm,
        refresh,
        "token.refreshed",
    ),
    Grant(
        Flow.PKCE_AUTHORIZATION_CODE,
        "/authorization-code-flow-pkce/retrieve-tokens",
        PKCEAuthorizationCodeForm,
        pkce_authorization_code,
        "token.retrieved",
    ),
    Grant(
        Flow.PKCE_REFRESH,
        "/authorization-code-flow-pkce/refresh-tokens",
        PKCERefreshForm,
        pkce_refresh,
        "token.refreshed",
    ),
)
"""The original server's token endpoints."""
