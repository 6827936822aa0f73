"""Redirect URIs, by the rules of Spotify's docs page "Redirect URIs" since 2025."""

import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+")
"""The characters of RFC 3986, without ``#``: a redirect URI has no fragment (RFC 6749 3.1.2)."""

_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_FORBIDDEN_SCHEMES = frozenset({"about", "blob", "data", "file", "javascript", "vbscript"})


def is_legal(uri: str) -> bool:
    """Return whether an app may register this redirect URI.

    Legal are https, http with the loopback addresses 127.0.0.1 and [::1], and custom schemes such
    as ``my-app:/callback``. ``localhost`` is not legal.
    """
    parts = _split(uri)
    if parts is None or parts.scheme in _FORBIDDEN_SCHEMES:
        return False
    match parts.scheme:
        case "https":
            return bool(parts.hostname) and parts.hostname != "localhost"
        case "http":
            return parts.hostname in _LOOPBACK
        case _:
            return True


def is_registered(uri: str, registered: Collection[str]) -> bool:
    """Return whether an app's list contains a redirect URI; an empty list allows every URI.

    The match is exact, but a loopback URI registered without a port matches with any port.
    """
    return not registered or uri in registered or _without_loopback_port(uri) in registered


def with_parameters(uri: str, parameters: dict[str, str]) -> str:
    """Append parameters to the query of a URI (RFC 6749, section 4.1.2)."""
    parts = urlsplit(uri)
    query = "&".join(filter(None, (parts.query, urlencode(parameters))))
    return urlunsplit(parts._replace(query=query))


def _split(uri: str) -> SplitResult | None:
    """Return the parts of a valid URI, otherwise None."""
    if _URI.fullmatch(uri) is None:
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises ValueError if the port is not a number
    except ValueError:
        return None
    return parts


def _without_loopback_port(uri: str) -> str:
    """Return a loopback URI without its port, any other URI unchanged."""
    parts = _split(uri)
    if parts is None or parts.port is None or parts.hostname not in _LOOPBACK:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.removesuffix(f":{parts.port}")))
