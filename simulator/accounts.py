"""The state and the rules of Spotify's accounts service: no HTTP, and time only from a clock.

The rules are those of Spotify's docs pages "Authorization Code Flow", "Authorization Code with
PKCE Flow", "Client Credentials Flow" and "Refreshing tokens", which build on RFC 6749 and 7636.
"""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from simulator import pkce, redirects

Rotation = Literal["spotify", "on", "off", "same"]
"""What a refresh does to the refresh token it was made with.

``on`` kills it and hands out a new one, ``off`` keeps it and leaves it out of the answer, ``same``
keeps it and repeats it. ``spotify`` is ``on`` for tokens that came from PKCE, else ``off``.
"""

Seconds = Annotated[int, Meta(ge=0, le=10 * 365 * 24 * 3600)]

_REMEMBERED = 100_000  # a benchmark mints for hours: the oldest codes and tokens are forgotten

_Held = TypeVar("_Held")


class AccountsError(Exception):
    """A refusal of the token endpoint: its ``error`` and ``error_description`` (RFC 6749 5.2)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


class RegisteredApp(Struct, frozen=True):
    """The one app this service knows; without redirect URIs every legal one is allowed."""

    client_id: str = "simulator-client-id"
    client_secret: str = "simulator-client-secret"  # noqa: S105 - public on purpose
    redirect_uris: tuple[str, ...] = ()


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """What can be changed while the simulator runs."""

    rotation: Rotation = "spotify"
    expires_in: Seconds = 3600
    code_lifetime: Seconds = 600


class Client(Struct, frozen=True):
    """Who a request says it comes from; without a secret it is not authenticated."""

    client_id: str
    client_secret: str | None = None


class Tokens(Struct, frozen=True, kw_only=True):
    """A good answer of the token endpoint (RFC 6749 section 5.1); what is UNSET is left out."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the type of a token, not a token
    scope: str | UnsetType = UNSET
    expires_in: int
    refresh_token: str | UnsetType = UNSET


class _Code(Struct, frozen=True):
    redirect_uri: str
    scope: str
    challenge: str | None
    issued_at: float


class _RefreshToken(Struct):
    pkce: bool
    scope: str
    revoked: bool = False


class Accounts:
    """A registered app and all that was issued for it.

    Takes the app, the settings to start with, and a clock: a callable giving seconds that only
    ever grow.
    """

    def __init__(
        self,
        app: RegisteredApp | None = None,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app or RegisteredApp()
        self._initial = settings or Settings()
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Go back to the start: settings as given then, nothing issued."""
        self.settings = self._initial
        self._codes: OrderedDict[str, _Code] = OrderedDict()
        self._refresh_tokens: OrderedDict[str, _RefreshToken] = OrderedDict()

    def allows(self, redirect_uri: str) -> bool:
        """Tell whether the app may be sent back to this URI."""
        registered = self.app.redirect_uris
        return redirects.is_legal(redirect_uri) and redirects.is_registered(
            redirect_uri, registered
        )

    def issue_code(self, redirect_uri: str, scope: str = "", challenge: str | None = None) -> str:
        """Return a new authorization code, bound to its redirect URI and PKCE challenge."""
        code = f"AQ{secrets.token_urlsafe(150)}"
        _remember(self._codes, code, _Code(redirect_uri, scope, challenge, self._clock()))
        return code

    def issue_refresh_token(self, *, pkce: bool, scope: str = "") -> str:
        """Return a new refresh token, as if it came from a code with or without PKCE."""
        token = f"AQ{secrets.token_urlsafe(96)}"
        _remember(self._refresh_tokens, token, _RefreshToken(pkce, scope))
        return token

    def grant_client_credentials(self, client: Client) -> Tokens:
        """Return an access token for the app itself (RFC 6749 section 4.4)."""
        self._authenticate(client)
        return self._tokens()

    def exchange_code(
        self, client: Client, code: str, redirect_uri: str, verifier: str | None
    ) -> Tokens:
        """Return the tokens for a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

        Success alone uses the code up; after a refusal it can be tried again.
        """
        self._identify(client)
        found = self._codes.get(code)
        if found is None:
            raise AccountsError("invalid_grant", "Invalid authorization code")
        if self._clock() - found.issued_at >= self.settings.code_lifetime:
            raise AccountsError("invalid_grant", "Authorization code expired")
        if redirect_uri != found.redirect_uri:
            raise AccountsError("invalid_grant", "Invalid redirect URI")
        self._prove(client, found.challenge, verifier)
        del self._codes[code]
        refresh_token = self.issue_refresh_token(
            pkce=found.challenge is not None, scope=found.scope
        )
        return self._tokens(found.scope, refresh_token)

    def refresh(self, client: Client, token: str) -> Tokens:
        """Return a new access token, and what rotation makes of the old refresh token."""
        self._identify(client)
        found = self._refresh_tokens.get(token)
        if found is None:
            raise AccountsError("invalid_grant", "Invalid refresh token")
        if not found.pkce:
            self._authenticate(client)
        if found.revoked:
            raise AccountsError("invalid_grant", "Refresh token revoked")
        return self._tokens(found.scope, self._rotated(token, found))

    def _rotated(self, token: str, found: _RefreshToken) -> str | UnsetType:
        """Apply the rotation setting; return the refresh token for the answer, if one is due."""
        rotation = self.settings.rotation
        if rotation == "spotify":
            rotation = "on" if found.pkce else "off"
        match rotation:
            case "on":
                found.revoked = True
                return self.issue_refresh_token(pkce=found.pkce, scope=found.scope)
            case "same":
                return token
            case _:
                return UNSET

    def _identify(self, client: Client) -> None:
        """Refuse an unknown client, and a wrong secret; no secret is fine here."""
        if not _same(client.client_id, self.app.client_id):
            raise AccountsError("invalid_client", "Invalid client")
        if client.client_secret is not None:
            self._check_secret(client.client_secret)

    def _authenticate(self, client: Client) -> None:
        """Refuse a client that does not show the app's id and secret (RFC 6749 section 2.3)."""
        self._identify(client)
        self._check_secret(client.client_secret or "")

    def _check_secret(self, secret: str) -> None:
        if not _same(secret, self.app.client_secret):
            raise AccountsError("invalid_client", "Invalid client secret")

    def _prove(self, client: Client, challenge: str | None, verifier: str | None) -> None:
        """Refuse a code whose presenter cannot show to be the one who asked for it."""
        if challenge is None:
            self._authenticate(client)
            if verifier is not None:  # a verifier without challenge: RFC 9700 section 2.1.1
                raise AccountsError("invalid_grant", "code_verifier was incorrect")
        elif verifier is None:
            raise AccountsError("invalid_request", "code_verifier must be supplied")
        elif not pkce.proves(verifier, challenge):
            raise AccountsError("invalid_grant", "code_verifier was incorrect")

    def _tokens(
        self, scope: str | UnsetType = UNSET, refresh_token: str | UnsetType = UNSET
    ) -> Tokens:
        return Tokens(
            access_token=f"BQ{secrets.token_urlsafe(120)}",
            scope=scope,
            expires_in=self.settings.expires_in,
            refresh_token=refresh_token,
        )


def _remember(held: OrderedDict[str, _Held], key: str, value: _Held) -> None:
    """Keep a value under its key, and let go of the oldest when there are too many."""
    held[key] = value
    if len(held) > _REMEMBERED:
        held.popitem(last=False)


def _same(given: str, right: str) -> bool:
    """Compare in a time that tells nothing about where two texts differ."""
    return hmac.compare_digest(given.encode(), right.encode())
