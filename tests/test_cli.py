"""The command line, in processes of its own, at a terminal and in a pipe."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import httpx
import msgspec
import pytest

from service import __version__, check, command, keys
from service.command import EXIT_STATUSES
from service.sealing import Sealer, fingerprint
from service.settings import Settings
from tests.running import CLIENT_ID, CLIENT_SECRET, SECRET_KEY, environment, free_port
from tests.test_main import COMMAND, plain, status

TOKEN_URL = "https://accounts.spotify.com/api/token"
OLD, OLDER, FOREIGN = (f"{age}-secret-key-0123456789" for age in ("old", "older", "foreign"))
KEYS = {"SECRET_KEY": SECRET_KEY, "SECRET_KEYS_PREVIOUS": f"{OLD}\n{OLDER}"}
VECTORS = json.loads(Path("tests/vectors.json").read_text())["vectors"]
ESCAPE = "\x1b["


def run(
    *arguments: str, environ: dict[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=plain(environ or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_check(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return run("check", *arguments, environ=environment(TOKEN_URL, **changes))


def at_terminal(*arguments: str, environ: dict[str, str], until: str = "") -> str:
    """Return what a person at a terminal sees; SIGTERM once `until` is seen."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments], env=plain(environ), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while part := _read(ours):
                seen += part
                if until and until.encode() in seen:
                    process.send_signal(signal.SIGTERM)
                    until = ""
        finally:
            process.kill()
            os.close(ours)
    return seen.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says EIO when the other side is closed
        return b""


# --help and the like


def test_help_tells_every_command_and_every_exit_status() -> None:
    told = run("--help")
    assert told.returncode == 0
    assert EXIT_STATUSES in told.stdout
    for name in ("serve", "check", "keys"):
        assert f"\n    {name} " in told.stdout
        assert run(name, "--help").returncode == 0


def test_the_documented_exit_statuses_are_those_of_help() -> None:
    statuses = re.findall(r"^  (\d+) ", EXIT_STATUSES, re.MULTILINE)
    section = Path("docs/operations.md").read_text().partition("\n## Command line\n")[2]
    documented = re.findall(r"^\| (\d+) \|", section.partition("\n## ")[0], re.MULTILINE)
    assert documented == statuses


def test_version_tells_the_version() -> None:
    told = run("--version")
    assert (told.returncode, told.stdout) == (0, f"spotify-api-server {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [["mystery-token"], ["keys", "mystery-token"], ["check", "--mystery-token"], ["--json"]],
    ids=" ".join,
)
def test_what_it_does_not_understand_ends_with_2_and_is_not_repeated(arguments: list[str]) -> None:
    """A token given as an argument would otherwise be in a terminal's history twice."""
    told = run(*arguments, environ=KEYS)
    assert told.returncode == 2
    assert told.stdout == ""
    assert "can't be understood" in told.stderr
    assert "mystery" not in told.stderr


