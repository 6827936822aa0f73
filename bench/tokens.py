"""The tokens of a run: what the upstream answers, what the load sends, and the sealed format.

NOTE: writing the format anew is intentional: a measurement must not trust the code it measures.
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
"""Users who refresh: so many that no two requests at one time are the same user's.

Our service would make one call of those.
"""
ACCESS_TOKEN: Final = "BQ" + "BenchUpstreamAccessToken_0" * 5

_TOKEN: Final = {"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600}
_SCOPE: Final = "user-read-private playlist-read-private user-library-read"


def _written(answer: Mapping[str, object]) -> str:
    return json.dumps(answer, separators=(",", ":"))


UPSTREAM_ANSWER: Final = _written({**_TOKEN, "refresh_token": REFRESH_TOKEN, "scope": _SCOPE})
UPSTREAM_APP_ANSWER: Final = _written(_TOKEN)

_cipher = AESGCM(hashlib.sha256(SECRET_KEY.encode()).digest())


def sealed(token: str) -> str:
    """Return `token` as an app would hold it."""
    nonce = os.urandom(_NONCE_BYTES)
    raw = nonce + _cipher.encrypt(nonce, token.encode(), None)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def opened(token: str) -> str:
    """Return what is in `token`; raises InvalidTag or ValueError if it isn't ours."""
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    return _cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None).decode()


def request_bodies() -> Iterator[str]:
    """Yield the forms of refreshes, each with a token of its own."""
    for number in range(SENT_TOKENS):
        token = sealed(f"{SENT_TOKEN}{number:04}")
        yield f"method=PKCE&grant_type=refresh_token&refresh_token={token}"
