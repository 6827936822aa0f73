"""Settings, read once from the environment into a frozen Struct, all problems reported at once.

Each of FILE_SETTINGS can be given as a file instead: `NAME_FILE=/path`. An empty variable counts
as one that isn't set.
"""

import base64
import difflib
import ipaddress
import math
import re
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

LOG_LEVELS: Final = {
    "trace": 5,
    "debug": 10,
    "info": 20,
    "notice": 25,
    "warning": 30,
    "error": 40,
    "critical": 50,
}
"""Swift's names, with the numbers of Python's logging."""

FILE_SETTINGS: Final = frozenset(
    [
        "CLIENT_ID",
        "CLIENT_SECRET",
        "SECRET_KEY",
        "REDIRECT_URI",
        "LOG_LEVEL",
        "SECRET_KEYS_PREVIOUS",
        "RATE_LIMIT_STORAGE",
        "UPSTREAM_PROXY",
    ]
)
SPOTIFY: Final = "accounts.spotify.com"
"""The host of Spotify's own URLs."""
WEAK_SECRET_KEY: Final = 20
"""Characters under which SECRET_KEY is warned about."""
_CLOSE: Final = 0.85
"""The least ratio (difflib) at which a name counts as a misspelt setting."""
_SHORT: Final = 4
"""Names of up to this length, such as PORT, are not suggested: too many others are close."""

_HOST_NAME = re.compile(r"(?i)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
# RFC 3986, section 3.2: urlsplit ignores text around the brackets of an IPv6 address.
_HOST_AND_PORT = re.compile(r"(\[[^][]*\]|[^][:]*)(:[0-9]*)?")
# W3C Baggage, section 3.3.1, in which OTEL_EXPORTER_OTLP_HEADERS is written.
_HEADER = r"\s*[!#$%&'*+.^`|~\w-]+\s*=\s*[!#-+\--:<-\[\]-~]*\s*"
# Kubernetes' variables for the address of each Service in the namespace.
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")
_PATH = r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._~-]+)+"
# Paths that ignore the base path (RFC 8414, section 3.1, for the last one).
_OWN_PATHS = frozenset({"/healthz", "/readyz", "/.well-known/oauth-authorization-server"})
_YEAR = 366 * 24 * 3600


class Secret:
    """A string that only `reveal()` returns: not in a repr, a log or JSON."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the string. Never log or raise it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. Their names in the environment are in upper case."""

    client_id: str
    client_secret: Secret
    secret_key: Secret
    redirect_uri: str | None = None
    log_level: str = "info"
    log_format: str | None = None
    secret_keys_previous: tuple[Secret, ...] = ()
    host: str = "127.0.0.1"
    port: int = 7000
    base_path: str = ""
    public_url: str | None = None
    metrics_port: int = 9464
    spotify_token_url: str = f"https://{SPOTIFY}/api/token"
    spotify_authorize_url: str = f"https://{SPOTIFY}/authorize"
    upstream_timeout: float = 10.0
    upstream_max_in_flight: int = 512
    upstream_proxy: Secret | None = None
    allow_insecure_upstream: bool = False
    request_timeout: float = 10.0
    drain_seconds: float = 5.0
    cors_allow_origins: tuple[str, ...] = ()
    allowed_redirect_uris: frozenset[str] = frozenset()
    client_credentials_enabled: bool = True
    client_credentials_cache: bool = True
    rate_limit: str | None = None
    rate_limit_storage: Secret | None = None
    trusted_proxies: tuple[str, ...] = ()
    docs: bool = True

    @property
    def keyring(self) -> tuple[str, ...]:
        """The secret keys: the current one, then the previous ones in their order."""
        return tuple(key.reveal() for key in (self.secret_key, *self.secret_keys_previous))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret string, for redaction in logs."""
        urls = (*_url_secrets(self.rate_limit_storage), *_url_secrets(self.upstream_proxy))
        return (self.client_secret.reveal(), self.basic, *self.keyring, *urls)

    @property
    def basic(self) -> str:
        """The client credentials for Basic authentication (RFC 7617). Never log or raise it."""
        pair = f"{self.client_id}:{self.client_secret.reveal()}"
        return base64.b64encode(pair.encode()).decode("ascii")


class SettingsError(Exception):
    """`problems` has a sentence for each setting that is missing or invalid."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def load(environ: Mapping[str, str]) -> Settings:
    """Return the settings in `environ`, or raise SettingsError with every problem found."""
    return read(environ).settings()


