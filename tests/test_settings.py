import base64
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from service.settings import LOG_LEVELS, Secret, Settings, SettingsError, load

REQUIRED = {
    "CLIENT_ID": "the-client-id",
    "CLIENT_SECRET": "the-client-secret",
    "SECRET_KEY": "the-secret-key-0123456789",
}
NAMES = [field.name.upper() for field in msgspec.structs.fields(Settings)]
OPTIONAL = [name for name in NAMES if name not in REQUIRED]
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


def value(name: str, environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - settings have many types
    """Return the setting as the service sees it, opened where it is a Secret."""
    found = getattr(load({**REQUIRED, **environ}), name.lower())
    if isinstance(found, Secret):
        return found.reveal()
    if isinstance(found, tuple):
        return tuple(each.reveal() if isinstance(each, Secret) else each for each in found)
    return found


def problems(environ: Mapping[str, str], *, required: bool = True) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load({**(REQUIRED if required else {}), **environ})
    assert str(refused.value) == "\n".join(refused.value.problems)
    return refused.value.problems


def seconds(least: str) -> str:
    return f"must be a number of seconds {least} to 3600"


PORT = "must be a whole number from 0 to 65535"
FLAG = "must be true or false"
LEVEL = "must be one of trace, debug, info, notice, warning, error, critical"
SPACES = "must not have white space around it or control characters in it"
ENTRY = "must have at least one entry, separated by commas"
ORIGIN = (
    "must be origins as browsers send them, such as https://app.example.com, "
    "in lower case, without a path or *, separated by commas"
)
URL = "must be an http or https URL with a host"
HOST = "must be an IP address or a host name"
BARE_URL = "must not have a user name, a query or a fragment"
LOGIN_MUST_BE_HTTPS = (
    "must be https: users log in there; ALLOW_INSECURE_UPSTREAM=true lifts this for a simulator"
)
MUST_BE_HTTPS = (
    "must be https: it gets the client secret; ALLOW_INSECURE_UPSTREAM=true lifts this "
    "for a simulator"
)
RATE_LIMIT = "must be such as 60/minute or 5/second;1000/day, within a year"
STORAGE = "must be a URL with a host and one of redis, rediss, valkey, valkeys"
BARE_STORAGE = "must have nothing after the host but a port and the number of a database"
PROXY = "must be an http or https URL with a host and a port, such as http://proxy.example.com:3128"
NETWORKS = (
    "must be addresses or networks such as 10.0.0.0/8 or fd00::/8, the bits after the prefix "
    "zero, separated by commas"
)
IN_FLIGHT = "must be a whole number from 1 to 100000"

DEFAULTS: dict[str, object] = {
    "REDIRECT_URI": None,
    "LOG_LEVEL": "info",
    "LOG_FORMAT": None,
    "SECRET_KEYS_PREVIOUS": (),
    "HOST": "127.0.0.1",
    "PORT": 7000,
    "METRICS_PORT": 9464,
    "SPOTIFY_TOKEN_URL": "https://accounts.spotify.com/api/token",
    "UPSTREAM_TIMEOUT": 10.0,
    "ALLOW_INSECURE_UPSTREAM": False,
    "DRAIN_SECONDS": 5.0,
    "CORS_ALLOW_ORIGINS": (),
    "ALLOWED_REDIRECT_URIS": frozenset(),
    "CLIENT_CREDENTIALS_ENABLED": True,
    "CLIENT_CREDENTIALS_CACHE": True,
    "DOCS": True,
    "SPOTIFY_AUTHORIZE_URL": "https://accounts.spotify.com/authorize",
    "RATE_LIMIT": None,
    "RATE_LIMIT_STORAGE": None,
    "UPSTREAM_PROXY": None,
    "TRUSTED_PROXIES": (),
}
GOOD: list[tuple[str, str, object]] = [
    ("CLIENT_ID", "0123456789abcdef", "0123456789abcdef"),
    ("CLIENT_ID", "with space inside", "with space inside"),
    ("CLIENT_SECRET", "päss:wörd€", "päss:wörd€"),
    ("SECRET_KEY", " any text\n\tat all ", " any text\n\tat all "),
    ("SECRET_KEY", "x", "x"),
    ("REDIRECT_URI", " app://callback ", "app://callback"),
    *[("LOG_LEVEL", level, level) for level in LOG_LEVELS],
    *[("LOG_LEVEL", level.upper(), level) for level in LOG_LEVELS],
    ("LOG_LEVEL", " Notice ", "notice"),
    ("LOG_FORMAT", "json", "json"),
    ("LOG_FORMAT", " Console ", "console"),
    ("SECRET_KEYS_PREVIOUS", "one", ("one",)),
    ("SECRET_KEYS_PREVIOUS", "one\ntwo\r\n\n three \n", ("one", "two", " three ")),
    ("SECRET_KEYS_PREVIOUS", "two\none\ntwo", ("two", "one")),
    ("SECRET_KEYS_PREVIOUS", "a\x0bb\x85c\u2028d", ("a\x0bb\x85c\u2028d",)),
    ("HOST", "0.0.0.0", "0.0.0.0"),  # noqa: S104 - the image's own setting
    ("HOST", " :: ", "::"),
    ("PORT", "0", 0),
    ("PORT", " 65535 ", 65535),
    ("METRICS_PORT", "0", 0),
    ("METRICS_PORT", "9100", 9100),
    ("SPOTIFY_TOKEN_URL", "https://x.example/token", "https://x.example/token"),
    ("SPOTIFY_TOKEN_URL", " https://x.example:8443/token ", "https://x.example:8443/token"),
    ("SPOTIFY_AUTHORIZE_URL", " https://x.example/login ", "https://x.example/login"),
    ("SPOTIFY_AUTHORIZE_URL", "http://127.0.0.1:7001/a", "http://127.0.0.1:7001/a"),
    ("UPSTREAM_PROXY", " http://proxy.example:3128 ", "http://proxy.example:3128"),
    ("UPSTREAM_PROXY", "https://me:p%40ss@[::1]:8443/", "https://me:p%40ss@[::1]:8443/"),
    ("UPSTREAM_TIMEOUT", "0.25", 0.25),
    ("UPSTREAM_TIMEOUT", "3600", 3600.0),
    ("UPSTREAM_MAX_IN_FLIGHT", "1", 1),
    ("UPSTREAM_MAX_IN_FLIGHT", "100000", 100_000),
    ("ALLOW_INSECURE_UPSTREAM", "True", True),
    ("REQUEST_TIMEOUT", "1e1", 10.0),
    ("DRAIN_SECONDS", "0", 0.0),
    ("DRAIN_SECONDS", "30", 30.0),
    ("CORS_ALLOW_ORIGINS", "https://a.example", ("https://a.example",)),
    (
        "CORS_ALLOW_ORIGINS",
        " http://localhost:3000 ,, https://[::1]:8080,app+x://localhost",
        ("http://localhost:3000", "https://[::1]:8080", "app+x://localhost"),
    ),
    ("ALLOWED_REDIRECT_URIS", "a://b, c://d?e=f ,", frozenset({"a://b", "c://d?e=f"})),
    ("CLIENT_CREDENTIALS_ENABLED", "FALSE", False),
    ("CLIENT_CREDENTIALS_ENABLED", " true ", True),
    ("CLIENT_CREDENTIALS_CACHE", "False", False),
    ("RATE_LIMIT", " 60/minute ", "60/minute"),
    ("RATE_LIMIT", "5 per second; 1000 per 2 days", "5 per second; 1000 per 2 days"),
    ("RATE_LIMIT_STORAGE", " redis://10.0.0.1 ", "redis://10.0.0.1"),
    *[("RATE_LIMIT_STORAGE", url, url) for url in
      ("valkeys://me:p%40ss@cache.example:6380/15", "rediss://:p@[::1]:6379/", "valkey://a/0")],
    *[("UPSTREAM_PROXY", url, url) for url in
      ("http://proxy.example:3128", "https://me:p%40ss@[::1]:443/", "http://me@10.0.0.1:80")],
    ("UPSTREAM_PROXY", " http://a:1 ", "http://a:1"),
    ("TRUSTED_PROXIES", "10.0.0.0/8, ::1,192.0.2.7", ("10.0.0.0/8", "::1", "192.0.2.7")),
]  # fmt: skip
BAD: list[tuple[str, str, str]] = [
    *[(name, text, SPACES) for name in ("CLIENT_ID", "CLIENT_SECRET")
      for text in (" padded", "padded ", "line\nend", "nul-\0", "newline\n", " ")],
    *[(name, "lone\udc80", "is not UTF-8 text") for name in
      ("CLIENT_ID", "CLIENT_SECRET", "SECRET_KEY", "REDIRECT_URI", "SECRET_KEYS_PREVIOUS", "HOST")],
    *[("LOG_LEVEL", text, LEVEL) for text in ("warn", "verbose", "20", "info,debug", " ")],
    *[("LOG_FORMAT", text, "must be one of console, json") for text in ("text", "auto", " ")],
    *[(name, text, PORT) for name in ("PORT", "METRICS_PORT")
      for text in ("65536", "-1", "80.0", "http", "8_0", "0x50", "1" * 5000, "٣", "")[:-1]],
    *[("SPOTIFY_TOKEN_URL", text, URL) for text in
      ("accounts.example", "ftp://x.example", "https://", "https:///path", "https://:443/", "//x")],
    *[("SPOTIFY_TOKEN_URL", f"https://{text}", URL) for text in
      ("a b.example", "x..example", f"{'a' * 64}.example", "%zz", "h\u00f6st.example", "x/a b",
       "x\u2028.example", "x.example/\tx", "x.example/é", f"{'a.' * 127}example",
       "[::1]a:7001", "a[::1]:7001")],
    *[("BASE_PATH", text, "must not be the path of an endpoint that is not below it") for text in
      ("/healthz", "/readyz/", "/.well-known/oauth-authorization-server")],
    *[("HOST", text, HOST) for text in
      ("a b", "a" * 64, "x..y", "http://x", "::1::", "[::1]", "fe80::1%\x1b")],
    *[("SPOTIFY_AUTHORIZE_URL", text, URL) for text in
      ("javascript:alert(1)", "data:,x", "//x", "https://[fe80::1%eth0]/")],
    ("SPOTIFY_AUTHORIZE_URL", "https://x.example/?client_id=1", BARE_URL),
    ("SPOTIFY_AUTHORIZE_URL", "http://spotify.example/", LOGIN_MUST_BE_HTTPS),
    *[("SPOTIFY_TOKEN_URL", f"https://{text}", BARE_URL) for text in
      ("me@x.example", "me:pass@x.example", "x.example/?a=b", "x.example/#c")],
    *[(name, text, seconds("above 0")) for name in ("UPSTREAM_TIMEOUT", "REQUEST_TIMEOUT")
      for text in ("0", "-0", "-1", "ten", "nan", "inf", "-inf", "3600.1", "10s", "1e999", "1,5")],
    *[("DRAIN_SECONDS", text, seconds("from 0")) for text in ("-0.1", "nan", "inf", "1h")],
    *[("UPSTREAM_MAX_IN_FLIGHT", text, IN_FLIGHT) for text in ("0", "100001", "many", "1.0")],
    *[(name, text, FLAG) for name in
      ("ALLOW_INSECURE_UPSTREAM", "CLIENT_CREDENTIALS_ENABLED", "CLIENT_CREDENTIALS_CACHE", "DOCS")
      for text in ("1", "0", "yes", "on", "truely", " ")],
    *[(name, text, ENTRY) for name in ("CORS_ALLOW_ORIGINS", "ALLOWED_REDIRECT_URIS")
      for text in (",", " ", " , ,")],
    *[("CORS_ALLOW_ORIGINS", text, ORIGIN) for text in
      ("*", "https://*.example", "https://a.example/", "https://A.example", "a.example", "null",
       "https://a.example https://b.example", "https://a.example:port", "https://é.example")],
    ("SPOTIFY_TOKEN_URL", "http://spotify.example/", MUST_BE_HTTPS),
    *[("RATE_LIMIT", text, RATE_LIMIT) for text in
      ("60", "minute", "60/", "60/fortnight", "0/minute", "-1/minute", "5/second;",
       "1/second;0/day", "1.5/second", "2/3years", f"{10**9}/day", "9" * 5000 + "/day", " ")],
    *[("RATE_LIMIT_STORAGE", text, STORAGE) for text in
      ("10.0.0.1:6379", "memory://", "http://x.example", "redis://", "redis://:pass@",
       "redis://a b", "redis+cluster://x.example", "unix:///run/redis", "redis://x.example:pass", "redis://a,b")],
    *[("RATE_LIMIT_STORAGE", f"rediss://x.example{text}", BARE_STORAGE) for text in
      ("?ssl_cert_reqs=none", "#a", "/a", "/1/2", "/-1")],
    *[("UPSTREAM_PROXY", text, PROXY) for text in
      ("proxy.example:3128", "http://proxy.example", "socks5://x:1080", "http://:3128",
       "http://a b:1", "http://me:pa/ss@x:1", "http://x:0", "http://x:port", "https://[fe80::1%eth0]:1")],
    *[("UPSTREAM_PROXY", f"http://x:1/{text}", "must have nothing after the port") for text in
      ("path", "?a=b", "#c")],
    *[("TRUSTED_PROXIES", text, NETWORKS) for text in
      ("proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8 ::1", "*", "10.0.0.0/8,x")],
    ("TRUSTED_PROXIES", ",", ENTRY),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected"), GOOD)
def test_valid_value(name: str, text: str, expected: object) -> None:
    assert value(name, {name: text}) == expected


@pytest.mark.parametrize(("name", "text", "sentence"), BAD)
def test_invalid_value_is_one_problem(name: str, text: str, sentence: str) -> None:
    assert problems({name: text}) == [f"{name} {sentence}"]


URLS_PYTHON_CANNOT_SPLIT = [
    "https://spotify.example:supersecret",
    "https://spotify.example:supersecret/token",
    "https://user:supersecret:x",
    "https://spotify.example:99999",
    "https://[supersecret]/",
    "https://[::1",
    "https://supersecret\u2100.example/",
]


@pytest.mark.parametrize("text", URLS_PYTHON_CANNOT_SPLIT)
def test_url_that_python_cannot_split_is_not_quoted(text: str) -> None:
    [problem] = problems({"SPOTIFY_TOKEN_URL": text})
    assert problem.startswith("SPOTIFY_TOKEN_URL ")
    assert "supersecret" not in problem


@pytest.mark.parametrize("name", NAMES)
def test_no_problem_repeats_the_value(name: str) -> None:
    for text in ["s3cret\udc80", *(text for bad, text, _ in BAD if bad == name and text.strip())]:
        description = "\n".join(problems({name: f"Qx7 {text}\nZw9", "PORT": f"Qx7-{text}-Zw9"}))
        assert "PORT" in description
        assert "Qx7" not in description
        assert "Zw9" not in description


@pytest.mark.parametrize("name", OPTIONAL)
def test_optional_setting_has_its_default_when_unset_or_empty(name: str) -> None:
    default = DEFAULTS.get(name, getattr(load(REQUIRED), name.lower()))
    assert value(name, {}) == default
    assert value(name, {name: ""}) == default


def test_defaults_are_the_documented_ones() -> None:
    assert set(DEFAULTS) <= set(OPTIONAL)
    assert {name: value(name, {}) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("name", REQUIRED)
def test_required_setting_that_is_unset_or_empty_is_a_problem(name: str) -> None:
    others = {key: text for key, text in REQUIRED.items() if key != name}
    for environ in (others, others | {name: ""}, others | {f"{name}_FILE": ""}):
        assert problems(environ, required=False) == [f"{name} is required"]


def test_all_problems_are_reported_at_once() -> None:
    environ = {
        "CLIENT_SECRET": " padded ",
        "SECRET_KEY_FILE": "/nowhere",
        "LOG_LEVEL": "loud",
        "PORT": "all",
        "SPOTIFY_TOKEN_URL": "http://spotify.example",
        "UPSTREAM_TIMEOUT": "soon",
        "CORS_ALLOW_ORIGINS": "*",
        "OTEL_TRACES_EXPORTER": "jaeger",
    }
    assert problems(environ, required=False) == [
        "CLIENT_ID is required",
        f"CLIENT_SECRET {SPACES}",
        "SECRET_KEY_FILE can't be read: No such file or directory",
        f"LOG_LEVEL {LEVEL}",
        f"PORT {PORT}",
        f"UPSTREAM_TIMEOUT {seconds('above 0')}",
        f"CORS_ALLOW_ORIGINS {ORIGIN}",
        f"SPOTIFY_TOKEN_URL {MUST_BE_HTTPS}",
        "OTEL_TRACES_EXPORTER must be one of console, none, otlp",
    ]


def test_other_variables_are_ignored() -> None:
    others = {"PATH": "/bin", "PORTS": "x", "port": "x", "Client_Id": "x", "PORT_FILE": "/nowhere"}
    loaded = load({**REQUIRED, **others})
    assert (loaded.port, loaded.client_id) == (7000, "the-client-id")


GOOD_TEXT = {
    **REQUIRED,
    "REDIRECT_URI": "app://callback",
    "LOG_LEVEL": "debug",
    "SECRET_KEYS_PREVIOUS": "one",
    "RATE_LIMIT_STORAGE": "redis://:p@cache.example",
    "UPSTREAM_PROXY": "http://me:p@proxy.example:3128",
}
GOOD_VALUE: dict[str, object] = {**GOOD_TEXT, "SECRET_KEYS_PREVIOUS": ("one",)}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], str]:
    """Return what writes bytes to a file and returns its path."""

    def write(content: bytes) -> str:
        path = tmp_path / "setting"
        path.write_bytes(content)
        return str(path)

    return write


def from_file(name: str, path: str) -> Any:  # noqa: ANN401
    others = {key: text for key, text in REQUIRED.items() if key != name}
    found = getattr(load({**others, f"{name}_FILE": path}), name.lower())
    if isinstance(found, tuple):
        return tuple(each.reveal() for each in found)
    return found.reveal() if isinstance(found, Secret) else found


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("name", FROM_FILE)
def test_file_is_read_without_its_line_end(
    name: str, end: bytes, written: Callable[[bytes], str]
) -> None:
    path = written(GOOD_TEXT[name].encode() + end)
    assert from_file(name, path) == GOOD_VALUE[name]


def test_only_one_line_end_is_removed(written: Callable[[bytes], str]) -> None:
    assert from_file("SECRET_KEY", written(b"key\n\n")) == "key\n"
    assert from_file("SECRET_KEY", written(b"key\r")) == "key\r"
    assert from_file("SECRET_KEY", written(b"\nkey ")) == "\nkey "


def test_a_file_of_previous_keys_has_one_a_line(written: Callable[[bytes], str]) -> None:
    path = written("één\ntwo\r\n\nthree\n".encode())
    assert from_file("SECRET_KEYS_PREVIOUS", path) == ("één", "two", "three")


@pytest.mark.parametrize("name", [name for name in OPTIONAL if name not in FROM_FILE])
def test_other_settings_are_not_read_from_files(name: str) -> None:
    assert value(name, {f"{name}_FILE": "/nowhere"}) == value(name, {})


@pytest.mark.parametrize("name", FROM_FILE)
def test_variable_and_file_are_a_problem(name: str, written: Callable[[bytes], str]) -> None:
    environ = {name: GOOD_TEXT[name], f"{name}_FILE": written(GOOD_TEXT[name].encode())}
    assert problems(environ) == [f"{name} and {name}_FILE are both set: set one of them"]


@pytest.mark.parametrize("name", FROM_FILE)
def test_empty_variable_beside_a_file_is_unset(name: str, written: Callable[[bytes], str]) -> None:
    path = written(GOOD_TEXT[name].encode())
    assert value(name, {name: "", f"{name}_FILE": path}) == GOOD_VALUE[name]


@pytest.mark.parametrize("name", FROM_FILE)
def test_unreadable_file_is_a_problem(name: str, tmp_path: Path) -> None:
    for path, why in (
        (tmp_path / "Qx7", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        told = problems({name: "", f"{name}_FILE": str(path)})
        assert told == [f"{name}_FILE can't be read: {why}"]


@pytest.mark.parametrize("name", FROM_FILE)
def test_file_that_is_not_utf_8_is_a_problem(name: str, written: Callable[[bytes], str]) -> None:
    told = problems({name: "", f"{name}_FILE": written(b"caf\xe9")})
    assert told == [f"{name}_FILE is not UTF-8 text"]


@pytest.mark.parametrize("name", REQUIRED)
def test_empty_file_is_unset(name: str, written: Callable[[bytes], str]) -> None:
    for content in (b"", b"\n", b"\r\n"):
        environ = {name: "", f"{name}_FILE": written(content)}
        assert problems(environ) == [f"{name} is required"]


def test_invalid_value_in_a_file_is_not_quoted(written: Callable[[bytes], str]) -> None:
    assert problems({"LOG_LEVEL_FILE": written(b"Qx7")}) == [f"LOG_LEVEL {LEVEL}"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.2:8000", "[::1]:7001", "localhost", "LOCALHOST:7001", "127.255.255.254"],
)
def test_token_url_may_be_http_on_loopback(host: str) -> None:
    url = f"http://{host}/api/token"
    assert load({**REQUIRED, "SPOTIFY_TOKEN_URL": url}).spotify_token_url == url


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "[::]", "localhost.example", "simulator", "128.0.0.1", "127.0.0.1.nip.io"],
)
def test_token_url_is_http_elsewhere_only_if_allowed(host: str) -> None:
    url = f"HTTP://{host}/api/token"
    assert problems({"SPOTIFY_TOKEN_URL": url}) == [f"SPOTIFY_TOKEN_URL {MUST_BE_HTTPS}"]
    refused = {"SPOTIFY_TOKEN_URL": url, "ALLOW_INSECURE_UPSTREAM": "false"}
    assert problems(refused) == [f"SPOTIFY_TOKEN_URL {MUST_BE_HTTPS}"]
    allowed = {"SPOTIFY_TOKEN_URL": url, "ALLOW_INSECURE_UPSTREAM": "true"}
    assert value("SPOTIFY_TOKEN_URL", allowed) == url


@pytest.mark.parametrize(
    ("name", "good", "sentence"),
    [
        (
            "OTEL_TRACES_EXPORTER",
            ["otlp", "console", "none", " otlp ", ""],
            "must be one of console, none, otlp",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            ["grpc", "http/protobuf", ""],
            "must be one of grpc, http/protobuf",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            ["grpc", "http/protobuf", ""],
            "must be one of grpc, http/protobuf",
        ),
    ],
)
def test_what_opentelemetry_would_not_understand_is_refused(
    name: str, good: list[str], sentence: str
) -> None:
    for text in good:
        load({**REQUIRED, **OTLP, name: text})
    for text in ("jaeger", "http/json", "OTLP", "otlp,console"):
        assert problems({**OTLP, name: text}) == [f"{name} {sentence}"]


def test_secret_shows_no_value() -> None:
    secret = Secret("Qx7")
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>20}",
        f"{secret:>20}",
        "%s %r" % (secret, secret),  # noqa: UP031 - logging still formats so
        format(secret, ">20"),
        repr([secret]),
        repr({"key": (secret,)}),
    ]
    assert all("Qx7" not in text and "Secret(…)" in text for text in shown)
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == "Qx7"


