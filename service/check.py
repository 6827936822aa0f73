"""`check`: the settings explained, what is wrong with them, on demand whether Spotify takes them.

A problem stops the start; a hint doesn't, but tells what Spotify or a client will stumble over.

NOTE: printing values is what this is for; those that are secret, or could be if two were mixed up
(Spotify's client ids and secrets look alike), are told as set or not, and keys by fingerprints.
"""

import asyncio
import re
import textwrap
import time
from collections.abc import Iterator, Mapping
from typing import Final, cast
from urllib.parse import SplitResult, urlsplit

import msgspec

from service import __version__, answers, flows, settings, telemetry
from service.answers import Upstream
from service.connections import ConnectionNotMade
from service.console import coloured, printable
from service.errors import ServiceError, UpstreamTimeout
from service.flows import Context
from service.forms import ClientCredentialsForm
from service.sealing import Sealer, fingerprint
from service.settings import SPOTIFY, Secret, Settings, SettingsError
from service.spotify import SpotifyAccounts, Transport

MEANINGS: Final = {
    "client_id": "the app's, from Spotify's dashboard",
    "client_secret": "the app's, from Spotify's dashboard",
    "secret_key": "seals refresh tokens, which are lost with it",
    "redirect_uri": "used when an app sends none",
    "log_level": "the least that is logged",
    "log_format": "of the logs; without it, console on a terminal, else json",
    "secret_keys_previous": "open refresh tokens that they sealed, and seal none",
    "host": "where it listens",
    "port": "the port it listens on",
    "metrics_port": "of Prometheus' /metrics; 0 turns it off",
    "spotify_token_url": "Spotify's token endpoint: the client secret goes there",
    "spotify_authorize_url": "where /try sends people; without it, beside SPOTIFY_TOKEN_URL",
    "upstream_timeout": "seconds for one whole call to Spotify",
    "upstream_max_in_flight": "calls to Spotify at the same time; one more is answered 503",
    "allow_insecure_upstream": "lets SPOTIFY_TOKEN_URL, SPOTIFY_AUTHORIZE_URL be http off loopback",
    "request_timeout": "seconds for a request's head, and again for its body",
    "drain_seconds": "between SIGTERM and the end of accepting",
    "cors_allow_origins": "web pages from there may call; without any there is no CORS",
    "allowed_redirect_uris": "if set, only these are taken from an app",
    "client_credentials_enabled": "whether the app's own token is handed out",
    "client_credentials_cache": "whether it is kept and handed to all, not fetched each time",
    "rate_limit": "how often one client address may ask; without it, as often as it likes",
    "rate_limit_storage": "the Valkey or Redis in which replicas count together",
    "trusted_proxies": "whose X-Forwarded-For is believed, to tell clients apart",
    "docs": "whether /docs and /openapi.json tell about the HTTP interface",
    "try_page": "whether /try lets anybody log in and see what is answered",
}
_DEFAULTS: Final = {field.name: field.default for field in msgspec.structs.fields(Settings)}
_CREDENTIAL = re.compile(r"[0-9a-f]{32}")
# A fingerprint would let a password be guessed that people chose, such as a storage's.
_TOLD_AS_SET: Final = {"client_id", "client_secret", "rate_limit_storage"}
_WIDTH: Final = 80
_CAUSES: Final = {
    "gaierror": "its name can't be resolved",
    "ConnectionRefusedError": "nothing listens there",
    "SSLCertVerificationError": "its certificate can't be verified; SSL_CERT_FILE names another CA",
}


class Report:
    """What there is to say of the settings in `environ`; `problems` and `hints` are sentences."""

    def __init__(self, environ: Mapping[str, str], *, colours: bool) -> None:
        self._reading = settings.read(environ)
        self._colours = colours
        _try_telemetry(environ, self._reading.problems)
        self.problems = list(self._reading.problems.values())
        self.hints = [*_names(environ), *_hints(self._reading.values)]

    def settings(self) -> Settings:
        """Return the settings, if there are no problems."""
        return self._reading.settings()

    def text(self) -> Iterator[str]:
        """Yield lines: the settings, then what is wrong, then the conclusion."""
        yield f"spotify-api-server {__version__}\n\n"
        for field in msgspec.structs.fields(Settings):
            yield self._setting(field)
        yield "\n"
        for kind, style, sentences in (
            ("problem", "red", self.problems),
            ("hint", "yellow", self.hints),
        ):
            for sentence in sentences:
                told = textwrap.indent(textwrap.fill(sentence, _WIDTH - 9), " " * 9).lstrip()
                yield f"{coloured(f'{kind:>7}', style, colours=self._colours)}  {told}\n"
        yield self._conclusion()

    def _setting(self, field: msgspec.structs.FieldInfo) -> str:
        name = field.name.upper()
        if name in self._reading.problems:
            value = coloured("see below", "red", colours=self._colours)
        elif field.name in self._reading.values:
            value = _shown(field.name, self._reading.values[field.name])
            value += f" ({self._source(name)})"
        else:
            value = _shown(field.name, field.default)
        meaning = coloured(MEANINGS[field.name], "dim", colours=self._colours)
        return f"{coloured(name, 'bold', colours=self._colours)}: {value}\n    {meaning}\n"

    def _source(self, name: str) -> str:
        source = self._reading.sources[name]
        return "from the environment" if source == name else f"from {source}"

    def _conclusion(self) -> str:
        if self.problems:
            return coloured("The service does not start.\n", "red", colours=self._colours)
        return coloured("The service starts.\n", "green", colours=self._colours)


