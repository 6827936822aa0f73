"""What we ask Spotify: one pure function per flow turns a form into a Grant.

| flow | client authentication |
|---|---|
| client credentials | Basic |
| authorization code, retrieve | client id and secret in the body |
| authorization code, refresh | Basic |
| PKCE, retrieve | client id in the body, no secret (RFC 7636 does without) |
| PKCE, refresh | Basic, and client id in the body |

The upstream form has the right `grant_type`, whatever the client sent, and nothing of the client's
but the fields of its form.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NamedTuple

from service import answers
from service.answers import Answer, Upstream
from service.errors import MissingRedirectURI, RedirectURINotAllowed, UpstreamFailed
from service.forms import (
    AuthorizationCodeForm,
    ClientCredentialsForm,
    PKCEAuthorizationCodeForm,
    PKCERefreshForm,
    RefreshForm,
)
from service.sealing import Opened, Sealer
from service.settings import Settings


class Grant(NamedTuple):
    """A request to Spotify's token endpoint.

    `flow` is its name, `fields` its form, `basic` whether it carries Basic authentication,
    `fallback` the caller's own refresh token where the answer must have one even if Spotify sends
    none.
    """

    flow: str
    fields: tuple[tuple[str, str], ...]
    basic: bool
    fallback: Opened | None = None

    def __repr__(self) -> str:
        return "Grant(…)"


Exchanged = tuple[Upstream, Answer]
"""What Spotify said, beside what we answer."""


class Context(NamedTuple):
    """What the flows need to know besides the form."""

    settings: Settings
    sealer: Sealer


def client_credentials(_form: ClientCredentialsForm, _context: Context) -> Grant:
    """Ask for the app's own access token (RFC 6749, section 4.4.2)."""
    return Grant("client_credentials", (("grant_type", "client_credentials"),), basic=True)


def authorization_code(form: AuthorizationCodeForm, context: Context) -> Grant:
    """Exchange a code (RFC 6749, section 4.1.3), authenticated in the body."""
    settings = context.settings
    fields = (
        ("grant_type", "authorization_code"),
        ("code", form.code),
        ("redirect_uri", _redirect_uri(form.redirect_uri, settings)),
        ("client_id", settings.client_id),
        ("client_secret", settings.client_secret.reveal()),
    )
    return Grant("authorization_code", fields, basic=False)


def pkce_authorization_code(form: PKCEAuthorizationCodeForm, context: Context) -> Grant:
    """Exchange a code by its verifier (RFC 7636, section 4.5), without the secret."""
    fields = (
        ("grant_type", "authorization_code"),
        ("code", form.code),
        ("code_verifier", form.code_verifier),
        ("redirect_uri", _redirect_uri(form.redirect_uri, context.settings)),
        ("client_id", context.settings.client_id),
    )
    return Grant("pkce_authorization_code", fields, basic=False)


def refresh(form: RefreshForm, context: Context) -> Grant:
    """Refresh a token (RFC 6749, section 6).

    Spotify keeps the refresh token of this flow and answers without one. The caller gets its own
    back only if that moves it from a previous key to the current one.
    """
    opened = context.sealer.open(form.refresh_token)
    fields = (("grant_type", "refresh_token"), ("refresh_token", opened.token))
    return Grant("refresh", fields, basic=True, fallback=opened if opened.stale else None)


def pkce_refresh(form: PKCERefreshForm, context: Context) -> Grant:
    """Refresh a token of PKCE, which always answers a refresh token.

    Spotify rotates these, but may leave an unchanged one out since July 2026; SpotifyAPI's PKCE
    manager fails without it.
    """
    opened = context.sealer.open(form.refresh_token)
    fields = (
        ("grant_type", "refresh_token"),
        ("refresh_token", opened.token),
        ("client_id", context.settings.client_id),
    )
    return Grant("pkce_refresh", fields, basic=True, fallback=opened)


async def exchange(
    grant: Grant,
    ask: Callable[[Grant], Awaitable[Upstream]],
    sealer: Sealer,
    now: Callable[[], datetime],
) -> Exchanged:
    """Ask Spotify for `grant` and return what it said beside what we answer."""
    upstream = await ask(grant)
    if answers.is_success(upstream.status):
        return upstream, answers.success(upstream, sealer, grant.fallback, now())
    if answers.is_error(upstream.status):
        return upstream, answers.forwarded(upstream)
    # NOTE: a redirect is never followed: the form and the Authorization header hold secrets.
    raise UpstreamFailed("Spotify answered with an unexpected status")


def _redirect_uri(sent: str | None, settings: Settings) -> str:
    """Return the redirect URI: the body's, which must be an allowed one, else the setting's."""
    if sent:
        if settings.allowed_redirect_uris and sent not in settings.allowed_redirect_uris:
            raise RedirectURINotAllowed
        return sent
    if not settings.redirect_uri:
        raise MissingRedirectURI
    return settings.redirect_uri
