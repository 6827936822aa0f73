"""Search what the service wrote for secrets, in every common encoding."""

import base64
import json
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus


def shapes(secret: str) -> set[str]:
    """Return the strings that reveal `secret`: as it is, a part of it, and encoded."""
    raw = secret.encode()
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), raw.hex()}
    forms |= {json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    if len(secret) >= 24:
        forms |= {secret[:12], secret[-12:]}
    for shift in range(3):  # base64 depends on the preceding bytes
        first, end = -(-8 * shift // 6), 8 * (shift + len(raw)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            forms.add(encode(bytes(shift) + raw).decode()[first:end])
    return forms


@dataclass
class Evidence:
    """The secrets of one run, and everything that the service wrote."""

    secrets: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def add(self, secret: str, what: str) -> str:
        assert len(secret) >= 16, "too short: chance could produce it"
        self.secrets[secret] = what
        return secret

    def leaks(self) -> set[tuple[str, str]]:
        """Return which secret can be found where."""
        needles = [
            (shape, what) for secret, what in self.secrets.items() for shape in shapes(secret)
        ]
        return {
            (what, where) for where, text in self.seen for shape, what in needles if shape in text
        }