def test_serve_serves_as_no_command_does(simulator_url: str) -> None:
    port = str(free_port())
    environ = environment(f"{simulator_url}/api/token", PORT=port)
    with subprocess.Popen(
        [*COMMAND, "serve"], env=plain(environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert_serves_and_stops(process, port)


def test_it_serves_and_stops_with_its_standard_streams_closed(simulator_url: str) -> None:
    port = str(free_port())
    environ = environment(f"{simulator_url}/api/token", PORT=port)
    line = f"exec {sys.executable} -m service <&- >&- 2>&-"
    with subprocess.Popen(["/bin/bash", "-c", line], env=plain(environ)) as process:
        assert_serves_and_stops(process, port)


def assert_serves_and_stops(process: subprocess.Popen[bytes], port: str) -> None:
    try:
        while status(f"http://127.0.0.1:{port}", "/readyz") != 200:
            assert process.poll() is None
            time.sleep(0.02)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()


@pytest.mark.parametrize("arguments", [[], ["serve"]], ids=str)
def test_serve_tells_bad_settings_as_no_command_does(arguments: list[str]) -> None:
    told = run(*arguments, environ={"SECRET_KEY": SECRET_KEY})
    assert told.returncode == 78
    assert "CLIENT_ID is required" in told.stderr


def test_serve_is_left_to_the_entry_however_it_is_written() -> None:
    assert command.run(["serve"]) is None


@pytest.mark.parametrize("arguments", ["check", "keys", "keys --json", "--help", "--version"])
@pytest.mark.parametrize(
    ("redirected", "said"),
    [
        (">&-", "Standard output can't be written: it is closed\n"),
        (">/dev/full", "Standard output can't be written: No space left on device\n"),
        (">&- 2>&-", ""),
        ("| true", ""),
    ],
)
def test_what_cannot_be_written_ends_with_1_and_at_most_one_line(
    arguments: str, redirected: str, said: str
) -> None:
    """A reader that has left, such as `head`, is told nothing."""
    told = in_shell(f"sleep 0.2 | {sys.executable} -m service {arguments} {redirected}")
    assert (told.returncode, told.stdout, told.stderr) == (1, "", said)


@pytest.mark.parametrize(
    ("redirected", "said"), [("<&-", "it is closed"), ("0>/dev/null", "Bad file descriptor")]
)
def test_keys_that_can_read_nothing_tells_why_and_ends_with_1(redirected: str, said: str) -> None:
    told = in_shell(f"{sys.executable} -m service keys {redirected}")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == f"Standard input can't be read: {said}\n"


def test_the_exit_status_is_the_same_where_nobody_hears_the_complaint() -> None:
    for arguments, code in (("", 78), ("keys", 78), ("mystery", 2)):
        for redirected in ("2>&-", "2>/dev/full", "2>/dev/full >/dev/full"):
            line = f"unset SECRET_KEY; {sys.executable} -m service {arguments} {redirected}"
            assert in_shell(line).returncode == code


def test_check_escapes_what_standard_output_cannot_encode() -> None:
    line = f"REDIRECT_URI=https://x.example/ü PYTHONIOENCODING=ascii {sys.executable} -m service"
    told = in_shell(f"{line} check")
    assert (told.returncode, told.stderr) == (0, "")
    assert "https://x.example/\\xfc" in told.stdout


def in_shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", line],
        env=plain(environment(TOKEN_URL)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# keys


def tokens(count: int, key: str) -> list[str]:
    return [Sealer(key).seal(f"AQ-refresh-token-{number}") for number in range(count)]


def run_keys(lines: list[str], *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run("keys", *arguments, environ=KEYS | environ, stdin="\n".join(lines) + "\n")


def test_keys_tells_how_many_tokens_each_key_opens() -> None:
    broken = ["", "  ", "not base64!", "QUJD", tokens(1, SECRET_KEY)[0][:-2], "é"]
    lines = [*tokens(5, SECRET_KEY), *tokens(2, OLD), *tokens(3, FOREIGN), *broken]
    told = run_keys(lines, "--json")
    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout) == {
        "tokens": 14,
        "keys": [
            {"key": "current", "fingerprint": fingerprint(SECRET_KEY), "opened": 5},
            {"key": "previous", "fingerprint": fingerprint(OLD), "opened": 2},
            {"key": "previous", "fingerprint": fingerprint(OLDER), "opened": 0},
        ],
        "none": 7,
    }


def test_keys_tells_people_which_key_can_go_and_which_can_not() -> None:
    told = run_keys([*tokens(1500, SECRET_KEY), *tokens(2, OLD), "broken"]).stdout
    assert "Of 1,503 tokens" in told
    assert re.search(rf"current   {fingerprint(SECRET_KEY)} +1,500\n", told)
    assert f"{fingerprint(OLD)} is still needed" in told
    assert f"{fingerprint(OLDER)} opens none of these: if they are all, it can go" in told
    assert re.search(r"none +1\n", told)
    assert f"{fingerprint(SECRET_KEY)} opens none" not in told


def test_keys_of_one_token_speaks_of_one() -> None:
    assert run_keys(tokens(1, OLD)).stdout.startswith("Of 1 token, each key opens:\n")


def test_keys_never_advises_to_take_the_current_key_away() -> None:
    told = run_keys(tokens(1, SECRET_KEY), SECRET_KEYS_PREVIOUS=SECRET_KEY).stdout
    assert f"{fingerprint(SECRET_KEY)} is the current key too" in told
    assert "can go" not in told


def test_keys_advises_nothing_from_what_no_key_opens() -> None:
    told = run_keys(tokens(2, FOREIGN))
    assert told.returncode == 0
    assert "can go" not in told.stdout
    assert "no token of this service's, or its key is gone" in told.stdout


def test_keys_opens_what_the_original_server_sealed() -> None:
    sealed = [vector["ciphertext"] for vector in VECTORS]
    secret_keys = list(dict.fromkeys(vector["secret_key"] for vector in VECTORS))
    previous = "\n".join(secret_keys)
    told = run_keys(sealed, "--json", SECRET_KEY=FOREIGN, SECRET_KEYS_PREVIOUS=previous)
    found = json.loads(told.stdout)
    by_key = [sum(v["secret_key"] == key for v in VECTORS) for key in secret_keys]
    assert [each["opened"] for each in found["keys"]] == [0, *by_key]
    assert found["none"] == 0


def test_keys_takes_windows_line_ends_and_a_last_line_without_any() -> None:
    told = run("keys", "--json", environ=KEYS, stdin="\r\n".join(tokens(3, OLD)))
    assert json.loads(told.stdout)["keys"][1]["opened"] == 3


@pytest.mark.parametrize("stdin", ["", "\n \n"], ids=repr)
def test_keys_without_a_token_tells_nothing_about_keys_and_ends_with_1(stdin: str) -> None:
    told = run("keys", environ=KEYS, stdin=stdin)
    assert told.returncode == 1
    assert "can go" not in told.stdout


def test_keys_wants_nothing_but_keys_and_ends_with_78_without() -> None:
    told = run("keys", environ={"SECRET_KEYS_PREVIOUS_FILE": "/nowhere", "PORT": "nonsense"})
    assert told.returncode == 78
    assert told.stderr.splitlines() == [
        "SECRET_KEY is required",
        "SECRET_KEYS_PREVIOUS_FILE can't be read: No such file or directory",
    ]


def test_keys_at_a_terminal_says_what_it_waits_for() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "keys"], env=plain(KEYS), stdin=theirs, stdout=theirs, stderr=theirs
    ) as waiting:
        os.close(theirs)
        assert b"one a line, then Ctrl-D" in os.read(ours, 4096)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(20) == 130
        os.close(ours)


class _Endless(io.RawIOBase):
    """A stream of `lines` lines and then one of 64 MiB, made as it is read."""

    def __init__(self, line: bytes, lines: int) -> None:
        self._line = line
        self._lines = lines
        self._rest = 64 * 1024 * 1024

    def readline(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 < size <= keys.LINE_LIMIT
        if self._lines:
            self._lines -= 1
            return self._line
        part = min(size, self._rest)
        self._rest -= part
        return b"x" * part


def test_keys_keeps_no_line_however_many_and_however_long() -> None:
    stream = _Endless(tokens(1, OLD)[0].encode() + b"\n", 20_000)
    tracemalloc.start()
    tally = keys.count([SECRET_KEY, OLD], stream)  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1024 * 1024
    assert (tally.tokens, tally.keys[1].opened, tally.none) == (20_001, 20_000, 1)


def test_a_token_at_the_beginning_of_a_line_that_is_too_long_does_not_count() -> None:
    line = tokens(1, OLD)[0].encode().ljust(keys.LINE_LIMIT) + b"\n"
    assert keys.count([OLD], io.BytesIO(line)).none == 1


# check


def test_check_explains_every_setting_with_its_source_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(OLD)
    environ = environment(TOKEN_URL, HOST="127.0.0.2", UPSTREAM_TIMEOUT="2.5")
    del environ["SECRET_KEY"]
    told = run("check", environ=environ | {"SECRET_KEY_FILE": str(tmp_path / "key")})
    assert (told.returncode, told.stderr) == (0, "")
    for field in msgspec.structs.fields(Settings):
        assert f"{field.name.upper()}: " in told.stdout
        assert f"    {check.MEANINGS[field.name]}\n" in told.stdout
    lines = told.stdout.splitlines()
    assert "CLIENT_SECRET: set (from the environment)" in lines
    assert f"SECRET_KEY: set, fingerprint {fingerprint(OLD)} (from SECRET_KEY_FILE)" in lines
    assert "HOST: 127.0.0.2 (from the environment)" in lines
    assert "UPSTREAM_TIMEOUT: 2.5 (from the environment)" in lines
    assert "REQUEST_TIMEOUT: 10" in lines
    assert "CORS_ALLOW_ORIGINS: none" in lines
    assert lines[-1] == "The service starts."
    for secret in (CLIENT_ID, CLIENT_SECRET, OLD):
        assert secret not in told.stdout


def test_check_tells_a_storage_as_set_without_a_fingerprint_that_a_password_could_be_tried_on() -> (
    None
):
    url = "redis://:hush@valkey"
    told = run_check(RATE_LIMIT="1/day", RATE_LIMIT_STORAGE=url).stdout
    assert "RATE_LIMIT_STORAGE: set (from the environment)\n" in told
    assert "hush" not in told
    assert fingerprint(url) not in told
    assert "RATE_LIMIT_STORAGE: none\n" in run_check().stdout


def test_check_has_a_meaning_for_every_setting_and_no_other() -> None:
    assert set(check.MEANINGS) == {field.name for field in msgspec.structs.fields(Settings)}


def test_check_lists_everything_that_is_wrong_and_ends_with_78() -> None:
    told = run(
        "check",
        environ={
            "CLIENT_ID": "x" * 20,
            "CLIENT_SECRET": "hush:hush",
            "PORT": "hush",
            "REDIRECT_URI": "http://localhost/",
            "OTEL_TRACES_EXPORTER": "hush",
        },
    )
    assert told.returncode == 78
    problems = re.findall(r"^problem  (\S+)", told.stdout, re.MULTILINE)
    assert problems == ["SECRET_KEY", "PORT", "OTEL_TRACES_EXPORTER"]
    assert "PORT: see below" in told.stdout
    assert "hint  REDIRECT_URI has the host localhost" in told.stdout
    assert told.stdout.endswith("The service does not start.\n")
    assert "hush" not in told.stdout + told.stderr


def test_check_asks_the_opentelemetry_sdk_too() -> None:
    told = run_check(OTEL_PROPAGATORS="x", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert told.returncode == 78
    assert "OTEL_… can't be used as it is" in told.stdout


def test_check_upstream_asks_nobody_while_settings_are_wrong() -> None:
    told = run_check("--upstream", PORT="x")
    assert told.returncode == 78
    assert told.stdout.endswith("The service does not start.\n")


def hints(**changes: str) -> str:
    """Return the hints, on one line; of settings without any but for `changes`."""
    good = {"CLIENT_ID": "0" * 32, "CLIENT_SECRET": "1" * 32}
    report = check.Report(environment(TOKEN_URL, **good) | changes, colours=False)
    assert report.problems == []
    return "; ".join(report.hints)


def test_check_has_no_hint_where_all_is_well() -> None:
    assert hints() == ""
    assert hints(RATE_LIMIT="1/day", TRUSTED_PROXIES="::1", RATE_LIMIT_STORAGE="redis://a") == ""
    login = "https://accounts.spotify.com/authorize"
    assert hints(TRY_PAGE="true", SPOTIFY_AUTHORIZE_URL=login) == ""


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example.com/callback",
        "http://127.0.0.1:8888/callback",
        "http://[::1]/callback",
        "my-app://callback",
    ],
)
def test_redirect_uris_that_spotify_takes_have_no_hint(uri: str) -> None:
    assert hints(REDIRECT_URI=uri, ALLOWED_REDIRECT_URIS=uri) == ""


@pytest.mark.parametrize("name", ["REDIRECT_URI", "ALLOWED_REDIRECT_URIS"])
@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("http://localhost:8888/callback", "localhost, which Spotify refuses: use 127.0.0.1"),
        ("https://localhost/callback", "localhost, which Spotify refuses: use 127.0.0.1"),
        ("http://LocalHost/", "localhost, which Spotify refuses: use 127.0.0.1"),
        ("http://app.example.com/callback", "must be https: Spotify takes http on 127.0.0.1"),
        ("http://192.168.0.7/callback", "must be https: Spotify takes http on 127.0.0.1"),
        ("app.example.com/callback", "is not a URI with a scheme"),
        ("http://[::1/callback", "is not a URI with a scheme"),
    ],
)
def test_redirect_uris_that_spotify_refuses_are_told(name: str, uri: str, hint: str) -> None:
    told = hints(**{name: uri})
    assert hint in told
    assert name in told


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"SECRET_KEY": "short"}, "SECRET_KEY is shorter than 20 characters"),
        ({"SECRET_KEYS_PREVIOUS": f"{OLD}\n{SECRET_KEY}"}, "has SECRET_KEY in it"),
        ({"SECRET_KEY": "1" * 32}, "SECRET_KEY is the client secret"),
        ({"CLIENT_SECRET": "0" * 32}, "CLIENT_ID and CLIENT_SECRET are the same"),
        ({"CLIENT_ID": "0" * 31}, "CLIENT_ID is not 32 hexadecimal digits"),
        ({"CLIENT_SECRET": "g" * 32}, "CLIENT_SECRET is not 32 hexadecimal digits"),
        ({"SPOTIFY_TOKEN_URL": "https://example.com/"}, "SPOTIFY_TOKEN_URL is not Spotify's"),
        ({"METRICS_PORT": "7000"}, "METRICS_PORT is PORT"),
        ({"RATE_LIMIT": "1/day"}, "RATE_LIMIT is set without TRUSTED_PROXIES"),
        ({"TRUSTED_PROXIES": "::1"}, "TRUSTED_PROXIES is of no use without RATE_LIMIT"),
        ({"RATE_LIMIT_STORAGE": "redis://a"}, "RATE_LIMIT_STORAGE is of no use without RATE_LIMIT"),
        ({"SPOTIFY_AUTHORIZE_URL": "https://a/"}, "SPOTIFY_AUTHORIZE_URL is of no use without"),
        (
            {"SPOTIFY_AUTHORIZE_URL": "https://a.example/", "TRY_PAGE": "true"},
            "only one of SPOTIFY_AUTHORIZE_URL and SPOTIFY_TOKEN_URL is Spotify's",
        ),
    ],
    ids=str,
)
def test_what_looks_wrong_is_told_with_what_to_do(changes: dict[str, str], hint: str) -> None:
    assert hint in hints(**changes)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CLIENT_SECERT", "CLIENT_SECRET"),
        ("SPOTFY_TOKEN_URL", "SPOTIFY_TOKEN_URL"),
        ("ALOWED_REDIRECT_URIS", "ALLOWED_REDIRECT_URIS"),
        ("CLIENT_ID_FLIE", "CLIENT_ID_FILE"),
        ("REDIRECT_URL", "REDIRECT_URI"),
        ("client_secret", "CLIENT_SECRET"),
        ("Docs", "DOCS"),
    ],
)
def test_a_name_that_is_nearly_a_settings_is_told_without_its_value(name: str, meant: str) -> None:
    told = run_check(**{name: "hush"})
    assert (told.returncode, told.stderr) == (0, "")
    said = " ".join(told.stdout.split())
    assert f"hint {name} is no setting, and not read: did you mean {meant}?" in said
    assert "hush" not in told.stdout


