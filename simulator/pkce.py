"""Proof Key for Code Exchange, S256 only (RFC 7636)."""

import base64
import hashlib
import hmac
import re

CHALLENGE_PATTERN = r"^[A-Za-z0-9_-]{43}\Z"
"""An S256 challenge: 32 bytes in unpadded base64url (RFC 7636, section 4.2)."""

_CHALLENGE = re.compile(CHALLENGE_PATTERN)
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge for a verifier (RFC 7636 section 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_challenge(text: str) -> bool:
    """Return whether a string has the form of an S256 challenge."""
    return _CHALLENGE.match(text) is not None


def proves(verifier: str, challenge: str) -> bool:
    """Return whether a verifier is valid (section 4.1) and matches the challenge (4.6)."""
    if _VERIFIER.fullmatch(verifier) is None:
        return False
    return hmac.compare_digest(challenge_of(verifier), challenge)
