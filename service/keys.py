"""Which key opens how many of the tokens that an operator has: whether an old one can go."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

import msgspec

from service.errors import UndecryptableToken
from service.sealing import Sealer, fingerprint

LINE_LIMIT: Final = 16 * 1024
"""Bytes of a line; a longer one, as a longer body, holds no token."""


class KeyTally(msgspec.Struct, frozen=True):
    """How many tokens one key opened; `key` is "current" or "previous"."""

    key: str
    fingerprint: str
    opened: int


class Tally(msgspec.Struct, frozen=True):
    """How many `tokens` came, what each key opened of them, and how many none did."""

    tokens: int
    keys: list[KeyTally]
    none: int

    def to_json(self) -> str:
        """Write it as one JSON object on a line."""
        return msgspec.json.encode(self).decode() + "\n"

    def to_text(self) -> str:
        """Write it for a person, and what follows from it."""
        if not self.tokens:
            return "No tokens came, so that nothing can be told about the keys.\n"
        rows = [(f"{each.key:<8}  {each.fingerprint}", each.opened) for each in self.keys]
        rows += [("none", self.none)]
        table = "".join(f"  {name:<18}  {count:>9,}\n" for name, count in rows)
        tokens = "1 token" if self.tokens == 1 else f"{self.tokens:,} tokens"
        return f"Of {tokens}, each key opens:\n{table}" + "".join(self._advice())

    def _advice(self) -> Iterator[str]:
        for each in self.keys[1:]:
            if each.fingerprint == self.keys[0].fingerprint:
                yield f"{each.fingerprint} is the current key too, and has to stay that.\n"
            elif each.opened:
                yield f"{each.fingerprint} is still needed.\n"
            elif self.none < self.tokens:
                yield f"{each.fingerprint} opens none of these: if they are all, it can go.\n"
        if self.none:
            yield "What no key opens is no token of this service's, or its key is gone.\n"


def count(keyring: Sequence[str], lines: BinaryIO) -> Tally:
    """Return what the keys open of the sealed tokens in `lines`; `keyring` has the current first.

    Reads one line at a time and keeps none. Blank lines don't count. A key that opened a token is
    the first that did, as in the service.
    """
    sealer = Sealer(keyring[0], keyring[1:])
    tokens = none = 0
    for line in _lines(lines):
        tokens += 1
        try:
            sealer.open(line.decode("latin-1"))
        except UndecryptableToken:
            none += 1
    names = ["current"] + ["previous"] * (len(keyring) - 1)
    keys = [
        KeyTally(name, fingerprint(key), opened)
        for name, key, opened in zip(names, keyring, sealer.opened, strict=True)
    ]
    return Tally(tokens, keys, none)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines that aren't blank; for one that is too long, what no key opens."""
    while line := stream.readline(LINE_LIMIT):
        rest = line
        while len(rest) == LINE_LIMIT and not rest.endswith(b"\n"):
            rest = stream.readline(LINE_LIMIT)
        if rest is not line:
            yield b"too long"
        elif token := line.strip():
            yield token