def test_secret_is_not_json() -> None:
    with pytest.raises(TypeError) as refused:
        msgspec.json.encode({"secret": Secret("Qx7")})
    assert "Qx7" not in str(refused.value)


def test_settings_do_not_show_their_secrets() -> None:
    loaded = load({**REQUIRED, "SECRET_KEYS_PREVIOUS": "previous-key-1\nprevious-key-2"})
    for shown in (repr(loaded), str(loaded), f"{loaded}"):
        assert "the-client-id" in shown
        for secret in (*loaded.secrets, "previous-key"):
            assert secret not in shown


def test_settings_know_all_their_secrets() -> None:
    loaded = load({**REQUIRED, "SECRET_KEYS_PREVIOUS": "one\ntwo"})
    basic = base64.b64encode(
        f"{REQUIRED['CLIENT_ID']}:{REQUIRED['CLIENT_SECRET']}".encode()
    ).decode()
    expected = {REQUIRED["CLIENT_SECRET"], REQUIRED["SECRET_KEY"], "one", "two", basic}
    assert set(loaded.secrets) == expected
    held = {name for name in NAMES if "secret" in repr(getattr(loaded, name.lower())).lower()}
    assert held == {"CLIENT_SECRET", "SECRET_KEY", "SECRET_KEYS_PREVIOUS"}


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load(REQUIRED).port = 1  # type: ignore[misc]


