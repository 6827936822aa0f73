import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import certifi
import msgspec
import pytest

from service.settings import LOG_LEVELS, Secret, Settings, SettingsError, load, tracing_enabled

REQUIRED = {
    "CLIENT_ID": "the-client-id",
    "CLIENT_SECRET": "the-client-secret",
    "SECRET_KEY": "the-secret-key-0123456789",
}
NAMES = [field.name.upper() for field in msgspec.structs.fields(Settings)]
FROM_FILE = [
    "CLIENT_ID",
    "CLIENT_SECRET",
    "SECRET_KEY",
    "REDIRECT_URI",
    "LOG_LEVEL",
    "SECRET_KEYS_PREVIOUS",
    "RATE_LIMIT_STORAGE",
    "UPSTREAM_PROXY",
]


def revealed(found: object) -> Any:  # noqa: ANN401 - settings have many types
    if isinstance(found, tuple):
        return tuple(map(revealed, found))
    return found.reveal() if isinstance(found, Secret) else found


def value(name: str, environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - likewise
    """Return the setting as the service sees it, opened where it is a Secret."""
    return revealed(getattr(load({**REQUIRED, **environ}), name.lower()))


def problems(environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(environ)
    assert str(refused.value) == "\n".join(refused.value.problems)
    return refused.value.problems


class Rule(NamedTuple):
    """Values that a setting accepts and rejects, and the reason for the rejection."""

    name: str
    good: dict[str, object]
    bad: list[str] = []  # noqa: RUF012 - read only
    sentence: str = ""


URL = "must be an http or https URL with a host"
ENTRY = "must have at least one entry, separated by commas"
CREDENTIAL = "must not have white space around it or control characters in it"
MUST_BE_HTTPS = (
    "must be https: it gets the client secret; ALLOW_INSECURE_UPSTREAM=true lifts this "
    "for a simulator"
)

RULES = {
    "credential": Rule(
        "CLIENT_SECRET", {"päss:wörd€": "päss:wörd€", "space inside": "space inside"},
        [" padded", "padded ", "line\nend", "nul-\0", " "], CREDENTIAL),
    "client id": Rule(
        "CLIENT_ID", {"0123456789abcdef": "0123456789abcdef"}, ["a:b"],
        "must not have a colon in it: Basic authentication ends there"),
    "any text": Rule(
        "SECRET_KEY", {" any text\n\tat all ": " any text\n\tat all ", "x": "x"},
        ["lone\udc80"], "is not UTF-8 text"),
    "stripped text": Rule("REDIRECT_URI", {" app://callback ": "app://callback"}),
    "lines": Rule(
        "SECRET_KEYS_PREVIOUS",
        {"one\ntwo\r\n\n three \n": ("one", "two", " three "), "two\none\ntwo": ("two", "one"),
         "a\x0bb\x85c\u2028d": ("a\x0bb\x85c\u2028d",)}),
    "log level": Rule(
        "LOG_LEVEL", {**{level: level for level in LOG_LEVELS}, " Notice ": "notice"},
        ["warn", "20", "info,debug", " "],
        "must be one of trace, debug, info, notice, warning, error, critical"),
    "log format": Rule(
        "LOG_FORMAT", {"json": "json", " Console ": "console"}, ["text", " "],
        "must be one of console, json"),
    "host": Rule(
        "HOST", {"0.0.0.0": "0.0.0.0", " :: ": "::", "a-1.example": "a-1.example"},  # noqa: S104 - the image's own setting
        ["a b", "a" * 64, "x..y", "http://x", "::1::", "[::1]", "fe80::1%\x1b"],
        "must be an IP address or a host name"),
    "whole number": Rule(
        "PORT", {"0": 0, " 65535 ": 65535},
        ["65536", "-1", "80.0", "http", "8_0", "0x50", "1" * 5000, "٣"],
        "must be a whole number from 0 to 65535"),
    "calls in flight": Rule(
        "UPSTREAM_MAX_IN_FLIGHT", {"1": 1, "100000": 100_000}, ["0", "100001"],
        "must be a whole number from 1 to 100000"),
    "seconds": Rule(
        "UPSTREAM_TIMEOUT", {"0.25": 0.25, "3600": 3600.0, "1e1": 10.0},
        ["0", "-1", "ten", "nan", "inf", "3600.1", "10s", "1,5"],
        "must be a number of seconds above 0 to 3600"),
    "seconds or none": Rule(
        "DRAIN_SECONDS", {"0": 0.0, "30": 30.0}, ["-0.1", "nan"],
        "must be a number of seconds from 0 to 3600"),
    "flag": Rule(
        "DOCS", {"FALSE": False, " true ": True}, ["1", "yes", "truely", " "],
        "must be true or false"),
    "url": Rule(
        "SPOTIFY_TOKEN_URL",
        {" https://x.example:8443/token ": "https://x.example:8443/token"},
        ["accounts.example", "ftp://x.example", "https://", "https:///path", "https://:443/", "//x",
         "javascript:alert(1)", "https://[fe80::1%eth0]/", "https://a b.example", "https://x/a b",
         "https://x..example", "https://%zz", "https://h\u00f6st.example", "https://x.example/\tx",
         f"https://{'a.' * 127}example", "https://[::1]a:7001",
         # Python's urlsplit refuses these with an error that quotes them.
         "https://me:secret:x", "https://x.example:99999", "https://[::1", "https://\u2100/"], URL),
    "bare url": Rule(
        "SPOTIFY_AUTHORIZE_URL", {"https://x.example/login": "https://x.example/login"},
        ["https://me:pass@x.example", "https://x.example/?a=b", "https://x.example/#c"],
        "must not have a user name, a query or a fragment"),
    "upstream by https": Rule(
        "SPOTIFY_TOKEN_URL",
        {url: url for url in ("http://127.255.255.254:80/", "http://[::1]/", "http://LOCALHOST/")},
        ["http://10.0.0.1/", "http://[::]", "http://localhost.example", "HTTP://127.0.0.1.nip.io"],
        MUST_BE_HTTPS),
    "login page by https": Rule(
        "SPOTIFY_AUTHORIZE_URL", {"http://127.0.0.1:7001/a": "http://127.0.0.1:7001/a"},
        ["http://spotify.example/"],
        MUST_BE_HTTPS.replace("it gets the client secret", "users log in there")),
    "public url": Rule(
        "PUBLIC_URL", {"https://a.example/b/": "https://a.example/b"}, ["a.example"], URL),
    "base path": Rule(
        "BASE_PATH", {"/spotify": "/spotify", "/a/b-c._~1/": "/a/b-c._~1", "/": ""},
        ["spotify", "//a", "/a//b", "/a b", "/..", "/a/./b", "/%41", "/a?b", "/{a}"],
        "must be a path such as /spotify, of letters, digits, '-', '_', '.', '~'"),
    "base path of others": Rule(
        "BASE_PATH", {"/healthz/a": "/healthz/a"},
        ["/healthz", "/readyz/", "/.well-known/oauth-authorization-server"],
        "must not be the path of an endpoint that is not below it"),
    "proxy": Rule(
        "UPSTREAM_PROXY",
        {" http://proxy.example:3128 ": "http://proxy.example:3128",
         "https://me:p%40ss@[::1]:8443/": "https://me:p%40ss@[::1]:8443/"},
        ["proxy.example:3128", "http://proxy.example", "socks5://x:1080", "http://:3128",
         "http://me:pa/ss@x:1", "http://x:0", "http://x:port"],
        "must be an http or https URL with a host and a port, such as http://proxy.example.com:3128"),
    "bare proxy": Rule(
        "UPSTREAM_PROXY", {}, ["http://x:1/path", "http://x:1?a=b", "http://x:1#c"],
        "must have nothing after the port"),
    "origins": Rule(
        "CORS_ALLOW_ORIGINS",
        {" http://localhost:3000 ,, https://[::1]:8080,app+x://a":
         ("http://localhost:3000", "https://[::1]:8080", "app+x://a")},
        ["*", "https://*.example", "https://a.example/", "https://A.example", "a.example", "null",
         "https://a.example https://b.example", "https://a.example:port", "https://é.example"],
        "must be origins as browsers send them, such as https://app.example.com, in lower case, "
        "without a path or *, separated by commas"),
    "default port of http": Rule(
        "CORS_ALLOW_ORIGINS", {"http://a:443": ("http://a:443",)}, ["http://a:80"],
        "must not have the default port :80, which browsers leave out"),
    "default port of https": Rule(
        "CORS_ALLOW_ORIGINS", {"https://a:80": ("https://a:80",)}, ["https://b,https://a:443"],
        "must not have the default port :443, which browsers leave out"),
    "list": Rule(
        "ALLOWED_REDIRECT_URIS", {"a://b, c://d?e=f ,": frozenset({"a://b", "c://d?e=f"})},
        [",", " ", " , ,"], ENTRY),
    "rate limit": Rule(
        "RATE_LIMIT", {" 60/minute ": "60/minute", "5 per second;1/day": "5 per second;1/day"},
        ["60", "minute", "60/", "60/fortnight", "0/minute", "-1/minute", "5/second;", " ",
         "1/second;0/day", "1.5/second", "2/3years", f"{10**9}/day", "9" * 5000 + "/day"],
        "must be such as 60/minute or 5/second;1000/day, within a year"),
    "storage": Rule(
        "RATE_LIMIT_STORAGE",
        {url: url for url in ("redis://10.0.0.1", "valkeys://me:p%40ss@cache.example:6380/15",
                              "rediss://:p@[::1]:6379/", "valkey://a/0")},
        ["10.0.0.1:6379", "memory://", "http://x.example", "redis://", "redis://:pass@",
         "redis+cluster://x.example", "unix:///run/redis", "redis://x:pass", "redis://a,b"],
        "must be a URL with a host and one of redis, rediss, valkey, valkeys"),
    "bare storage": Rule(
        "RATE_LIMIT_STORAGE", {},
        [f"rediss://x.example{end}" for end in ("?ssl_cert_reqs=none", "#a", "/a", "/1/2", "/-1")],
        "must have nothing after the host but a port and the number of a database"),
    "networks": Rule(
        "TRUSTED_PROXIES", {"10.0.0.0/8, ::1,192.0.2.7": ("10.0.0.0/8", "::1", "192.0.2.7")},
        ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8 ::1", "*", "10.0.0.0/8,x"],
        "must be addresses or networks such as 10.0.0.0/8 or fd00::/8, the bits after the prefix "
        "zero, separated by commas"),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_rule_of_a_setting(rule: Rule) -> None:
    """Problems are fixed sentences, so that they never quote a secret under the wrong name."""
    for text, expected in rule.good.items():
        assert value(rule.name, {rule.name: text}) == expected, text
    for text in rule.bad:
        assert problems({**REQUIRED, rule.name: text}) == [f"{rule.name} {rule.sentence}"], text


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("CLIENT_ID", " padded", CREDENTIAL),
        ("REDIRECT_URI", "lone\udc80", "is not UTF-8 text"),
        ("METRICS_PORT", "65536", "must be a whole number from 0 to 65535"),
        ("REQUEST_TIMEOUT", "0", "must be a number of seconds above 0 to 3600"),
        ("ALLOW_INSECURE_UPSTREAM", "1", "must be true or false"),
        ("CLIENT_CREDENTIALS_ENABLED", "1", "must be true or false"),
        ("CLIENT_CREDENTIALS_CACHE", "1", "must be true or false"),
        ("CORS_ALLOW_ORIGINS", ",", ENTRY),
        ("TRUSTED_PROXIES", ",", ENTRY),
    ],
)
def test_rule_that_settings_share(name: str, text: str, sentence: str) -> None:
    assert problems({**REQUIRED, name: text}) == [f"{name} {sentence}"]


def test_optional_setting_has_its_default_when_unset_or_empty() -> None:
    empty = dict.fromkeys((name for name in NAMES if name not in REQUIRED), "")
    for field in msgspec.structs.fields(Settings):
        if not field.required:
            assert value(field.name, {}) == value(field.name, empty) == field.default


@pytest.mark.parametrize("name", REQUIRED)
def test_required_setting_that_is_unset_or_empty_is_a_problem(name: str) -> None:
    others = {key: text for key, text in REQUIRED.items() if key != name}
    for environ in (others, others | {name: ""}, others | {f"{name}_FILE": ""}):
        assert problems(environ) == [f"{name} is required"]


def test_all_problems_are_reported_at_once() -> None:
    environ = {
        "CLIENT_SECRET": " padded ",
        "SECRET_KEY_FILE": "/nowhere",
        "LOG_LEVEL": "loud",
        "SPOTIFY_TOKEN_URL": "http://spotify.example",
        "CORS_ALLOW_ORIGINS": "*",
        "OTEL_TRACES_EXPORTER": "jaeger",
    }
    assert problems(environ) == [
        "CLIENT_ID is required",
        f"CLIENT_SECRET {CREDENTIAL}",
        "SECRET_KEY_FILE can't be read: No such file or directory",
        f"LOG_LEVEL {RULES['log level'].sentence}",
        f"CORS_ALLOW_ORIGINS {RULES['origins'].sentence}",
        f"SPOTIFY_TOKEN_URL {MUST_BE_HTTPS}",
        "OTEL_TRACES_EXPORTER must be one of console, none, otlp",
    ]


def test_other_variables_are_ignored() -> None:
    others = {"PATH": "/bin", "PORTS": "x", "port": "x", "Client_Id": "x", "PORT_FILE": "/nowhere"}
    loaded = load({**REQUIRED, **others})
    assert (loaded.port, loaded.client_id) == (7000, "the-client-id")


def test_http_for_the_upstream_can_be_allowed() -> None:
    url = "http://simulator/api/token"
    refused = {**REQUIRED, "SPOTIFY_TOKEN_URL": url, "ALLOW_INSECURE_UPSTREAM": "false"}
    assert problems(refused) == [f"SPOTIFY_TOKEN_URL {MUST_BE_HTTPS}"]
    allowed = {"SPOTIFY_TOKEN_URL": url, "ALLOW_INSECURE_UPSTREAM": "true"}
    assert value("SPOTIFY_TOKEN_URL", allowed) == url


# Files ---------------------------------------------------------------------------------------

IN_FILES = {
    **REQUIRED,
    "REDIRECT_URI": "app://callback",
    "LOG_LEVEL": "debug",
    "SECRET_KEYS_PREVIOUS": "one",
    "RATE_LIMIT_STORAGE": "redis://:p@cache.example",
    "UPSTREAM_PROXY": "http://me:p@proxy.example:3128",
}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], str]:
    """Return a function that writes bytes to a file and returns its path."""

    def write(content: bytes) -> str:
        path = tmp_path / "setting"
        path.write_bytes(content)
        return str(path)

    return write


