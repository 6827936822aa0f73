"""The command line as a process, at a terminal and in a pipe."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import msgspec
import pytest

from service import __version__
from service.cli import EXIT_STATUSES
from service.sealing import Sealer, fingerprint
from service.settings import Settings
from tests.fakes import HeldSpotify
from tests.running import (
    CLIENT_ID,
    CLIENT_SECRET,
    COMMAND,
    SECRET_KEY,
    environment,
    free_port,
    minimal_environ,
    wait_until_ready,
)

TOKEN_URL = "https://accounts.spotify.com/api/token"
OLD, OLDER, FOREIGN = (f"{age}-secret-key-0123456789" for age in ("old", "older", "foreign"))
KEYS = {"SECRET_KEY": SECRET_KEY, "SECRET_KEYS_PREVIOUS": f"{OLD}\n{OLDER}"}
VECTORS = json.loads(Path("tests/vectors.json").read_text())["vectors"]
ESCAPE = "\x1b["

Ended = subprocess.CompletedProcess[str]


def run(*arguments: str, environ: dict[str, str] | None = None, stdin: str = "") -> Ended:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=minimal_environ(environ or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_check(*arguments: str, **changes: str) -> Ended:
    return run("check", *arguments, environ=environment(TOKEN_URL, **changes))


def in_shell(line: str) -> Ended:
    return subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", line],
        env=minimal_environ(environment(TOKEN_URL)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def at_terminal(*arguments: str, environ: dict[str, str], until: str = "") -> str:
    """Return the output at a terminal; SIGTERM is sent once `until` is part of it."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=minimal_environ(environ),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
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
    except OSError:  # Linux returns EIO when the other side is closed
        return b""


# Arguments


def test_help_lists_commands_and_exit_statuses() -> None:
    ended = run("--help")
    assert ended.returncode == 0
    assert EXIT_STATUSES in ended.stdout
    for name in ("serve", "check", "keys", "seal"):
        assert f"\n    {name} " in ended.stdout


def test_version() -> None:
    ended = run("--version")
    assert (ended.returncode, ended.stdout) == (0, f"spotify-api-server {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chek"], r"invalid choice: 'chek' \(choose from .*check.*keys.*seal"),
        (["check", "--upstrem"], "unrecognized arguments: --upstrem"),
        (["seal", "AQ-mystery-refresh-token"], "error: invalid arguments\n"),
    ],
    ids=str,
)
def test_usage_error_names_the_argument_unless_it_may_be_a_token(
    arguments: list[str], message: str
) -> None:
    ended = run(*arguments, environ=KEYS)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "{serve,check,keys,seal}" in ended.stderr
    assert re.search(message, ended.stderr)
    assert "mystery" not in ended.stderr


# serve


def test_serve_needs_no_standard_streams(simulator_url: str) -> None:
    port = str(free_port())
    environ = environment(f"{simulator_url}/api/token", PORT=port)
    line = f"exec {sys.executable} -m service serve <&- >&- 2>&-"
    with subprocess.Popen(["/bin/bash", "-c", line], env=minimal_environ(environ)) as process:
        try:
            wait_until_ready(process, f"http://127.0.0.1:{port}")
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_invalid_settings_are_one_json_line_with_json_logs() -> None:
    for changes in ({}, {"LOG_FORMAT": "nonsense"}):
        ended = run("serve", environ={"PORT": "hush", **changes})
        assert (ended.returncode, ended.stderr) == (78, "")
        [line] = map(json.loads, ended.stdout.splitlines())
        assert line["event"] == "settings.invalid"
        assert "CLIENT_ID is required" in line["problems"]
        assert "hush" not in ended.stdout


def test_invalid_settings_are_text_with_console_logs() -> None:
    ended = run(environ={"PORT": "hush", "LOG_FORMAT": "console"})
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "\n  CLIENT_ID is required\n" in ended.stderr
    assert "{" not in ended.stderr
    assert "hush" not in ended.stderr


def test_invalid_settings_are_text_at_a_terminal_unless_logs_are_json() -> None:
    seen = at_terminal(environ={"PORT": "x"})
    assert "  CLIENT_ID is required" in seen
    assert seen.count("PORT must be") == 1
    seen = at_terminal(environ={"PORT": "x", "LOG_FORMAT": "json"})
    assert [json.loads(line)["event"] for line in seen.splitlines()] == ["settings.invalid"]