def read(environ: Mapping[str, str]) -> "Reading":
    """Read all settings, and collect the problems."""
    reading = Reading(environ)
    for field in msgspec.structs.fields(Settings):
        reading.take(field)
    _check_upstream(reading.values, reading.problems)
    _check_telemetry(environ, reading.problems)
    return reading


def misspelt(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield unknown names in `environ`, each with the setting that it is close to.

    NOTE: only a hint is intentional: such a variable may be another program's.
    """
    fields = [field.name.upper() for field in msgspec.structs.fields(Settings)]
    names = [*fields, *(f"{name}_FILE" for name in FILE_SETTINGS)]
    long = [name for name in names if len(name) > _SHORT]
    for name in sorted(environ.keys() - names):
        if name.upper() in names:
            yield name, name.upper()
        elif not _SERVICE_LINK.match(environ[name]):
            for meant in difflib.get_close_matches(name.upper(), long, 1, _CLOSE):
                yield name, meant


def read_keyring(environ: Mapping[str, str]) -> list[str]:
    """Return the secret keys alone, as Settings.keyring has them, or raise SettingsError."""
    reading = Reading(environ)
    for field in msgspec.structs.fields(Settings):
        if field.name in {"secret_key", "secret_keys_previous"}:
            reading.take(field)
    if reading.problems:
        raise SettingsError(list(reading.problems.values()))
    previous: tuple[Secret, ...] = reading.values.get("secret_keys_previous", ())
    return [key.reveal() for key in (reading.values["secret_key"], *previous)]


class Reading:
    """Settings as they are in the environment and in the files that it names.

    `values` by field, without those that aren't set; `sources`, the variable of each; `problems`,
    a sentence for each setting that has one.

    NOTE: a problem never quotes a value: it may be a secret that was put under the wrong name.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.problems: dict[str, str] = {}

    @property
    def log_format(self) -> str | None:
        """LOG_FORMAT if it is valid, even if other settings are not."""
        log_format: str | None = self.values.get("log_format")
        return log_format

    def settings(self) -> Settings:
        """Return the settings, or raise SettingsError."""
        if self.problems:
            raise SettingsError(list(self.problems.values()))
        return Settings(**self.values)

    def take(self, field: msgspec.structs.FieldInfo) -> None:
        """Read one setting."""
        name = field.name.upper()
        text = self._text(name)
        if text is not None:
            self._convert(field.name, text)
        elif field.required and name not in self.problems:
            self.problems[name] = f"{name} is required"

    def _text(self, name: str) -> str | None:
        self.sources[name] = name
        text = self._environ.get(name) or None
        path = self._environ.get(f"{name}_FILE") if name in FILE_SETTINGS else None
        if not path:
            return text
        self.sources[name] = f"{name}_FILE"
        if text:
            self.problems[name] = f"{name} and {name}_FILE are both set: set one of them"
            return None
        return self._file(name, path)

    def _file(self, name: str, path: str) -> str | None:
        try:
            # One line end at the end of the file is the editor's, not the secret's.
            return re.sub(r"\r?\n\Z", "", Path(path).read_bytes().decode()) or None
        except OSError as error:
            self.problems[name] = f"{name}_FILE can't be read: {error.strerror}"
        except ValueError:
            self.problems[name] = f"{name}_FILE is not UTF-8 text"
        return None

    def _convert(self, field: str, text: str) -> None:
        name = field.upper()
        try:
            text.encode()
            self.values[field] = _CONVERTERS[field](text if field in _VERBATIM else text.strip())
        except UnicodeEncodeError:
            self.problems[name] = f"{name} is not UTF-8 text"
        except ValueError as error:
            self.problems[name] = f"{name} {error}"


def _one_of(*names: str) -> Callable[[str], str]:
    return _matching("|".join(names), f"must be one of {', '.join(names)}")


def _matching(pattern: str, requirement: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(requirement)
        return text

    return convert


def _flag(text: str) -> bool:
    return _matching("true|false", "must be true or false")(text.lower()) == "true"


def _whole(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return convert


def _seconds(*, zero: bool, most: float = 3600) -> Callable[[str], float]:
    def convert(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds <= most or (seconds == 0 and not zero):
            least = "from 0" if zero else "above 0"
            raise ValueError(f"must be a number of seconds {least} to {most:g}")
        return seconds

    return convert


def _lines(text: str) -> tuple[Secret, ...]:
    # Not splitlines(): a key may hold the rarer characters that it takes for line ends.
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    return tuple(Secret(line) for line in dict.fromkeys(lines) if line)


def _items(text: str) -> list[str]:
    items = [item for item in (part.strip() for part in text.split(",")) if item]
    if not items:
        # An allow-list without entries would otherwise look like one that isn't set.
        raise ValueError("must have at least one entry, separated by commas")
    return items


def _origins(text: str) -> tuple[str, ...]:
    """Accept exact origins as browsers write them (RFC 6454, section 6.2)."""
    pattern = r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?"
    origins = _items(text)
    for scheme, port in ("http", ":80"), ("https", ":443"):
        if any(o.startswith(f"{scheme}://") and o.endswith(port) for o in origins):
            # NOTE: browsers leave a default port out, so that such an origin would never match.
            raise ValueError(f"must not have the default port {port}, which browsers leave out")
    if not all(re.fullmatch(pattern, origin) for origin in origins):
        raise ValueError(
            "must be origins as browsers send them, such as https://app.example.com, "
            "in lower case, without a path or *, separated by commas"
        )
    return tuple(origins)


def _host(text: str) -> str:
    if not _is_host(text):
        raise ValueError("must be an IP address or a host name")
    return text


def _is_host(text: str) -> bool:
    """Return whether `text` is an IP address or a name that DNS could hold (RFC 1123)."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) < 254 and bool(_HOST_NAME.fullmatch(text))  # noqa: PLR2004 - RFC 1035
    return text.isprintable()  # the zone of an IPv6 address may hold anything


def _split(url: str, schemes: Collection[str], requirement: str) -> SplitResult:
    """Return the parts of a URL with a host, or raise ValueError with `requirement`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        # NOTE: urlsplit's errors quote the URL, and a URL can hold a password.
        raise ValueError(requirement) from None
    is_valid = re.fullmatch(r"[!-~]+", url) and _is_host(host) and "%" not in host and port != 0
    is_exact = _HOST_AND_PORT.fullmatch(parts.netloc.rpartition("@")[2])
    if parts.scheme not in schemes or not is_valid or not is_exact:
        raise ValueError(requirement)
    return parts


def _url(text: str) -> str:
    parts = _split(text, {"http", "https"}, "must be an http or https URL with a host")
    if "@" in parts.netloc or parts.fragment or parts.query:
        raise ValueError("must not have a user name, a query or a fragment")
    return text


def _storage(text: str) -> Secret:
    """Accept the URL of one Valkey or Redis."""
    schemes = ("redis", "rediss", "valkey", "valkeys")
    parts = _split(text, schemes, f"must be a URL with a host and one of {', '.join(schemes)}")
    # NOTE: a query would override our options, the verification of certificates included.
    if parts.query or parts.fragment or not re.fullmatch(r"(/[0-9]{0,5})?", parts.path):
        raise ValueError("must have nothing after the host but a port and the number of a database")
    return Secret(text)


def _proxy(text: str) -> Secret:
    """Accept the URL of an HTTP proxy, with or without a user name and a password."""
    requirement = (
        "must be an http or https URL with a host and a port, such as http://proxy.example.com:3128"
    )
    parts = _split(text, {"http", "https"}, requirement)
    if not parts.port:
        raise ValueError(requirement)
    if _continues(parts):
        raise ValueError("must have nothing after the port")
    return Secret(text)


def _continues(parts: SplitResult) -> bool:
    """Return whether anything but a slash follows the host and the port of a URL."""
    return parts.path not in {"", "/"} or bool(parts.query or parts.fragment)


def _url_secrets(url: Secret | None) -> tuple[str, ...]:
    """Return the secrets of a URL: itself, and its password, percent-encoded and decoded."""
    if url is None:
        return ()
    password = urlsplit(url.reveal()).password or ""
    return (url.reveal(), password, unquote(password))


def _base_path(text: str) -> str:
    """Accept a path without a trailing slash; `/` is no prefix at all."""
    requirement = "must be a path such as /spotify, of letters, digits, '-', '_', '.', '~'"
    path = _matching(rf"({_PATH})?", requirement)(text.rstrip("/"))
    if path in _OWN_PATHS:
        raise ValueError("must not be the path of an endpoint that is not below it")
    return path


def _rate_limit(text: str) -> str:
    """Accept limits in the notation of the `limits` library, which is loaded only here."""
    from limits import parse_many  # noqa: PLC0415

    try:
        limits = parse_many(text)
    except ValueError:
        limits = []
    good = all(0 < limit.amount < 10**9 and limit.get_expiry() <= _YEAR for limit in limits)
    if not limits or not good:
        raise ValueError("must be such as 60/minute or 5/second;1000/day, within a year")
    return text


def _networks(text: str) -> tuple[str, ...]:
    networks = _items(text)
    try:
        for network in networks:
            ipaddress.ip_network(network)
    except ValueError:
        raise ValueError(
            "must be addresses or networks such as 10.0.0.0/8 or fd00::/8, the bits after the "
            "prefix zero, separated by commas"
        ) from None
    return tuple(networks)


def _client_id(text: str) -> str:
    if ":" in text:
        raise ValueError("must not have a colon in it: Basic authentication ends there")
    return _credential(text)


def _credential(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must not have white space around it or control characters in it")
    return text


_VERBATIM: Final = {"client_id", "client_secret", "secret_key", "secret_keys_previous"}
"""Settings whose white space counts; around all others it is removed."""
_CONVERTERS: Final[dict[str, Callable[[str], object]]] = {
    "client_id": _client_id,
    "client_secret": lambda text: Secret(_credential(text)),
    "secret_key": Secret,
    "redirect_uri": str,
    "log_level": lambda text: _one_of(*LOG_LEVELS)(text.lower()),
    "log_format": lambda text: _one_of("console", "json")(text.lower()),
    "secret_keys_previous": _lines,
    "host": _host,
    "port": _whole(0, 65535),
    "base_path": _base_path,
    "public_url": lambda text: _url(text).rstrip("/"),
    "metrics_port": _whole(0, 65535),
    "spotify_token_url": _url,
    "spotify_authorize_url": _url,
    "upstream_timeout": _seconds(zero=False),
    "upstream_max_in_flight": _whole(1, 100_000),
    "upstream_proxy": _proxy,
    "allow_insecure_upstream": _flag,
    "request_timeout": _seconds(zero=False),
    "drain_seconds": _seconds(zero=True),
    "cors_allow_origins": _origins,
    "allowed_redirect_uris": lambda text: frozenset(_items(text)),
    "client_credentials_enabled": _flag,
    "client_credentials_cache": _flag,
    "rate_limit": _rate_limit,
    "rate_limit_storage": _storage,
    "trusted_proxies": _networks,
    "docs": _flag,
}


def _check_upstream(values: Mapping[str, Any], problems: dict[str, str]) -> None:
    if values.get("allow_insecure_upstream"):
        return
    for name, reason in (
        ("SPOTIFY_TOKEN_URL", "it gets the client secret"),
        ("SPOTIFY_AUTHORIZE_URL", "users log in there"),
    ):
        parts = urlsplit(values.get(name.lower(), ""))
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            problems[name] = (
                f"{name} must be https: {reason}; "
                "ALLOW_INSECURE_UPSTREAM=true lifts this for a simulator"
            )


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine, by address or as `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tracing_enabled(environ: Mapping[str, str]) -> bool:
    """Return whether the environment turns traces on: it names an exporter or an endpoint."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporter := environ.get("OTEL_TRACES_EXPORTER", "").strip():
        return exporter != "none"
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return any(environ.get(name) for name in endpoints)


def _check_telemetry(environ: Mapping[str, str], problems: dict[str, str]) -> None:
    """Reject values that the OpenTelemetry SDK ignores, or rejects only at the first export.

    NOTE: a problem never quotes the value: OTEL_EXPORTER_OTLP_HEADERS holds API keys.
    """
    if not tracing_enabled(environ):
        return
    checks = dict(_TELEMETRY)
    if environ.get("OTEL_TRACES_EXPORTER", "").strip() != "console":
        checks |= {name: _exporter_proxy for name in environ if name.lower() in _PROXIES}
    for name, check in checks.items():
        try:
            if value := environ.get(name):
                # The SDK strips all but endpoints.
                check(value if name.endswith("_ENDPOINT") else value.strip())
        except ValueError as error:
            problems[name] = f"{name} {error}"


def _readable_file(text: str) -> Path:
    try:
        Path(text).read_bytes()
    except OSError as error:
        raise ValueError(f"names a file that can't be read: {error.strerror}") from None
    return Path(text)


def _certificate(text: str) -> Path:
    path = _readable_file(text)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError("names a file that has no certificate in PEM form") from None
    return path


def _exporter_proxy(text: str) -> str:
    """Accept a proxy of the environment; its scheme, if it has one, is the exporter's concern.

    NOTE: the exporter's libraries quote a URL that they cannot parse, and with it a password.
    """
    requirement = (
        "must be a URL with nothing after the port, and special characters percent-encoded: "
        "the OTLP exporter uses it"
    )
    url = text if "://" in text else f"http://{text}"
    parts = _split(url, {url.partition("://")[0].lower()}, requirement)
    if "\\" in text or _continues(parts):
        raise ValueError(requirement)
    return text


def _patterns(text: str) -> re.Pattern[str]:
    try:
        return re.compile("|".join(pattern.strip() for pattern in text.split(",")))
    except re.error:
        raise ValueError("must be regular expressions, separated by commas") from None


_PROXIES: Final = {"all_proxy", "http_proxy", "https_proxy"}
_TELEMETRY: Final[dict[str, Callable[[str], object]]] = {
    "OTEL_SDK_DISABLED": _flag,
    "OTEL_RESOURCE_ATTRIBUTES": _matching(
        r"([^,=]+=[^,]*)?(,([^,=]+=[^,]*)?)*", "must be name=value, separated by commas"
    ),
    "OTEL_TRACES_EXPORTER": _one_of("console", "none", "otlp"),
    "OTEL_PROPAGATORS": _matching(
        r"none|(baggage|tracecontext)(\s*,\s*(baggage|tracecontext))*",
        "must be baggage, tracecontext or both, separated by a comma, or none",
    ),
    "OTEL_TRACES_SAMPLER": _one_of(
        "always_off",
        "always_on",
        "parentbased_always_off",
        "parentbased_always_on",
        "parentbased_traceidratio",
        "traceidratio",
    ),
    "OTEL_TRACES_SAMPLER_ARG": _matching(r"0|1|1\.0+|0?\.[0-9]+", "must be a number from 0 to 1"),
    "OTEL_BSP_SCHEDULE_DELAY": _whole(1, 10**9 - 1),
    "OTEL_BSP_EXPORT_TIMEOUT": _whole(0, 10**9 - 1),
    "OTEL_BSP_MAX_QUEUE_SIZE": _whole(1, 10**9 - 1),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": _whole(1, 10**9 - 1),
    **{
        f"OTEL_{limit}_LIMIT": _whole(0, 10**9 - 1)
        for limit in (
            "ATTRIBUTE_COUNT",
            "ATTRIBUTE_VALUE_LENGTH",
            "EVENT_ATTRIBUTE_COUNT",
            "LINK_ATTRIBUTE_COUNT",
            "SPAN_ATTRIBUTE_COUNT",
            "SPAN_ATTRIBUTE_VALUE_LENGTH",
            "SPAN_EVENT_COUNT",
            "SPAN_LINK_COUNT",
        )
    },
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST": _patterns,
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE": _patterns,
    "OTEL_PYTHON_EXCLUDED_URLS": _patterns,
    "OTEL_PYTHON_HTTPX_EXCLUDED_URLS": _patterns,
    **{
        f"OTEL_EXPORTER_OTLP_{signal}{option}": check
        for signal in ("", "TRACES_")
        for option, check in {
            "ENDPOINT": _url,
            "PROTOCOL": _one_of("grpc", "http/protobuf"),
            "HEADERS": _matching(
                rf"({_HEADER})?(,({_HEADER})?)*",
                "must be name=value, separated by commas, blanks as %20",
            ),
            "TIMEOUT": _seconds(zero=False),
            "COMPRESSION": _one_of("deflate", "gzip", "none"),
            "CERTIFICATE": _certificate,
            "CLIENT_KEY": _readable_file,
            "CLIENT_CERTIFICATE": _certificate,
            "INSECURE": _flag,
        }.items()
    },
}