@pytest.mark.parametrize("name", FROM_FILE)
def test_setting_is_read_from_a_file(name: str, written: Callable[[bytes], str]) -> None:
    """An empty variable beside the file counts as unset."""
    path = written(IN_FILES[name].encode() + b"\n")
    expected = value(name, {name: IN_FILES[name]})
    assert value(name, {name: "", f"{name}_FILE": path}) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"key", "key"),
        (b"key\r\n", "key"),
        (b"key\n\n", "key\n"),
        (b"key\r", "key\r"),
        (b"\nkey ", "\nkey "),
    ],
)
def test_one_line_end_of_a_file_is_removed(
    content: bytes, expected: str, written: Callable[[bytes], str]
) -> None:
    assert value("SECRET_KEY", {"SECRET_KEY": "", "SECRET_KEY_FILE": written(content)}) == expected


def test_file_of_previous_keys_has_one_per_line(written: Callable[[bytes], str]) -> None:
    path = written("één\ntwo\r\n\nthree\n".encode())
    found = value("SECRET_KEYS_PREVIOUS", {"SECRET_KEYS_PREVIOUS_FILE": path})
    assert found == ("één", "two", "three")


def test_only_some_settings_are_read_from_files() -> None:
    others = {f"{name}_FILE": "/nowhere" for name in NAMES if name not in FROM_FILE}
    load({**REQUIRED, **others})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"caf\xe9", "LOG_LEVEL_FILE is not UTF-8 text"),
        (b"Qx7", f"LOG_LEVEL {RULES['log level'].sentence}"),
    ],
)
def test_content_of_a_file_is_not_quoted(
    content: bytes, problem: str, written: Callable[[bytes], str]
) -> None:
    assert problems({**REQUIRED, "LOG_LEVEL_FILE": written(content)}) == [problem]