def test_each_warning_is_one_log_line_before_the_start() -> None:
    environ = environment(
        "http://127.0.0.1:1/",
        HOST="192.0.2.1",
        SECRET_KEY='"hush"',
        HTTPS_PROXY="http://hush:hush@a:1",
        CLIENT_SECERT="hush",
    )
    ended = run(environ=environ)
    assert (ended.returncode, ended.stderr) == (1, "")
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["event"] for line in lines] == [
        "settings.misspelt",
        "settings.weak_secret_key",
        "settings.stray_characters",
        "settings.proxy_unused",
        "server.failed",
    ]
    assert {line["level"] for line in lines[:-1]} == {"warning"}
    assert "hush" not in ended.stdout


def test_misspelt_name_is_logged_also_if_the_service_does_not_start() -> None:
    ended = run(environ={"CLIENT_SECERT": "hush", "CLIENT_ID\udcff": "hush"})
    assert ended.returncode == 78
    warning = json.loads(ended.stdout.splitlines()[0])
    assert (warning["event"], warning["level"]) == ("settings.misspelt", "warning")
    assert warning["names"] == ["'CLIENT_ID\\udcff'", "CLIENT_SECERT"]
    assert warning["suggestions"] == ["CLIENT_ID", "CLIENT_SECRET"]
    assert "hush" not in ended.stdout + ended.stderr


# Standard streams


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("keys --json >&-", "Standard output can't be written: it is closed\n"),
        ("--help >/dev/full", "Standard output can't be written: No space left on device\n"),
        ("check >&- 2>&-", ""),
        ("keys <&-", "Standard input can't be read: it is closed\n"),
        ("seal 0>/dev/null", "Standard input can't be read: Bad file descriptor\n"),
    ],
)
def test_standard_stream_that_cannot_be_used_ends_with_1(line: str, message: str) -> None:
    ended = in_shell(f"echo token | {{ {sys.executable} -m service {line}; }}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", message)


def test_closed_pipe_prints_no_message() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, "check"]
    environ = minimal_environ(environment(TOKEN_URL))
    with open(writing, "wb") as output:  # noqa: PTH123 - a file descriptor
        ended = subprocess.run(
            command, env=environ, stdout=output, stderr=subprocess.PIPE, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("arguments", "redirected", "code"),
    [("", "2>&-", 78), ("keys", "2>/dev/full", 78), ("mystery", "2>/dev/full >/dev/full", 2)],
)
def test_exit_status_does_not_depend_on_standard_error(
    arguments: str, redirected: str, code: int
) -> None:
    line = f"unset SECRET_KEY; {sys.executable} -m service {arguments} {redirected}"
    assert in_shell(line).returncode == code


def test_characters_that_standard_output_cannot_encode_are_escaped() -> None:
    line = f"REDIRECT_URI=https://x.example/ü PYTHONIOENCODING=ascii {sys.executable} -m service"
    ended = in_shell(f"{line} check")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "https://x.example/\\xfc" in ended.stdout