def test_a_terminal_does_not_obey_the_name_of_a_variable() -> None:
    told = at_terminal("check", environ=environment(TOKEN_URL, **{"CLIENT_SECRET\x07": ""}))
    assert r"'CLIENT_SECRET\x07' is no setting" in " ".join(told.split())


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


def test_other_programs_variables_and_kubernetes_service_links_are_no_misspelt_settings() -> None:
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
    assert hints(**links, **dict.fromkeys(OTHERS.split(), "x")) == ""


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(Settings)])
@pytest.mark.parametrize("value", ["fe80::1%{}", "x{}", "https://[fe80::1%{}]/", "https://x/{}"])
def test_a_terminal_does_not_obey_a_value(field: str, value: str) -> None:
    """Whether it is taken for a setting or not; C1 controls are obeyed as escapes are."""
    for control in ("\x1b[31m", "\x07", "\x9b31m", "\u202e"):
        environ = {"SECRET_KEY": SECRET_KEY, field.upper(): value.format(control)}
        told = "".join(check.Report(environ, colours=False).text())
        assert told.replace("\n", "").isprintable()


def test_what_may_be_no_redirect_uri_is_not_shown() -> None:
    for value in ("hush-hush", "https://hush:hush@app.example/", "https://app.example/?k=hush"):
        told = run_check(REDIRECT_URI=value, ALLOWED_REDIRECT_URIS=value)
        assert told.stdout.count("set, but not a plain URI") >= 2
        assert "hush" not in told.stdout


