"""The settings as operators see them: meanings, values, and hints about likely mistakes.

A hint is about settings that are valid. `check` prints every hint; one with an event is also a
warning that `serve` logs at its start.

NOTE: showing values is intentional, except those that are secret or may be one under the wrong
name (Spotify's client ids and secrets look alike). No hint quotes such a value.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

import msgspec

from service import settings
from service.logs import printable
from service.sealing import fingerprint
from service.settings import SPOTIFY, WEAK_SECRET_KEY, Secret, Settings

Values = Mapping[str, object]

MEANINGS: Final = {
    "client_id": "from Spotify's dashboard",
    "client_secret": "from Spotify's dashboard",
    "secret_key": "encrypts refresh tokens",
    "redirect_uri": "default for requests that send none",
    "log_level": "minimum level",
    "log_format": "json or console (default on a terminal)",
    "secret_keys_previous": "older keys that still decrypt refresh tokens",
    "host": "address to listen on",
    "port": "port to listen on",
    "base_path": "path prefix of every endpoint but the probes",
    "public_url": "the service's URL as clients see it",
    "metrics_port": "port of Prometheus /metrics; 0 turns it off",
    "spotify_token_url": "gets the client secret",
    "spotify_authorize_url": "Spotify's login page",
    "upstream_timeout": "seconds for one whole call to Spotify",
    "upstream_max_in_flight": "concurrent calls to Spotify; beyond it: 503",
    "upstream_proxy": "HTTP proxy for calls to Spotify",
    "allow_insecure_upstream": "allows http for the two SPOTIFY_… URLs on any host",
    "request_timeout": "seconds for a request's head and again for its body",
    "drain_seconds": "seconds from SIGTERM to the end of accepting",
    "cors_allow_origins": "origins whose web pages may call; default: CORS off",
    "allowed_redirect_uris": "if set, requests may send only these",
    "client_credentials_enabled": "whether clients can get the app access token",
    "client_credentials_cache": "whether the app access token is cached",
    "rate_limit": "requests per client address, such as 60/minute",
    "rate_limit_storage": "Valkey or Redis URL shared by replicas",
    "trusted_proxies": "networks whose X-Forwarded-For is trusted",
    "docs": "whether /docs and /openapi.json are served",
}
# A fingerprint lets a reader test guesses: only keys have one, and only keys that are long enough.
_SHOWN_AS_SET: Final = {"client_id", "client_secret", "rate_limit_storage", "upstream_proxy"}
_DEFAULTS: Final = {
    field.name: field.default for field in msgspec.structs.fields(Settings) if not field.required
}
_CREDENTIAL: Final = re.compile(r"[0-9a-f]{32}")
_QUOTES: Final = frozenset("\"'`“”„«»")
_NEXT_URI: Final = re.compile(r"[\s,;]+[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_NEW_KEY: Final = "create one with openssl rand -hex 32"


class Hint(NamedTuple):
    """A sentence for the operator; event and fields of its log line, if `serve` logs it."""

    sentence: str
    event: str | None = None
    fields: Mapping[str, object] | None = None


def find(environ: Mapping[str, str], values: Values) -> Iterator[Hint]:
    """Yield the hints for `environ`, of which `values` are the settings that are valid."""
    yield from _warnings(environ, values)
    for sentence in _advice(_DEFAULTS | dict(values)):
        yield Hint(sentence)


def stray_characters(text: str) -> str | None:
    """Return a name for a character at an end of `text` that is probably a mistake."""
    ends = {text[0], text[-1]} if text else set()
    if "\ufeff" in ends:
        return "a byte order mark"
    if ends & _QUOTES:
        return "a quotation mark"
    return "white space" if any(map(str.isspace, ends)) else None


def shown(field: str, value: object) -> str:
    """Return the printable form of a value, without secrets and control characters."""
    if isinstance(value, tuple | frozenset):
        return ", ".join(shown(field, item) for item in sorted(value, key=str)) or "none"
    if field in _SHOWN_AS_SET and value is not None:
        return "set"
    if isinstance(value, Secret):
        digits = fingerprint(value.reveal())
        return f"set, fingerprint {digits}" if digits else "set, short"
    if field in {"redirect_uri", "allowed_redirect_uris"} and value is not None:
        return _plain_uri(str(value)) or "set, but not a plain URI"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else printable(str(value))


def _plain_uri(uri: str) -> str | None:
    """Return `uri` if it can be shown: nothing that could be a password or another secret."""
    parts = _parts(uri)
    return uri if parts and uri.isprintable() and "@" not in uri and not parts.query else None


def _warnings(environ: Mapping[str, str], values: Values) -> Iterator[Hint]:
    """Yield the hints that `serve` logs."""
    if meant := dict(settings.misspelt(environ)):
        names = [printable(name) for name in meant]
        sentences = [
            f"{name} is not a setting (ignored). Did you mean {setting}?"
            for name, setting in zip(names, meant.values(), strict=True)
        ]
        fields = {"names": names, "suggestions": list(meant.values())}
        yield Hint(" ".join(sentences), "settings.misspelt", fields)
    key = values.get("secret_key")
    if isinstance(key, Secret) and len(key.reveal()) < WEAK_SECRET_KEY:
        yield Hint(
            f"SECRET_KEY is shorter than {WEAK_SECRET_KEY} characters: anyone with one sealed "
            f"token can guess it; {_NEW_KEY}, and move this one to SECRET_KEYS_PREVIOUS",
            "settings.weak_secret_key",
            {"minimum_characters": WEAK_SECRET_KEY},
        )
    strays = {name: what for name, text in _credentials(values) if (what := stray_characters(text))}
    if strays:
        sentences = [f"{name} begins or ends with {what}." for name, what in strays.items()]
        sentences.append("It is used as part of the value: docker --env-file and kubectl keep it.")
        yield Hint(" ".join(sentences), "settings.stray_characters", {"names": list(strays)})
    proxy = next((name for name in ("HTTPS_PROXY", "https_proxy") if environ.get(name)), None)
    if proxy and not values.get("upstream_proxy"):
        yield Hint(
            f"{proxy} is not used for calls to Spotify: set UPSTREAM_PROXY if they need a proxy",
            "settings.proxy_unused",
            {"name": proxy},
        )


def _credentials(values: Values) -> Iterator[tuple[str, str]]:
    """Yield the name and text of each setting that is copied from elsewhere, to the letter."""
    for field in ("client_id", "client_secret", "secret_key", "secret_keys_previous"):
        value = values.get(field, ())
        for item in value if isinstance(value, tuple) else (value,):
            yield field.upper(), item.reveal() if isinstance(item, Secret) else str(item)


def _advice(values: Values) -> Iterator[str]:
    """Yield the sentences that only `check` prints."""
    if isinstance(uri := values["redirect_uri"], str):
        yield from _redirect_uri("REDIRECT_URI", uri)
    for uri in sorted(cast("frozenset[str]", values["allowed_redirect_uris"])):
        plain = _plain_uri(uri)
        name = f"{plain} in" if plain else "an entry of"
        yield from _redirect_uri(f"{name} ALLOWED_REDIRECT_URIS", uri)
    yield from _secret_key(values)
    yield from _upstream(values)
    if values["rate_limit"] is None and values["rate_limit_storage"]:
        yield "RATE_LIMIT_STORAGE has no effect without RATE_LIMIT"
    if values["rate_limit"] is not None and not values["trusted_proxies"]:
        yield (
            "RATE_LIMIT is set without TRUSTED_PROXIES: behind a proxy, such as an ingress, all "
            "clients count as one; list the proxy's networks there"
        )
    if values["port"] and values["port"] == values["metrics_port"]:
        yield "METRICS_PORT and PORT are the same: there will be no metrics; change one of them"


def _redirect_uri(name: str, uri: str) -> Iterator[str]:
    """Yield why Spotify will refuse a redirect URI (its rules since 2025)."""
    parts = _parts(uri)
    if _NEXT_URI.search(uri):
        yield (
            f"{name} has several URIs, but is used as one: set one here, and list those that "
            "apps may send in ALLOWED_REDIRECT_URIS"
        )
    elif any(map(str.isspace, uri)):
        yield f"{name} has white space in it"
    elif parts is None:
        yield f"{name} is not a URI with a scheme, such as https://app.example.com/callback"
    elif parts.scheme in {"http", "https"} and parts.hostname == "localhost":
        yield (
            f"{name} has the host localhost, which Spotify refuses: use 127.0.0.1, as in "
            "http://127.0.0.1:8888/callback, here and in Spotify's dashboard"
        )
    elif parts.scheme == "http" and not settings.is_loopback(parts.hostname or ""):
        yield (
            f"{name} must be https: Spotify accepts http only on 127.0.0.1 and [::1]; change it "
            "here and in Spotify's dashboard"
        )


def _parts(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    return parts if parts.scheme and "://" in uri else None


def _secret_key(values: Values) -> Iterator[str]:
    secret, key = values.get("client_secret"), values.get("secret_key")
    if not isinstance(key, Secret):
        return
    previous = cast("tuple[Secret, ...]", values["secret_keys_previous"])
    if key.reveal() in {old.reveal() for old in previous}:
        yield "SECRET_KEYS_PREVIOUS contains SECRET_KEY, which has no effect: remove it there"
    if isinstance(secret, Secret) and secret.reveal() == key.reveal():
        yield (
            "SECRET_KEY is the client secret: Spotify knows it, and when you replace it at "
            f"Spotify, users have to log in again; {_NEW_KEY}"
        )


def _upstream(values: Values) -> Iterator[str]:
    token_url = values["spotify_token_url"]
    authorize_url = values["spotify_authorize_url"]
    hosts = [urlsplit(str(url)).hostname for url in (token_url, authorize_url)]
    if (hosts[0] == SPOTIFY) != (hosts[1] == SPOTIFY):
        yield (
            "only one of SPOTIFY_AUTHORIZE_URL and SPOTIFY_TOKEN_URL is Spotify's: codes from the "
            "one are unknown to the other"
        )
    if hosts[0] != SPOTIFY:
        yield "SPOTIFY_TOKEN_URL is not Spotify's: the client secret is sent elsewhere"
        return
    pair = {name: text for name, text in _credentials(values) if name.startswith("CLIENT_")}
    for name, text in pair.items():
        if not _CREDENTIAL.fullmatch(text):
            yield f"{name} is not 32 hexadecimal digits: copy it again from Spotify's dashboard"
    if pair.get("CLIENT_ID") == pair.get("CLIENT_SECRET", ""):
        yield "CLIENT_ID and CLIENT_SECRET are the same: copy both again from Spotify's dashboard"