def test_log_levels_are_swifts_in_order() -> None:
    names = ["trace", "debug", "info", "notice", "warning", "error", "critical"]
    assert sorted(LOG_LEVELS, key=lambda name: LOG_LEVELS[name]) == names
    assert not any(math.isclose(LOG_LEVELS["notice"], LOG_LEVELS[name]) for name in names[:3])


OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
OTLP_HEADERS = "must be name=value, separated by commas, blanks as %20"


@pytest.mark.parametrize(
    "name", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"]
)
@pytest.mark.parametrize("text", ["authorization SECRETX", "Bad Key=SECRETX", "a=b,SECRETX", "a=é"])
def test_headers_for_otlp_that_the_sdk_would_quote_in_a_warning_are_told(
    name: str, text: str
) -> None:
    assert problems({**OTLP, name: text}) == [f"{name} {OTLP_HEADERS}"]


@pytest.mark.parametrize("text", ["api-key=abc", "a=b, c=d", "authorization=Basic%20eDp5", ""])
def test_headers_for_otlp_as_the_specification_writes_them_are_taken(text: str) -> None:
    assert value("PORT", {**OTLP, "OTEL_EXPORTER_OTLP_HEADERS": text}) == 7000


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("RATE_LIMIT_STORAGE", "rediss://me:p%40ssw%C3%B6rd@cache.example/1"),
        ("UPSTREAM_PROXY", "http://me:p%40ssw%C3%B6rd@proxy.example:3128"),
    ],
)
def test_a_urls_password_is_a_secret_as_written_and_as_meant(name: str, url: str) -> None:
    loaded = load({**REQUIRED, name: url})
    assert {url, "p%40ssw%C3%B6rd", "p@sswörd"} <= set(loaded.secrets)
    assert "p%40" not in repr(loaded)
