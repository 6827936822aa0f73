"""Hints about settings, and how their values are shown."""

import pytest

from service import hints, settings
from service.sealing import fingerprint
from service.settings import Secret
from tests.running import SECRET_KEY, environment

TOKEN_URL = "https://accounts.spotify.com/api/token"
OLD = "old-secret-key-0123456789"


def hints_for(**changes: str) -> list[hints.Hint]:
    """Return the hints for valid settings with `changes`."""
    good = {"CLIENT_ID": "0" * 32, "CLIENT_SECRET": "1" * 32}
    environ = environment(TOKEN_URL, **good) | changes
    reading = settings.read(environ)
    assert reading.problems == {}
    return list(hints.find(environ, reading.values))


def sentences(**changes: str) -> str:
    return "; ".join(hint.sentence for hint in hints_for(**changes))


def test_valid_settings_have_no_hint() -> None:
    for changes in (
        {},
        {"RATE_LIMIT": "1/day", "TRUSTED_PROXIES": "::1", "RATE_LIMIT_STORAGE": "redis://a"},
        {"SPOTIFY_AUTHORIZE_URL": "https://accounts.spotify.com/authorize"},
        {"HTTPS_PROXY": "http://a:1", "UPSTREAM_PROXY": "http://a:1"},
        {"HTTPS_PROXY": "", "HTTP_PROXY": "http://a:1"},
        *(
            {"REDIRECT_URI": uri, "ALLOWED_REDIRECT_URIS": uri}
            for uri in (
                "https://app.example.com/callback",
                "http://127.0.0.1:8888/callback",
                "http://[::1]/callback",
                "my-app://callback",
            )
        ),
    ):
        assert hints_for(**changes) == [], changes


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("https://LocalHost/", "localhost, which Spotify refuses: use 127.0.0.1"),
        ("http://192.168.0.7/callback", "must be https: Spotify accepts http only on"),
        ("app.example.com/callback", "is not a URI with a scheme"),
        ("http://[::1/callback", "is not a URI with a scheme"),
        ("http://a b/", "has white space in it"),
        ("https://a.example/ https://b.example/", "has several URIs"),
        ("https://a.example/x;my-app://callback", "has several URIs"),
    ],
)
def test_redirect_uris_that_spotify_refuses(uri: str, hint: str) -> None:
    for name in ("REDIRECT_URI", "ALLOWED_REDIRECT_URIS"):
        text = sentences(**{name: uri})
        assert hint in text
        assert name in text


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"SECRET_KEYS_PREVIOUS": f"{OLD}\n{SECRET_KEY}"}, "contains SECRET_KEY"),
        ({"SECRET_KEY": "1" * 32}, "SECRET_KEY is the client secret"),
        ({"CLIENT_SECRET": "0" * 32}, "CLIENT_ID and CLIENT_SECRET are the same"),
        ({"CLIENT_ID": "0" * 31}, "CLIENT_ID is not 32 hexadecimal digits"),
        ({"CLIENT_SECRET": "g" * 32}, "CLIENT_SECRET is not 32 hexadecimal digits"),
        ({"SPOTIFY_TOKEN_URL": "https://example.com/"}, "SPOTIFY_TOKEN_URL is not Spotify's"),
        ({"SPOTIFY_AUTHORIZE_URL": "https://a/"}, "only one of SPOTIFY_AUTHORIZE_URL and"),
        ({"METRICS_PORT": "7000"}, "METRICS_PORT and PORT are the same"),
        ({"RATE_LIMIT": "1/day"}, "RATE_LIMIT is set without TRUSTED_PROXIES"),
        ({"RATE_LIMIT_STORAGE": "redis://a"}, "RATE_LIMIT_STORAGE has no effect without"),
    ],
    ids=str,
)
def test_likely_mistakes_have_a_hint(changes: dict[str, str], hint: str) -> None:
    assert hint in sentences(**changes)


@pytest.mark.parametrize(
    ("changes", "event", "fields"),
    [
        ({"SECRET_KEY": "x" * 19}, "settings.weak_secret_key", {"minimum_characters": 20}),
        ({"HTTPS_PROXY": "http://u:p@a:1"}, "settings.proxy_unused", {"name": "HTTPS_PROXY"}),
        ({"https_proxy": "http://u:p@a:1"}, "settings.proxy_unused", {"name": "https_proxy"}),
        (
            {"CLIENT_SECERT": "hush", "docs": "x"},
            "settings.misspelt",
            {"names": ["CLIENT_SECERT", "docs"], "suggestions": ["CLIENT_SECRET", "DOCS"]},
        ),
    ],
    ids=str,
)
def test_warnings_are_logged_without_values(
    changes: dict[str, str], event: str, fields: dict[str, object]
) -> None:
    [hint] = hints_for(**changes)
    assert (hint.event, hint.fields) == (event, fields)


