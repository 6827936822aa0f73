"""Sealing: refresh tokens are encrypted ("sealed") for the client, which cannot use them elsewhere.

A sealed token is `base64url(nonce[12] ‖ AES-256-GCM ciphertext ‖ tag[16])` without padding and
without associated data, under SHA-256 of the secret key's UTF-8 bytes: the format of the original
server, so that tokens written by either open in the other.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.errors import UndecryptableToken
from service.settings import WEAK_SECRET_KEY

NONCE_BYTES = 12
TAG_BYTES = 16


class Opened(NamedTuple):
    """Spotify's refresh token; `stale` if only a previous key opened it."""

    token: str
    stale: bool

    def __repr__(self) -> str:
        return f"Opened(token=…, stale={self.stale})"


class Sealer:
    """Seals with `key`; opens with `key` and all of `previous`, tried in that order.

    `on_open` is called with the position of the key that opened a token; the current key's is 0.
    """

    def __init__(
        self,
        key: str,
        previous: Iterable[str] = (),
        on_open: Callable[[int], None] = lambda _position: None,
    ) -> None:
        self._ciphers = tuple(map(_cipher, (key, *previous)))
        self._current = self._ciphers[0]
        self._on_open = on_open

    def seal(self, token: str) -> str:
        """Return `token` sealed under the current key, different every time.

        NOTE: random nonces are intentional: several replicas share a key and no counter. They are
        safe for 2^32 seals with one key (NIST SP 800-38D, section 8.3); a new key starts from zero.
        """
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._current.encrypt(nonce, token.encode(), None)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")

    def open(self, sealed: str) -> Opened:
        """Return the token in `sealed`, or raise UndecryptableToken for any failure."""
        raw = _decode(sealed)
        for number, cipher in enumerate(self._ciphers):
            if (token := _decrypt(cipher, raw)) is not None:
                self._on_open(number)
                return Opened(token, stale=number > 0)
        raise UndecryptableToken


def fingerprint(key: str) -> str:
    """Return eight hexadecimal digits by which operators distinguish secret keys; "" for weak ones.

    NOTE: showing it is intentional. It is 32 bits of an HMAC (RFC 2104) under the AES key, so that
    it contains no part of that key and no random key can be derived from it. Guesses of a key that
    is short enough to be guessed could be tested with it: such a key has none.
    """
    if len(key) < WEAK_SECRET_KEY:
        return ""
    return hmac.digest(_aes_key(key), b"fingerprint", "sha256")[:4].hex()


def key_names(keyring: Iterable[str]) -> list[tuple[str, str]]:
    """Return the public name of each key: "current" or "previous", and its fingerprint."""
    return [
        ("previous" if position else "current", fingerprint(key))
        for position, key in enumerate(keyring)
    ]


def _cipher(key: str) -> AESGCM:
    return AESGCM(_aes_key(key))


def _aes_key(key: str) -> bytes:
    # NOTE: one round of SHA-256 is intentional: the format fixes it, and the key is a random
    # secret of the operator, not a password.
    return hashlib.sha256(key.encode()).digest()


def _decode(sealed: str) -> bytes:
    """Decode base64 in either alphabet, padded or not; nothing else is accepted, no white space."""
    bare = sealed.replace("-", "+").replace("_", "/").rstrip("=")
    padded = bare + "=" * (-len(bare) % 4)
    if len(sealed) not in {len(bare), len(padded)}:
        # The decoder accepts some wrong paddings, even in its strict mode.
        raise UndecryptableToken
    try:
        raw = binascii.a2b_base64(padded.encode("ascii"), strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are both ValueErrors
        raise UndecryptableToken from None
    if len(raw) < NONCE_BYTES + TAG_BYTES:
        raise UndecryptableToken
    return raw


def _decrypt(cipher: AESGCM, raw: bytes) -> str | None:
    try:
        return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], None).decode()
    except (InvalidTag, UnicodeDecodeError):
        return None
