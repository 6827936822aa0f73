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
"""What a refresh does to its refresh token.

``on`` revokes it and returns a new one, ``off`` keeps it and does not return it, ``same`` keeps
and returns it. ``spotify`` is ``on`` for tokens from PKCE, otherwise ``off``.
"""

Seconds = Annotated[int, Meta(ge=0, le=10 * 365 * 24 * 3600)]

_REMEMBERED = 100_000  # codes and refresh tokens; bounds the memory of a long benchmark
_ACCESS_REMEMBERED = 10_000  # access tokens; many, large and short-lived

_Held = TypeVar("_Held")


class AccountsError(Exception):
    """An error of the token endpoint: ``error`` and ``error_description`` (RFC 6749, 5.2)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


class RegisteredApp(Struct, frozen=True):
    """The only registered app; without redirect URIs, every legal one is allowed."""

    client_id: str = "simulator-client-id"
    client_secret: str = "simulator-client-secret"  # noqa: S105 - public on purpose
    redirect_uris: tuple[str, ...] = ()


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings that can be changed at run time."""

    rotation: Rotation = "spotify"
    expires_in: Seconds = 3600
    code_lifetime: Seconds = 600
    refresh_token_lifetime: Seconds = 183 * 24 * 3600
    """From the consent, not from the last refresh; Spotify's is six months."""


class Client(Struct, frozen=True):
    """The client credentials in a request; without a secret, it is not authenticated."""

    client_id: str
    client_secret: str | None = None


class Tokens(Struct, frozen=True, kw_only=True):
    """A success of the token endpoint (RFC 6749, section 5.1); UNSET fields are omitted."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the type of a token, not a token
    scope: str | UnsetType = UNSET
    expires_in: int
    refresh_token: str | UnsetType = UNSET


class Consent(Struct, frozen=True):
    """The consent of a user; codes and tokens refer to it."""

    user: User
    scope: str
    pkce: bool
    given_at: float


class Access(Struct, frozen=True):
    """An issued access token; an app access token (client credentials) has no consent."""

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
    """The registered app, its users, and the codes and tokens issued to it.

    ``reset`` restores the app, the settings and the users passed in; ``clock`` returns monotonic
    seconds.
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
        """Restore the initial settings and users, and forget all codes and tokens."""
        self.settings = self._initial
        self.users = self._initial_users
        self._ahead = 0
        self._codes: OrderedDict[str, _Code] = OrderedDict()
        self._refresh_tokens: OrderedDict[str, _RefreshToken] = OrderedDict()
        self._access: OrderedDict[str, Access] = OrderedDict()

    def now(self) -> float:
        """Return the simulated time, in seconds."""
        return self._clock() + self._ahead

    def put_forward(self, seconds: int) -> int:
        """Advance the clock; return the seconds added since the start."""
        self._ahead += seconds
        return self._ahead

    def user(self, id_: str | None = None) -> User | None:
        """Return the user with this id, or the first user; None if there is none."""
        if id_ is None:
            return self.users[0]
        return next((user for user in self.users if user.id == id_), None)

    def revoke(self, id_: str) -> int:
        """Revoke the app's access to a user, as users do in the settings of their account.

        Codes and refresh tokens are invalid at once, access tokens when they expire. Returns the
        number of refresh tokens revoked.
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
        """Return an access token, expired or not; None if it was never issued."""
        return self._access.get(token)

    def allows(self, redirect_uri: str) -> bool:
        """Return whether the app may use this redirect URI."""
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

    def issue_refresh_token(
        self, *, pkce: bool, scope: str = "", user: User | None = None, token: str | None = None
    ) -> str:
        """Return a new refresh token, as from a code with or without PKCE.

        `token` is its value, by default a random one.
        """
        return self._refresh_token(self._consent(user, scope, pkce=pkce), token)

    def grant_client_credentials(self, client: Client) -> Tokens:
        """Return an app access token (RFC 6749, section 4.4)."""
        self._authenticate(client)
        return self._tokens()

    def exchange_code(
        self, client: Client, code: str, redirect_uri: str, verifier: str | None
    ) -> Tokens:
        """Return the tokens for a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

        A code is used up by success only.
        """
        self._identify(client)
        entry = self._codes.get(code)
        if entry is None:
            raise AccountsError("invalid_grant", "Invalid authorization code")
        if self.now() - entry.consent.given_at >= self.settings.code_lifetime:
            raise AccountsError("invalid_grant", "Authorization code expired")
        if redirect_uri != entry.redirect_uri:
            raise AccountsError("invalid_grant", "Invalid redirect URI")
        self._prove(client, entry.challenge, verifier)
        del self._codes[code]
        return self._tokens(entry.consent, self._refresh_token(entry.consent))

    def refresh(self, client: Client, token: str) -> Tokens:
        """Return a new access token, and a refresh token as the rotation setting says."""
        self._identify(client)
        entry = self._refresh_tokens.get(token)
        if entry is None:
            raise AccountsError("invalid_grant", "Invalid refresh token")
        if not entry.consent.pkce:
            self._authenticate(client)
        if entry.revoked:
            raise AccountsError("invalid_grant", "Refresh token revoked")
        if self.now() - entry.consent.given_at >= self.settings.refresh_token_lifetime:
            raise AccountsError("invalid_grant", "Refresh token expired")
        return self._tokens(entry.consent, self._rotated(token, entry))

    def _consent(self, user: User | None, scope: str, *, pkce: bool) -> Consent:
        return Consent(user or self.users[0], scope, pkce, self.now())

    def _refresh_token(self, consent: Consent, token: str | None = None) -> str:
        token = token or f"AQ{secrets.token_urlsafe(96)}"
        _remember(self._refresh_tokens, token, _RefreshToken(consent))
        return token

    def _rotated(self, token: str, entry: _RefreshToken) -> str | UnsetType:
        """Apply the rotation setting; return the refresh token for the response, if any."""
        rotation = self.settings.rotation
        if rotation == "spotify":
            rotation = "on" if entry.consent.pkce else "off"
        match rotation:
            case "on":
                entry.revoked = True
                return self._refresh_token(entry.consent)
            case "same":
                return token
            case _:
                return UNSET

    def _identify(self, client: Client) -> None:
        """Reject an unknown client and a wrong secret; the secret is optional."""
        if not _same(client.client_id, self.app.client_id):
            raise AccountsError("invalid_client", "Invalid client")
        if client.client_secret is not None:
            self._check_secret(client.client_secret)

    def _authenticate(self, client: Client) -> None:
        """Reject a client without the app's id and secret (RFC 6749, section 2.3)."""
        self._identify(client)
        self._check_secret(client.client_secret or "")

    def _check_secret(self, secret: str) -> None:
        if not _same(secret, self.app.client_secret):
            raise AccountsError("invalid_client", "Invalid client secret")

    def _prove(self, client: Client, challenge: str | None, verifier: str | None) -> None:
        """Check the PKCE verifier, or the secret if the code has no challenge."""
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
    """Store a value; drop the oldest if there are too many."""
    held[key] = value
    if len(held) > limit:
        held.popitem(last=False)


def _same(given: str, right: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode(), right.encode())