@pytest.mark.parametrize(
    ("stray", "description"),
    [
        ("{}\n", "white space"),
        ("'{}'", "a quotation mark"),
        ("{}”", "a quotation mark"),
        ("\ufeff{}", "a byte order mark"),
    ],
    ids=repr,
)
def test_key_with_stray_characters_has_a_warning(stray: str, description: str) -> None:
    [hint] = hints_for(SECRET_KEY=stray.format(SECRET_KEY))
    assert f"SECRET_KEY begins or ends with {description}." in hint.sentence
    assert (hint.event, hint.fields) == ("settings.stray_characters", {"names": ["SECRET_KEY"]})
    assert SECRET_KEY not in hint.sentence


def test_stray_characters_in_several_secrets_are_one_warning() -> None:
    names = ["CLIENT_ID", "CLIENT_SECRET", "SECRET_KEYS_PREVIOUS"]
    changes = dict.fromkeys(names, f'"{OLD}"')
    [warning] = [hint for hint in hints_for(**changes) if hint.event]
    assert warning.fields == {"names": names}


def test_misspelt_name_has_a_suggestion() -> None:
    for name, meant in (
        ("CLIENT_SECERT", "CLIENT_SECRET"),
        ("SPOTFY_TOKEN_URL", "SPOTIFY_TOKEN_URL"),
        ("CLIENT_ID_FLIE", "CLIENT_ID_FILE"),
        ("REDIRECT_URL", "REDIRECT_URI"),
        ("client_secret", "CLIENT_SECRET"),
    ):
        expected = f"{name} is not a setting (ignored). Did you mean {meant}?"
        assert sentences(**{name: "hush"}) == expected


# A shell's, a desktop's, an image's, a CI's, of platforms, of other programs.
OTHERS = """
PATH HOME HOSTNAME HOSTTYPE LOGNAME LANG LC_ALL SHLVL TERM USER PWD OLDPWD SHELL EDITOR PAGER
DISPLAY XDG_RUNTIME_DIR XDG_SESSION_ID SSH_CLIENT SSH_CONNECTION SSH_AUTH_SOCK DOCKER_HOST
PYTHONUNBUFFERED PYTHON_VERSION VIRTUAL_ENV SSL_CERT_FILE SSL_CERT_DIR HTTP_PROXY no_proxy
CI GITHUB_TOKEN GITHUB_REF GITLAB_CI RUNNER_OS DYNO PORT0 PORTS HOSTS SECRET_KEY_BASE SECRETS
K_SERVICE K_REVISION FLY_APP_NAME FLY_REGION AWS_REGION AWS_SECRET_ACCESS_KEY NO_COLOR
GOOGLE_APPLICATION_CREDENTIALS DATABASE_URL REDIS_URL SPOTIPY_CLIENT_ID POD_NAME POD_IP
KUBECONFIG LOG_DIR LOG_FILE DOCS_DIR OTEL_SERVICE_NAME OTEL_LOG_LEVEL UVICORN_HOST WEB_PORT
"""


def test_variables_of_other_programs_and_kubernetes_are_not_misspelt_settings() -> None:
    links: dict[str, str] = {}
    for service in ("KUBERNETES", "SPOTIFY_API_SERVER", "REQUEST", "METRIC"):
        links |= {
            f"{service}_SERVICE_HOST": "10.0.0.1",
            f"{service}_SERVICE_PORT": "80",
            f"{service}_SERVICE_PORT_HTTP": "80",
            f"{service}_PORT": "tcp://10.0.0.1:80",
            f"{service}_PORT_80_TCP": "tcp://10.0.0.1:80",
            f"{service}_PORT_80_TCP_PROTO": "tcp",
            f"{service}_PORT_80_TCP_PORT": "80",
            f"{service}_PORT_80_TCP_ADDR": "10.0.0.1",
        }
    assert hints_for(**links, **dict.fromkeys(OTHERS.split(), "x")) == []


def test_values_are_shown_without_secrets() -> None:
    for field, value, expected in (
        ("client_id", "hush", "set"),
        ("rate_limit_storage", Secret("redis://:hush@a"), "set"),
        ("upstream_proxy", None, "none"),
        ("secret_key", Secret(OLD), f"set, fingerprint {fingerprint(OLD)}"),
        ("secret_key", Secret("x" * 19), "set, short"),
        ("redirect_uri", "https://a.example/x", "https://a.example/x"),
        ("redirect_uri", "https://hush:hush@a.example/", "set, but not a plain URI"),
        ("redirect_uri", "https://a.example/?k=hush", "set, but not a plain URI"),
        ("redirect_uri", "hush-hush", "set, but not a plain URI"),
        ("allowed_redirect_uris", frozenset(["app://b", "app://a"]), "app://a, app://b"),
        ("cors_allow_origins", (), "none"),
        ("docs", True, "true"),
        ("upstream_timeout", 2.5, "2.5"),
        ("drain_seconds", 5.0, "5"),
        ("host", "fe80::1%\x1b[31m", r"'fe80::1%\x1b[31m'"),
    ):
        assert hints.shown(field, value) == expected
