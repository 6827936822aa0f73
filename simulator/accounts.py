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

from simulator import pkce, redirects, users
from simulator.users import User, Users

Rotation = Literal["spotify", "on", "off", "same"]
"""What a refresh does to the refresh token it was made with.

``on`` kills it and hands out a new one, ``off`` keeps it and leaves it out of the answer, ``same``
keeps it and repeats it. ``spotify`` is ``on`` for tokens that came from PKCE, else ``off``.
"""

Seconds = Annotated[int, Meta(ge=0, le=10 * 365 * 24 * 3600)]

_REMEMBERED = 100_000  # a benchmark mints for hours: the oldest codes and tokens are forgotten
_ACCESS_REMEMBERED = 10_000  # they are many, large, and short of life

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
    refresh_token_lifetime: Seconds = 183 * 24 * 3600
    """From consent, and not from the last refresh: Spotify's six months."""


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


class Consent(Struct, frozen=True):
    """What a user has allowed, when, and how: it stays with all that is issued for it."""

    user: User
    scope: str
    pkce: bool
    given_at: float


class Access(Struct, frozen=True):
    """What an access token is good for; one without consent is the app's own."""

    consent: Consent | None
    expires_at: float


class _Code(Struct, frozen=True):
    redirect_uri: str
    challenge: str | None
    consent: Consent


class _RefreshToken(Struct):
    consent: Consent
    revoked: bool = False


class Accounts:
    """A registered app, its users, and all that was issued for it.

    Takes the app, the settings and the users to start with, and a clock: a callable giving
    seconds that only ever grow.
    """

    def __init__(
        self,
        app: RegisteredApp | None = None,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.monotonic,
        people: Users = users.KNOWN,
    ) -> None:
        self.app = app or RegisteredApp()
        self._initial = settings or Settings()
        self._initial_users = people
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Go back to the start: settings and users as given then, nothing issued."""
        self.settings = self._initial
        self.users = self._initial_users
        self._ahead = 0
        self._codes: OrderedDict[str, _Code] = OrderedDict()
        self._refresh_tokens: OrderedDict[str, _RefreshToken] = OrderedDict()
        self._access: OrderedDict[str, Access] = OrderedDict()

    def now(self) -> float:
        """Return the time, in seconds since some start."""
        return self._clock() + self._ahead

    def put_forward(self, seconds: int) -> int:
        """Let time pass; return the seconds that were added since the start."""
        self._ahead += seconds
        return self._ahead

    def user(self, id_: str | None = None) -> User | None:
        """Return a user by their id, without one the first of all; None if there is no such."""
        if id_ is None:
            return self.users[0]
        return next((user for user in self.users if user.id == id_), None)

    def revoke(self, id_: str) -> int:
        """Take the app's access to a user away, as people do in the settings of their account.

        Codes and refresh tokens are dead at once, access tokens live on to their end. Returns how
        many refresh tokens died.
        """
        for code in [key for key, held in self._codes.items() if held.consent.user.id == id_]:
            del self._codes[code]
        alive = [
            token
            for token in self._refresh_tokens.values()
            if token.consent.user.id == id_ and not token.revoked
        ]
        for token in alive:
            token.revoked = True
        return len(alive)

    def access(self, token: str) -> Access | None:
        """Return what an access token is good for, or was; None if it was never issued."""
        return self._access.get(token)

    def allows(self, redirect_uri: str) -> bool:
        """Tell whether the app may be sent back to this URI."""
        registered = self.app.redirect_uris
        return redirects.is_legal(redirect_uri) and redirects.is_registered(
            redirect_uri, registered
        )

    def issue_code(
        self,
        redirect_uri: str,
        scope: str = "",
        challenge: str | None = None,
        user: User | None = None,
    ) -> str:
        """Return a new authorization code, bound to its redirect URI and PKCE challenge."""
        code = f"AQ{secrets.token_urlsafe(150)}"
        consent = self._consent(user, scope, pkce=challenge is not None)
        _remember(self._codes, code, _Code(redirect_uri, challenge, consent))
        return code

    def issue_refresh_token(self, *, pkce: bool, scope: str = "", user: User | None = None) -> str:
        """Return a new refresh token, as if it came from a code with or without PKCE."""
        return self._refresh_token(self._consent(user, scope, pkce=pkce))

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
        if self.now() - found.consent.given_at >= self.settings.code_lifetime:
            raise AccountsError("invalid_grant", "Authorization code expired")
        if redirect_uri != found.redirect_uri:
            raise AccountsError("invalid_grant", "Invalid redirect URI")
        self._prove(client, found.challenge, verifier)
        del self._codes[code]
        return self._tokens(found.consent, self._refresh_token(found.consent))

    def refresh(self, client: Client, token: str) -> Tokens:
        """Return a new access token, and what rotation makes of the old refresh token."""
        self._identify(client)
        found = self._refresh_tokens.get(token)
        if found is None:
            raise AccountsError("invalid_grant", "Invalid refresh token")
        if not found.consent.pkce:
            self._authenticate(client)
        if found.revoked:
            raise AccountsError("invalid_grant", "Refresh token revoked")
        if self.now() - found.consent.given_at >= self.settings.refresh_token_lifetime:
            raise AccountsError("invalid_grant", "Refresh token expired")
        return self._tokens(found.consent, self._rotated(token, found))

    def _consent(self, user: User | None, scope: str, *, pkce: bool) -> Consent:
        return Consent(user or self.users[0], scope, pkce, self.now())

    def _refresh_token(self, consent: Consent) -> str:
        token = f"AQ{secrets.token_urlsafe(96)}"
        _remember(self._refresh_tokens, token, _RefreshToken(consent))
        return token

    def _rotated(self, token: str, found: _RefreshToken) -> str | UnsetType:
        """Apply the rotation setting; return the refresh token for the answer, if one is due."""
        rotation = self.settings.rotation
        if rotation == "spotify":
            rotation = "on" if found.consent.pkce else "off"
        match rotation:
            case "on":
                found.revoked = True
                return self._refresh_token(found.consent)
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
        self, consent: Consent | None = None, refresh_token: str | UnsetType = UNSET
    ) -> Tokens:
        token = f"BQ{secrets.token_urlsafe(120)}"
        access = Access(consent, self.now() + self.settings.expires_in)
        _remember(self._access, token, access, _ACCESS_REMEMBERED)
        return Tokens(
            access_token=token,
            scope=consent.scope if consent else UNSET,
            expires_in=self.settings.expires_in,
            refresh_token=refresh_token,
        )


def _remember(
    held: OrderedDict[str, _Held], key: str, value: _Held, limit: int = _REMEMBERED
) -> None:
    """Keep a value under its key, and let go of the oldest when there are too many."""
    held[key] = value
    if len(held) > limit:
        held.popitem(last=False)


def _same(given: str, right: str) -> bool:
    """Compare in a time that tells nothing about where two texts differ."""
    return hmac.compare_digest(given.encode(), right.encode())