def press_ctrl_c(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt `process`, again if it missed it: Python may, just before it begins to read."""
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return


def test_command_that_waits_at_a_terminal_names_its_input() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "keys"], env=minimal_environ(KEYS), stdin=theirs, stdout=theirs, stderr=theirs
    ) as waiting:
        os.close(theirs)
        try:
            assert b"one a line, then Ctrl-D" in os.read(ours, 4096)
            press_ctrl_c(waiting)
            assert waiting.returncode == 130
        finally:
            waiting.kill()
            os.close(ours)


# keys


def sealed(count: int, key: str) -> list[str]:
    return [Sealer(key).seal(f"AQ-refresh-token-{number}") for number in range(count)]


def run_keys(lines: list[str], *arguments: str, **environ: str) -> Ended:
    """Run `keys` with line ends of Windows, and none after the last line."""
    return run("keys", *arguments, environ=KEYS | environ, stdin="\r\n".join(lines))


def test_keys_counts_how_many_tokens_each_key_opens() -> None:
    token = sealed(1, SECRET_KEY)[0]
    broken = ["", "  ", "not base64!", "QUJD", token[:-2], "é", token.ljust(16 * 1024), "x" * 10**6]
    lines = [*sealed(5, SECRET_KEY), *sealed(2, OLD), *sealed(3, FOREIGN), *broken]
    ended = run_keys(lines, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout) == {
        "tokens": 16,
        "keys": [
            {"key": "current", "fingerprint": fingerprint(SECRET_KEY), "opened": 5},
            {"key": "previous", "fingerprint": fingerprint(OLD), "opened": 2},
            {"key": "previous", "fingerprint": fingerprint(OLDER), "opened": 0},
        ],
        "none": 9,
    }


def test_keys_explains_which_key_can_be_removed() -> None:
    text = run_keys([*sealed(1500, SECRET_KEY), *sealed(2, OLD), "broken"]).stdout
    assert "Of 1,503 tokens" in text
    assert re.search(rf"current   {fingerprint(SECRET_KEY)} +1,500\n", text)
    assert f"Previous key {fingerprint(OLD)} is still needed" in text
    assert f"Previous key {fingerprint(OLDER)} opens none: remove it" in text
    assert re.search(r"none +1\n", text)


def test_keys_never_advises_to_remove_the_current_key() -> None:
    text = run_keys(sealed(1, SECRET_KEY), SECRET_KEYS_PREVIOUS=SECRET_KEY).stdout
    assert text.startswith("Of 1 token, each key opens:\n")
    assert f"{fingerprint(SECRET_KEY)} is also the current key" in text
    assert "remove" not in text


def test_keys_advises_nothing_if_no_key_opens_a_token() -> None:
    ended = run_keys(sealed(2, FOREIGN))
    assert ended.returncode == 0
    assert "remove" not in ended.stdout
    assert "not from this service, or their key is missing" in ended.stdout


def test_keys_shows_no_fingerprint_of_a_short_key() -> None:
    tokens, environ = sealed(1, "short"), {"SECRET_KEYS_PREVIOUS": "short\nbrief"}
    [_, *previous] = json.loads(run_keys(tokens, "--json", **environ).stdout)["keys"]
    assert [key["fingerprint"] for key in previous] == ["", ""]
    text = run_keys(tokens, **environ).stdout
    assert "Previous key no. 1 is still needed" in text
    assert "Previous key no. 2 opens none" in text


def test_keys_opens_what_the_original_server_sealed() -> None:
    lines = [vector["ciphertext"] for vector in VECTORS]
    keys = list(dict.fromkeys(vector["secret_key"] for vector in VECTORS))
    previous = "\n".join(keys)
    ended = run_keys(lines, "--json", SECRET_KEY=FOREIGN, SECRET_KEYS_PREVIOUS=previous)
    count = json.loads(ended.stdout)
    by_key = [sum(vector["secret_key"] == key for vector in VECTORS) for key in keys]
    assert [each["opened"] for each in count["keys"]] == [0, *by_key]
    assert count["none"] == 0


@pytest.mark.parametrize(("command", "stdin"), [("keys", "\n \n"), ("seal", "")])
def test_empty_standard_input_ends_with_1(command: str, stdin: str) -> None:
    ended = run(command, environ=KEYS, stdin=stdin)
    assert ended.returncode == 1
    assert (ended.stdout, ended.stderr) == ("", "No tokens on standard input\n")


def test_keys_requires_only_the_keys() -> None:
    environ = {"SECRET_KEYS_PREVIOUS_FILE": "/nowhere", "PORT": "nonsense"}
    ended = run("keys", environ=environ)
    assert ended.returncode == 78
    assert ended.stderr.splitlines() == [
        "SECRET_KEY is required",
        "SECRET_KEYS_PREVIOUS_FILE can't be read: No such file or directory",
    ]


# seal


def run_seal(stdin: str) -> Ended:
    return run("seal", environ=KEYS, stdin=stdin)


def test_seal_encrypts_each_line_in_order() -> None:
    tokens = [f"AQ-{number}" + "x" * number for number in range(300)]
    ended = run_seal("\r\n".join(tokens))
    assert (ended.returncode, ended.stderr) == (0, "")
    opened = map(Sealer(SECRET_KEY).open, ended.stdout.splitlines())
    assert [each.token for each in opened] == tokens


NO_TOKENS = {
    "is blank": " \t",
    "is longer than 8,192 bytes": "mystery" * 2000,
    "begins or ends with a quotation mark": '"mystery"',
    "has white space or characters outside ASCII in it": "mystéry",
    "is encrypted already": sealed(1, OLD)[0],
}


@pytest.mark.parametrize("problem", NO_TOKENS)
def test_seal_stops_at_a_line_that_is_not_a_token_and_names_it(problem: str) -> None:
    ended = run_seal(f"AQ-one\nAQ-two\n{NO_TOKENS[problem]}\nAQ-four\n")
    assert ended.returncode == 1
    assert len(ended.stdout.splitlines()) == 2
    assert ended.stderr == f"Line 3 {problem}. It and those after it are not encrypted.\n"


# check


def group(ended: Ended, title: str) -> list[str]:
    """Return the lines of a group in the report, white space collapsed."""
    text = ended.stdout.partition(f"\n{title}\n")[2].partition("\n\n")[0]
    return [" ".join(line.split()) for line in text.splitlines()]


def test_check_groups_settings_with_sources_and_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(OLD)
    environ = environment(TOKEN_URL, HOST="127.0.0.2", UPSTREAM_TIMEOUT="2.5")
    del environ["SECRET_KEY"]
    ended = run("check", environ=environ | {"SECRET_KEY_FILE": str(tmp_path / "key")})
    assert (ended.returncode, ended.stderr) == (0, "")
    for field in msgspec.structs.fields(Settings):
        assert len(re.findall(rf"^  {field.name.upper()} ", ended.stdout, re.MULTILINE)) == 1
    key = fingerprint(OLD)
    assert group(ended, "Required") == [
        "CLIENT_ID set from Spotify's dashboard",
        "CLIENT_SECRET set from Spotify's dashboard",
        f"SECRET_KEY set, fingerprint {key} (from SECRET_KEY_FILE) encrypts refresh tokens",
    ]
    assert "HOST 127.0.0.2 address to listen on" in group(ended, "Set")
    assert "DRAIN_SECONDS 0 seconds from SIGTERM to the end of accepting" in group(ended, "Set")
    assert "PORT 7000 port to listen on" in group(ended, "Defaults")
    assert ended.stdout.endswith("\nThe service starts.\n")
    for secret in (CLIENT_ID, CLIENT_SECRET, OLD):
        assert secret not in ended.stdout


def test_check_has_no_heading_without_settings() -> None:
    required = {"CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET, "SECRET_KEY": OLD}
    ended = run("check", environ=required)
    assert re.findall(r"^[A-Z]\w+$", ended.stdout, re.MULTILINE) == ["Required", "Defaults"]


def test_check_lists_every_problem_and_ends_with_78() -> None:
    ended = run(
        "check",
        environ={
            "CLIENT_ID": "x" * 20,
            "CLIENT_SECRET": "hush hush ",
            "PORT": "hush",
            "REDIRECT_URI": "http://localhost/",
            "OTEL_TRACES_EXPORTER": "hush",
        },
    )
    assert ended.returncode == 78
    problems = re.findall(r"^problem  (\S+)", ended.stdout, re.MULTILINE)
    assert problems == ["CLIENT_SECRET", "SECRET_KEY", "PORT", "OTEL_TRACES_EXPORTER"]
    assert "SECRET_KEY missing encrypts refresh tokens" in group(ended, "Required")
    assert "PORT invalid port to listen on" in group(ended, "Set")
    assert "hint  REDIRECT_URI has the host localhost" in ended.stdout
    assert ended.stdout.endswith("The service does not start.\n")
    assert "hush" not in ended.stdout + ended.stderr


def test_check_lists_what_the_opentelemetry_sdk_refuses() -> None:
    """Only the SDK knows that its queue may not be shorter than a batch."""
    ended = run_check(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_BSP_MAX_QUEUE_SIZE="1")
    assert ended.returncode == 78
    assert "problem  OTEL_… can't be used as it is" in ended.stdout


def test_check_shows_a_hint_without_the_value() -> None:
    ended = run_check(CLIENT_SECERT="hush", SECRET_KEY='"hush"', REDIRECT_URI="hush-hush")
    assert ended.returncode == 0
    text = " ".join(ended.stdout.split())
    assert "hint CLIENT_SECERT is not a setting (ignored)." in text
    assert "SECRET_KEY begins or ends with a quotation mark." in text
    assert "hint SECRET_KEY is shorter than 20 characters" in text
    assert "set, but not a plain URI" in text
    assert "hush" not in text


def test_check_prints_no_control_characters() -> None:
    """Terminals obey C1 controls as they obey escapes."""
    control = "\x1b[31m\x07\x9b31m\u202e"
    values = {field.name.upper(): f"x{control}" for field in msgspec.structs.fields(Settings)}
    values |= {"HOST": f"fe80::1%{control}", "REDIRECT_URI": f"https://x.example/{control}"}
    seen = run("check", environ=values | {f"CLIENT_SECRET{control}": ""}).stdout
    assert seen.replace("\n", "").isprintable()


# check --upstream


def upstream(simulator_url: str, **changes: str) -> Ended:
    environ = environment(f"{simulator_url}/api/token", **changes)
    return run("check", "--upstream", environ=environ)


def last_line(ended: Ended) -> str:
    return ended.stdout.splitlines()[-1]


def test_check_upstream_makes_no_request_while_settings_are_wrong() -> None:
    ended = run_check("--upstream", PORT="x")
    assert ended.returncode == 78
    assert ended.stdout.endswith("The service does not start.\n")


def test_check_upstream_reports_accepted_credentials(
    simulator_url: str, simulator: httpx.Client
) -> None:
    ended = upstream(simulator_url)
    assert (ended.returncode, ended.stderr) == (0, "")
    expected = r"127.0.0.1:\d+: status 200 after \d+ ms, CLIENT_ID and CLIENT_SECRET are right"
    assert re.fullmatch(expected, last_line(ended))
    [request] = simulator.get("/admin/requests").json()
    assert request["form"] == [["grant_type", "client_credentials"]]


def test_check_upstream_reports_refused_credentials(
    simulator_url: str, simulator: httpx.Client
) -> None:
    assert simulator.get("/healthz").is_success
    ended = upstream(simulator_url, CLIENT_SECRET="another-client-secret")
    assert ended.returncode == 1
    assert "CLIENT_ID or CLIENT_SECRET is wrong" in last_line(ended)


@pytest.mark.parametrize(
    ("fault", "explanation"),
    [
        ({"kind": "close"}, "Spotify could not be reached"),
        ({"kind": "answer", "status": 200, "body": "<html>"}, "this is not a token endpoint"),
        ({"kind": "answer", "status": 200, "body": "{}"}, "this is not a token endpoint"),
        ({"kind": "answer", "status": 429, "body": '{"error":"slow_down"}'}, "slow_down"),
    ],
    ids=str,
)
def test_check_upstream_reports_a_server_error(
    simulator_url: str, simulator: httpx.Client, fault: dict[str, object], explanation: str
) -> None:
    simulator.post("/admin/faults", json=[fault] * 2).raise_for_status()
    ended = upstream(simulator_url)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert explanation in last_line(ended)


def test_check_upstream_reports_a_timeout() -> None:
    with HeldSpotify() as spotify:
        ended = upstream(spotify.url, UPSTREAM_TIMEOUT="0.5")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert last_line(ended).endswith("no response within UPSTREAM_TIMEOUT, 0.5 s")


@pytest.mark.parametrize(
    ("url", "explanation"),
    [
        ("http://127.0.0.1:1/", "nothing listens there"),
        # No resolver asks a name server for .onion (RFC 7686, section 2).
        ("https://nowhere.onion/", "its name can't be resolved"),
    ],
)
def test_check_upstream_reports_a_connection_error(url: str, explanation: str) -> None:
    ended = run("check", "--upstream", environ=environment(url))
    assert ended.returncode == 1
    assert last_line(ended).endswith(f"Spotify could not be reached: {explanation}")


def test_check_upstream_names_the_proxy_without_its_password() -> None:
    proxy = "http://user:hush@127.0.0.1:1/"
    environ = environment("http://127.0.0.1:1/", UPSTREAM_PROXY=proxy)
    ended = run("check", "--upstream", environ=environ)
    assert ended.returncode == 1
    assert "through the proxy 127.0.0.1:1: " in last_line(ended)
    assert "hush" not in ended.stdout + ended.stderr


# Terminals


def test_check_is_coloured_on_a_terminal_only() -> None:
    environ = environment(TOKEN_URL, PORT="x")
    coloured = at_terminal("check", environ=environ | {"TERM": "xterm"})
    assert f"{ESCAPE}31mproblem{ESCAPE}0m" in coloured
    assert ESCAPE not in run("check", environ=environ | {"TERM": "xterm"}).stdout
    for quiet in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert ESCAPE not in at_terminal("check", environ=environ | quiet)


def log_at_terminal(**changes: str) -> str:
    environ = environment("http://127.0.0.1:1/", PORT="0", **changes)
    return at_terminal(environ=environ, until="server.started")


def test_log_at_a_terminal_is_console_text() -> None:
    seen = log_at_terminal(TERM="xterm", SECRET_KEY="short")
    assert ESCAPE in seen
    plainly = re.sub(r"\x1b\[[0-9;]*m", "", seen)
    time_of_day = r"\d\d:\d\d:\d\d\.\d{6}Z"
    assert re.search(rf"^{time_of_day} \[warning *\] settings.weak_secret_key", plainly)
    assert re.search(rf"\n{time_of_day} \[notice *\] server.started +version=1", plainly)
    assert "server.stopped" in plainly


def test_log_at_a_terminal_can_be_json() -> None:
    seen = log_at_terminal(LOG_FORMAT="json")
    events = [json.loads(line)["event"] for line in seen.splitlines()]
    assert events == ["server.started", "server.draining", "server.stopped"]


def test_log_in_a_pipe_can_be_console_and_has_no_colours() -> None:
    environ = environment("http://127.0.0.1:1/", LOG_FORMAT="Console", HOST="192.0.2.1")
    ended = run(environ=environ | {"TERM": "xterm"})
    assert ended.returncode == 1
    assert re.fullmatch(r"\S+ \[error *\] server.failed .*\n", ended.stdout)
