"""The tokens of a run: those of the upstream, those of the load, and the sealed format.

NOTE: a second implementation of the format is intentional: it checks the code that is measured.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET_KEY: Final = "a-key-that-only-ever-seals-made-up-tokens"
_NONCE_BYTES: Final = 12

# As long as Spotify's are.
REFRESH_TOKEN: Final = "AQ" + "BenchUpstreamRefreshToken-" * 5
SENT_TOKEN: Final = "AQ" + "BenchStoredRefreshToken_00" * 5
SENT_TOKENS: Final = 1024
"""More than there are connections: concurrent refreshes of one token share one upstream call."""
ACCESS_TOKEN: Final = "BQ" + "BenchUpstreamAccessToken_0" * 5

_TOKEN: Final = {"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600}
_SCOPE: Final = "user-read-private playlist-read-private user-library-read"


def _json(response: Mapping[str, object]) -> str:
    return json.dumps(response, separators=(",", ":"))


UPSTREAM_RESPONSE: Final = _json({**_TOKEN, "refresh_token": REFRESH_TOKEN, "scope": _SCOPE})
UPSTREAM_APP_RESPONSE: Final = _json(_TOKEN)

_cipher = AESGCM(hashlib.sha256(SECRET_KEY.encode()).digest())


def sealed(token: str) -> str:
    """Return `token` sealed, as a client stores it."""
    nonce = os.urandom(_NONCE_BYTES)
    raw = nonce + _cipher.encrypt(nonce, token.encode(), None)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def opened(token: str) -> str:
    """Return the content of `token`; raises InvalidTag or ValueError for another key."""
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    return _cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None).decode()


def request_bodies() -> Iterator[str]:
    """Yield the forms of refreshes, each with a different token."""
    for number in range(SENT_TOKENS):
        token = sealed(f"{SENT_TOKEN}{number:04}")
        yield f"method=PKCE&grant_type=refresh_token&refresh_token={token}"