def test_variable_and_file_are_a_problem(written: Callable[[bytes], str]) -> None:
    environ = {**REQUIRED, "SECRET_KEY_FILE": written(b"another")}
    assert problems(environ) == ["SECRET_KEY and SECRET_KEY_FILE are both set: set one of them"]


def test_unreadable_file_is_a_problem(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "Qx7", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        environ = {**REQUIRED, "SECRET_KEY": "", "SECRET_KEY_FILE": str(path)}
        assert problems(environ) == [f"SECRET_KEY_FILE can't be read: {reason}"]


def test_empty_file_is_unset(written: Callable[[bytes], str]) -> None:
    for content in (b"", b"\n", b"\r\n"):
        environ = {**REQUIRED, "SECRET_KEY": "", "SECRET_KEY_FILE": written(content)}
        assert problems(environ) == ["SECRET_KEY is required"]


# OpenTelemetry's variables -------------------------------------------------------------------

OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
NOT_UNDERSTOOD = {
    "OTEL_TRACES_EXPORTER": ["jaeger", "otlp,console"],
    "OTEL_PROPAGATORS": ["nonsense", "b3"],
    "OTEL_TRACES_SAMPLER": ["nonsense"],
    "OTEL_SDK_DISABLED": ["nonsense"],
    "OTEL_RESOURCE_ATTRIBUTES": ["nonsense", "a=b,nonsense", "=nonsense"],
    "OTEL_TRACES_SAMPLER_ARG": ["nonsense", "1.1"],
    "OTEL_BSP_SCHEDULE_DELAY": ["0"],
    "OTEL_BSP_MAX_QUEUE_SIZE": ["nonsense"],
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": ["-1"],
    "OTEL_EXPORTER_OTLP_TIMEOUT": ["0", "inf"],
    "OTEL_EXPORTER_OTLP_PROTOCOL": ["http/json"],
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": ["http/json"],
    "OTEL_EXPORTER_OTLP_COMPRESSION": ["nonsense"],
    "OTEL_EXPORTER_OTLP_ENDPOINT": [
        *("nonsense", "collector:4317", "ftp://a", " http://a", "http://u:nonsense@a"),
    ],
    "OTEL_EXPORTER_OTLP_HEADERS": [
        *("authorization nonsense", "Bad Key=nonsense", "a=b,nonsense", "a=é"),
    ],
    "OTEL_EXPORTER_OTLP_CERTIFICATE": ["/nonsense", "/", __file__],
    "OTEL_EXPORTER_OTLP_INSECURE": ["nonsense"],
    "HTTPS_PROXY": [
        *("http://user:nonsense#@a:1", "http://user:nonsense/x@a:1", "http://user:1/nonsense@a"),
        *("user:nonsense?@a:1", "http://", r"http://user:nonsense\x@a:1", "http://nonsense .a"),
    ],
    "all_proxy": ["http://a/nonsense"],
    "OTEL_PYTHON_HTTPX_EXCLUDED_URLS": ["nonsense("],
}
UNDERSTOOD = {
    "OTEL_TRACES_EXPORTER": ["otlp", "console", " none "],
    "OTEL_PROPAGATORS": ["tracecontext, baggage", "none"],
    "OTEL_TRACES_SAMPLER_ARG": ["0", "1", "0.25", ".5", "1.0"],
    "OTEL_EXPORTER_OTLP_TIMEOUT": ["0.5", "10"],
    "OTEL_EXPORTER_OTLP_PROTOCOL": ["grpc", "http/protobuf"],
    "OTEL_EXPORTER_OTLP_ENDPOINT": ["http://collector:4318", "https://otlp.example/tenant/a"],
    "OTEL_EXPORTER_OTLP_HEADERS": ["api-key=abc", "a=b, c=d", "authorization=Basic%20eDp5"],
    "OTEL_EXPORTER_OTLP_CERTIFICATE": [certifi.where()],
    "OTEL_EXPORTER_OTLP_INSECURE": ["true", "False"],
    "OTEL_RESOURCE_ATTRIBUTES": ["a=b", "a=b, c=d=e,f="],
    "HTTPS_PROXY": ["http://user:pass%23@a:3128", "http://a/", "proxy.example:3128"],
    "OTEL_PYTHON_HTTPX_EXCLUDED_URLS": [".*", "Content.*,X-.*"],
}


@pytest.mark.parametrize("name", NOT_UNDERSTOOD)
def test_telemetry_that_the_sdk_would_ignore_is_a_problem(name: str) -> None:
    for text in NOT_UNDERSTOOD[name]:
        [problem] = problems({**REQUIRED, **OTLP, name: text})
        assert problem.startswith(f"{name} "), text
        assert "nonsense" not in problem
    for text in ["", *UNDERSTOOD.get(name, [])]:
        load({**REQUIRED, **OTLP, name: text})


def test_tracing_is_on_if_an_exporter_or_an_endpoint_is_named() -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}
    for environ in (
        endpoint,
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"},
        {"OTEL_TRACES_EXPORTER": "console"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "false"},
    ):
        assert tracing_enabled(environ), environ
    for environ in (
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"},
        endpoint | {"OTEL_TRACES_EXPORTER": " none "},
        endpoint | {"OTEL_SDK_DISABLED": " TRUE "},
    ):
        assert not tracing_enabled(environ), environ