# check --upstream


def upstream(simulator_url: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environ = environment(f"{simulator_url}/api/token", UPSTREAM_TIMEOUT="1", **changes)
    return run("check", "--upstream", environ=environ)


def last_line(told: subprocess.CompletedProcess[str]) -> str:
    return told.stdout.splitlines()[-1]


def test_upstream_that_takes_the_credentials_is_told_and_asked_once(
    simulator_url: str, simulator: httpx.Client
) -> None:
    told = upstream(simulator_url)
    assert (told.returncode, told.stderr) == (0, "")
    said = r"127.0.0.1:\d+: answered 200 after \d+ ms: .*CLIENT_ID and CLIENT_SECRET are right"
    assert re.fullmatch(said, last_line(told))
    [request] = simulator.get("/admin/requests").json()
    assert request["form"] == [["grant_type", "client_credentials"]]


def test_upstream_that_does_not_know_the_credentials_is_told_with_1(
    simulator_url: str, simulator: httpx.Client
) -> None:
    assert simulator.get("/healthz").is_success
    told = upstream(simulator_url, CLIENT_SECRET="another-client-secret")
    assert told.returncode == 1
    assert "CLIENT_ID or CLIENT_SECRET is wrong" in last_line(told)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "status", "status": 503}, "answered 503"),
        ({"kind": "silence"}, "no answer within UPSTREAM_TIMEOUT, 1 s"),
        ({"kind": "close"}, "Spotify could not be reached"),
        ({"kind": "answer", "status": 200, "body": "<html>"}, "is no token endpoint"),
        ({"kind": "answer", "status": 200, "body": "{}"}, "is no token endpoint"),
        ({"kind": "answer", "status": 302, "body": ""}, "is no token endpoint"),
        ({"kind": "answer", "status": 429, "body": '{"error":"slow_down"}'}, "slow_down"),
    ],
    ids=str,
)
def test_upstream_that_fails_is_told_with_1(
    simulator_url: str, simulator: httpx.Client, fault: dict[str, object], said: str
) -> None:
    simulator.post("/admin/faults", json=[fault] * 2).raise_for_status()
    told = upstream(simulator_url)
    assert (told.returncode, told.stderr) == (1, "")
    assert said in last_line(told)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1/", "nothing listens there"),
        ("https://nowhere.invalid/", "its name can't be resolved"),
    ],
)
def test_upstream_that_is_not_there_is_told_with_why(url: str, said: str) -> None:
    told = run("check", "--upstream", environ=environment(url))
    assert told.returncode == 1
    assert last_line(told).endswith(f"Spotify could not be reached: {said}")