def _try_telemetry(environ: Mapping[str, str], problems: dict[str, str]) -> None:
    """Find out what the OpenTelemetry SDK says, if nothing is known to be wrong for it already."""
    if any(name.startswith("OTEL_") for name in problems):
        return
    try:
        if tracing := telemetry.create(dict(environ), __version__):
            tracing.flush()
    except SettingsError as error:
        problems["OTEL_"] = error.problems[0]


def _shown(field: str, value: object) -> str:
    """Return what a person may see of a value, and nothing that a terminal would obey."""
    if isinstance(value, tuple | frozenset):
        return ", ".join(_shown(field, each) for each in sorted(value, key=str)) or "none"
    if field in _TOLD_AS_SET and value is not None:
        return "set"
    if isinstance(value, Secret):
        return f"set, fingerprint {fingerprint(value.reveal())}"
    if field in {"redirect_uri", "allowed_redirect_uris"} and value is not None:
        return _shown_uri(str(value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else printable(str(value))


def _shown_uri(uri: str) -> str:
    """Return a URI; nothing of one that may be something else, or has a password in it."""
    parts = _parts(uri)
    whole = parts and uri.isprintable() and "@" not in uri and not parts.query
    return uri if whole else "set, but not a plain URI"


def _parts(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    return parts if parts.scheme and "://" in uri else None


def _names(environ: Mapping[str, str]) -> Iterator[str]:
    """Tell what was meant for a setting, as it seems."""
    for name, meant in settings.misspelt(environ):
        yield f"{printable(name)} is no setting, and not read: did you mean {meant}?"


def _hints(values: dict[str, object]) -> Iterator[str]:
    """Tell what starts, but will be stumbled over; of the defaults where nothing else is known."""
    values = _DEFAULTS | values
    if isinstance(uri := values["redirect_uri"], str):
        yield from _redirect_hints("REDIRECT_URI", uri)
    for uri in sorted(cast("frozenset[str]", values["allowed_redirect_uris"])):
        yield from _redirect_hints(f"{_shown_uri(uri)} in ALLOWED_REDIRECT_URIS", uri)
    yield from _key_hints(values)
    yield from _upstream_hints(values)
    yield from _rate_limit_hints(values)
    yield from _try_hints(values)
    if values["port"] and values["port"] == values["metrics_port"]:
        yield "METRICS_PORT is PORT: there will be no metrics; give it another"


def _redirect_hints(name: str, uri: str) -> Iterator[str]:
    """Tell what Spotify refuses as a redirect URI (its rules since 2025)."""
    parts = _parts(uri)
    if parts is None:
        yield f"{name} is not a URI with a scheme, such as https://app.example.com/callback"
    elif parts.scheme in {"http", "https"} and parts.hostname == "localhost":
        yield (
            f"{name} has the host localhost, which Spotify refuses: use 127.0.0.1, as in "
            "http://127.0.0.1:8888/callback, here and in Spotify's dashboard"
        )
    elif parts.scheme == "http" and not settings.is_loopback(parts.hostname or ""):
        yield (
            f"{name} must be https: Spotify takes http on 127.0.0.1 and [::1] only; "
            "change it here and in Spotify's dashboard"
        )


def _key_hints(values: Mapping[str, object]) -> Iterator[str]:
    secret, key = values["client_secret"], values["secret_key"]
    if not isinstance(key, Secret):
        return
    if len(key.reveal()) < settings.WEAK_SECRET_KEY:
        yield (
            f"SECRET_KEY is shorter than {settings.WEAK_SECRET_KEY} characters: whoever has one "
            "sealed token can try keys until it opens; make one with openssl rand -hex 32, and "
            "name this one in SECRET_KEYS_PREVIOUS"
        )
    previous = cast("tuple[Secret, ...]", values["secret_keys_previous"])
    if key.reveal() in {old.reveal() for old in previous}:
        yield "SECRET_KEYS_PREVIOUS has SECRET_KEY in it, which is of no use: leave it out there"
    if isinstance(secret, Secret) and secret.reveal() == key.reveal():
        yield (
            "SECRET_KEY is the client secret: Spotify knows that, and when it changes there, "
            "tokens must not be lost here; make one with openssl rand -hex 32"
        )


def _upstream_hints(values: Mapping[str, object]) -> Iterator[str]:
    if urlsplit(str(values["spotify_token_url"])).hostname != SPOTIFY:
        yield "SPOTIFY_TOKEN_URL is not Spotify's: the client secret goes elsewhere"
        return
    client_id, secret = values["client_id"], values["client_secret"]
    text = secret.reveal() if isinstance(secret, Secret) else None
    for name, credential in ("CLIENT_ID", client_id), ("CLIENT_SECRET", text):
        if isinstance(credential, str) and not _CREDENTIAL.fullmatch(credential):
            yield f"{name} is not 32 hexadecimal digits, as Spotify's are: copy it anew"
    if text is not None and client_id == text:
        yield "CLIENT_ID and CLIENT_SECRET are the same: copy both anew from Spotify's dashboard"


def _rate_limit_hints(values: Mapping[str, object]) -> Iterator[str]:
    if values["rate_limit"] is not None:
        if not values["trusted_proxies"]:
            yield (
                "RATE_LIMIT is set without TRUSTED_PROXIES: behind a proxy, such as an ingress, "
                "all clients count as one; name its networks there"
            )
        return
    for name in ("rate_limit_storage", "trusted_proxies"):
        if values[name]:
            yield f"{name.upper()} is of no use without RATE_LIMIT"


def _try_hints(values: Mapping[str, object]) -> Iterator[str]:
    if values["spotify_authorize_url"] is None:
        return
    if not values["try_page"]:
        yield "SPOTIFY_AUTHORIZE_URL is of no use without TRY_PAGE"
        return
    hosts = [values["spotify_authorize_url"], values["spotify_token_url"]]
    if len({urlsplit(str(host)).hostname == SPOTIFY for host in hosts}) > 1:
        yield (
            "only one of SPOTIFY_AUTHORIZE_URL and SPOTIFY_TOKEN_URL is Spotify's: the code that a "
            "person brings from the one is unknown at the other"
        )


def upstream(found: Settings) -> tuple[str, bool]:
    """Ask Spotify for the app's own token; return what came of it, and whether that is good."""
    try:
        answer, seconds = asyncio.run(_ask(found))
        told, good = _told(answer, found)
        told = f"answered {answer.status} after {seconds * 1000:.0f} ms: {told}"
    except UpstreamTimeout:
        told, good = f"no answer within UPSTREAM_TIMEOUT, {found.upstream_timeout:g} s", False
    except ServiceError as error:
        told, good = f"{error.reason}{_cause(error)}", False
    return f"{urlsplit(found.spotify_token_url).netloc}: {told}\n", good


async def _ask(found: Settings) -> tuple[Upstream, float]:
    """Ask as the service does: the same grant, the same transport, the same deadline."""
    agent = f"spotify-api-server/{__version__}"
    accounts = SpotifyAccounts(found, Transport(found.spotify_token_url), agent)
    context = Context(found, Sealer(found.secret_key.reveal()))
    started = time.perf_counter()
    try:
        answer = await accounts.ask(flows.client_credentials(ClientCredentialsForm(), context))
        return answer, time.perf_counter() - started
    finally:
        await accounts.aclose()


def _told(answer: Upstream, found: Settings) -> tuple[str, bool]:
    code = answers.error_code(answer)
    if answers.is_success(answer.status):
        if not _has_token(answer):
            return "what answers there is no token endpoint", False
        tls = " its certificate is good," if found.spotify_token_url.startswith("https:") else ""
        return f"it is reached,{tls} CLIENT_ID and CLIENT_SECRET are right", True
    if code == "invalid_client":
        return "CLIENT_ID or CLIENT_SECRET is wrong; copy both anew from Spotify's dashboard", False
    return code or "what answers there is no token endpoint", False


def _has_token(answer: Upstream) -> bool:
    try:
        return bool(msgspec.json.decode(answer.body, type=answers.TokenAnswer).access_token)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _cause(error: BaseException) -> str:
    """Tell why no connection could be made, by its type's name."""
    while error.__cause__ is not None:
        error = error.__cause__
    if not isinstance(error, ConnectionNotMade):
        return ""
    return f": {_CAUSES.get(str(error), error)}"