def test_telemetry_is_not_read_without_tracing() -> None:
    nonsense = {name: texts[0] for name, texts in NOT_UNDERSTOOD.items()}
    load({**REQUIRED, **nonsense, "OTEL_SDK_DISABLED": "true"})
    load({**REQUIRED, "OTEL_PROPAGATORS": "nonsense"})


# Secrets -------------------------------------------------------------------------------------


def test_secret_shows_no_value() -> None:
    secret = Secret("Qx7")
    shown = [
        repr(secret),
        f"{secret}",
        f"{secret!r:>20}",
        "%s %r" % (secret, secret),  # noqa: UP031 - logging still formats so
        format(secret, ">20"),
        repr({"key": (secret,)}),
    ]
    assert all("Qx7" not in text and "Secret(…)" in text for text in shown)
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == "Qx7"
    with pytest.raises(TypeError) as refused:
        msgspec.json.encode({"secret": secret})
    assert "Qx7" not in str(refused.value)


def test_settings_do_not_show_their_secrets() -> None:
    urls = {
        "RATE_LIMIT_STORAGE": "rediss://me:p%40ssw%C3%B6rd@cache.example/1",
        "UPSTREAM_PROXY": "http://me:p%40ssw%C3%B6rd@proxy.example:3128",
    }
    loaded = load({**REQUIRED, **urls, "SECRET_KEYS_PREVIOUS": "previous-1\nprevious-2"})
    for shown in (repr(loaded), str(loaded), f"{loaded}"):
        assert "the-client-id" in shown
        for secret in (*loaded.secrets, "previous-", "p%40"):
            assert secret not in shown


def test_settings_list_all_secrets_for_redaction() -> None:
    """A password in a URL is listed as written and decoded."""
    url = "rediss://me:p%40ssw%C3%B6rd@cache.example/1"
    proxy = "http://me:word@proxy.example:3128"
    changes = {"RATE_LIMIT_STORAGE": url, "UPSTREAM_PROXY": proxy, "SECRET_KEYS_PREVIOUS": "1\n2"}
    loaded = load({**REQUIRED, **changes})
    pair = f"{REQUIRED['CLIENT_ID']}:{REQUIRED['CLIENT_SECRET']}"
    assert set(loaded.secrets) == {
        *(REQUIRED["CLIENT_SECRET"], REQUIRED["SECRET_KEY"], "1", "2"),
        *(url, "p%40ssw%C3%B6rd", "p@sswörd", proxy, "word"),
        base64.b64encode(pair.encode()).decode(),
    }


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load(REQUIRED).port = 1  # type: ignore[misc]


def test_log_levels_are_in_swifts_order() -> None:
    names = ["trace", "debug", "info", "notice", "warning", "error", "critical"]
    assert sorted(LOG_LEVELS, key=lambda name: LOG_LEVELS[name]) == names