# Terminals


def test_check_is_coloured_on_a_terminal_only_and_not_with_no_color() -> None:
    environ = environment(TOKEN_URL, PORT="x")
    coloured = at_terminal("check", environ=environ | {"TERM": "xterm"})
    assert f"{ESCAPE}31mproblem{ESCAPE}0m" in coloured
    assert ESCAPE not in run("check", environ=environ | {"TERM": "xterm"}).stdout
    for quiet in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        told = at_terminal("check", environ=environ | quiet)
        assert "problem  PORT must be" in told
        assert ESCAPE not in told


STARTED = "server.started"


def log_at_terminal(**changes: str) -> str:
    environ = environment("http://127.0.0.1:1/", PORT="0", **changes)
    return at_terminal(environ=environ, until=STARTED)


def test_the_log_at_a_terminal_is_for_a_person() -> None:
    seen = log_at_terminal(TERM="xterm", SECRET_KEY="short")
    assert ESCAPE in seen
    plainly = re.sub(r"\x1b\[[0-9;]*m", "", seen)
    time_of_day = r"\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.search(rf"^{time_of_day} \[warning *\] settings.weak_secret_key", plainly)
    assert re.search(rf"\n{time_of_day} \[notice *\] server.started +version=1", plainly)
    assert "server.stopped" in plainly


def test_no_color_is_honoured_in_the_log() -> None:
    seen = log_at_terminal(NO_COLOR="1")
    assert ESCAPE not in seen
    assert "[notice" in seen


def test_json_can_be_had_at_a_terminal() -> None:
    seen = log_at_terminal(LOG_FORMAT="json")
    events = [json.loads(line)["event"] for line in seen.splitlines()]
    assert events == ["server.started", "server.draining", "server.stopped"]


def test_console_can_be_had_in_a_pipe_and_is_not_coloured_there() -> None:
    environ = environment("http://127.0.0.1:1/", LOG_FORMAT="Console", HOST="192.0.2.1")
    told = run(environ=environ | {"TERM": "xterm"})
    assert told.returncode == 1
    assert re.fullmatch(r"\S+ \[error *\] server.failed .*\n", told.stdout)
