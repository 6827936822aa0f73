"""Decode application/x-www-form-urlencoded bodies and query strings."""

from collections.abc import Iterable
from urllib.parse import parse_qsl

Pairs = list[tuple[str, str]]

MEDIA_TYPE = "application/x-www-form-urlencoded"


def pairs(text: bytes) -> Pairs:
    """Return names and values in order, with empty values."""
    return parse_qsl(text.decode(errors="replace"), keep_blank_values=True)


def fields(sent: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return values by name; ValueError names a repeated parameter.

    A parameter without a value counts as omitted, and none may be repeated (RFC 6749, 3.1, 3.2).
    """
    found: dict[str, str] = {}
    for name, value in sent:
        if name in found:
            raise ValueError(f"{name} must not be repeated")
        found[name] = value
    return {name: value for name, value in found.items() if value}
