"""The command line: `serve`, `check`, `keys` and `seal`.

`serve` writes log lines. The other commands write plain text: reports and tokens to standard
output, errors to standard error. None of them prints a secret; uncaught exceptions go through
`logs`, which leaves out their texts and values.
"""

import argparse
import asyncio
import contextlib
import os
import re
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NoReturn
from urllib.parse import urlsplit

import msgspec

from service import __version__, hints, logs, settings
from service.errors import ServiceError, UndecryptableToken, UpstreamTimeout
from service.hints import Hint
from service.logs import has_colours, is_terminal, log
from service.sealing import Sealer, key_names
from service.settings import Reading, Settings, SettingsError

OK: Final = 0
FAILED: Final = 1
EX_CONFIG: Final = 78
INTERRUPTED: Final = 130

EXIT_STATUSES: Final = """\
exit status:
  0    success; for serve: stopped by a signal, every request completed
  1    serve: can't listen on the port; check --upstream: Spotify can't be reached or
       refuses the credentials; keys: no tokens; seal: no tokens, or a line that is
       not one; all but serve: standard input or output can't be used
  2    invalid arguments
  78   settings are missing or invalid (EX_CONFIG)
  130  check, keys, seal: interrupted by Ctrl-C
"""
_DESCRIPTION: Final = """\
Exchanges authorization codes and encrypted ("sealed") refresh tokens for Spotify's tokens.
Without a command, it serves. Settings come from the environment; check explains them.
"""
_CHECK: Final = """\
Print every setting, where it comes from and what it means, without any secret; then problems,
which stop the start, and hints. Does not start the service.
"""
_UPSTREAM: Final = """\
also fetch an app access token (client credentials) from Spotify and discard it: shows whether
Spotify can be reached and accepts CLIENT_ID and CLIENT_SECRET
"""
_KEYS: Final = """\
Read sealed refresh tokens from standard input, one a line, and count how many of them each key
opens: SECRET_KEY, then those of SECRET_KEYS_PREVIOUS. Needs no other setting, makes no request.
"""
_SEAL: Final = """\
Read refresh tokens as Spotify issued them from standard input, one a line, and write each
encrypted with SECRET_KEY to standard output, in the same order. Stops at the first line that is
not a refresh token, such as a blank one. Needs no other setting, makes no request.
"""
_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_WIDTH: Final = 80
_LONG: Final = 20
_SEALED_LIMIT: Final = 16 * 1024
"""Bytes of a line for `keys`: a longer token would not fit into a request."""
_RAW_LIMIT: Final = 8 * 1024
"""Bytes of a line for `seal`: a longer one, encrypted, would not fit into a request."""
# By the type of an exception or of one of its causes; the first match in this order wins.
_CAUSES: Final = {
    "ProxyError": "the proxy refuses the connection",
    "ClientHttpProxyError": "the proxy refuses the connection",
    "ClientProxyConnectionError": "the proxy can't be reached",
    "gaierror": "its name can't be resolved",
    "ClientConnectorDNSError": "its name can't be resolved",
    "SSLCertVerificationError": "its certificate can't be verified; SSL_CERT_FILE names another CA",
    "ConnectionRefusedError": "nothing listens there",
}


class CommandError(Exception):
    """The command ends with FAILED; the text goes to standard error, unless it is empty."""


def main(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name and return the exit status."""
    try:
        parsed = _parser().parse_args(arguments)
        if parsed.version:
            return _say(f"spotify-api-server {__version__}\n")
        logs.configure(level="error")  # serve configures them again
        status: int = parsed.run(parsed)
    except SettingsError as error:
        _complain("".join(f"{problem}\n" for problem in error.problems))
        return EX_CONFIG
    except CommandError as error:
        _complain(f"{error}\n" if str(error) else "")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    else:
        return status
    finally:
        _flush_standard_streams()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with status 2.

        NOTE: dropping some messages is intentional: they quote arguments, and a long argument is
        probably a token or a key that was meant for standard input.
        """
        secret = any(len(argument) >= _LONG for argument in sys.argv[1:])
        super().error("invalid arguments" if secret else message)

    def print_help(self, file: object = None) -> None:  # noqa: ARG002
        """Print the help, or fail if standard output can't be written."""
        _say(self.format_help())


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        "python -m service", description=_DESCRIPTION, epilog=EXIT_STATUSES, formatter_class=raw
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="commands", dest="command")
    commands.add_parser("serve", help="serve; the default", description="Serve.")
    check = commands.add_parser("check", help="explain the settings", description=_CHECK)
    check.add_argument("--upstream", action="store_true", help=_UPSTREAM)
    check.set_defaults(run=_check)
    keys = commands.add_parser("keys", help="show which keys open tokens", description=_KEYS)
    keys.add_argument("--json", action="store_true", help="print one JSON object")
    keys.set_defaults(run=_keys)
    seal = commands.add_parser("seal", help="encrypt refresh tokens", description=_SEAL)
    seal.set_defaults(run=_seal)
    return parser


# serve


def _serve(_arguments: argparse.Namespace) -> int:
    _fill_standard_streams()
    reading = settings.read(os.environ)
    logs.configure(log_format=reading.log_format)
    try:
        configured = reading.settings()
        logs.configure(configured)
        # Imported only when the settings are valid: this is most of the start.
        from service.app import create_app  # noqa: PLC0415
        from service.server import listen, run  # noqa: PLC0415

        app = create_app(configured)
    except SettingsError as error:
        _warn(reading)
        return _refuse(error.problems, reading.log_format)
    _warn(reading)
    try:
        listening = listen(configured.host, configured.port)
    except OSError as error:
        where = {"host": configured.host, "port": configured.port}
        log.error("server.failed", **where, problem=error.strerror)
        return FAILED
    run(app, configured, listening)
    log.notice("server.stopped")
    return OK


def _warn(reading: Reading) -> None:
    for hint in hints.find(os.environ, reading.values):
        if hint.event:
            log.warning(hint.event, **(hint.fields or {}))


def _refuse(problems: Sequence[str], log_format: str | None) -> int:
    """Report invalid settings: a log line if logs are JSON, otherwise text."""
    if log_format == "console" or (log_format is None and is_terminal(sys.stdout)):
        lines = "".join(f"  {problem}\n" for problem in problems)
        _complain(f"The service does not start. Settings that are missing or invalid:\n{lines}")
    else:
        log.error("settings.invalid", problems=problems)
    return EX_CONFIG


def _fill_standard_streams() -> None:
    """Open closed standard streams: a socket would get their numbers, which uvloop refuses."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - standard error
        pass
    os.close(number)


# check


def _check(arguments: argparse.Namespace) -> int:
    reading = settings.read(os.environ)
    _try_telemetry(reading.problems)
    _say("".join(_report(reading, list(hints.find(os.environ, reading.values)))))
    if reading.problems:
        return EX_CONFIG
    if not arguments.upstream:
        return OK
    text, good = _fetch_app_token(reading.settings())
    _say(f"\n{text}")
    return OK if good else FAILED


def _try_telemetry(problems: dict[str, str]) -> None:
    """Add the error of the OpenTelemetry SDK, unless an OTEL_… variable has a problem already."""
    has_problem = any(name.startswith("OTEL_") for name in problems)
    if has_problem or not settings.tracing_enabled(os.environ):
        return
    from service import tracing  # noqa: PLC0415 - only for this

    try:
        tracing.create(os.environ).flush()
    except SettingsError as error:
        problems["OTEL_"] = error.problems[0]


def _report(reading: Reading, likely_mistakes: Sequence[Hint]) -> Iterator[str]:
    """Yield the report: settings by group, problems, hints, the conclusion."""
    yield f"spotify-api-server {__version__}\n"
    groups: dict[str, list[str]] = {"Required": [], "Set": [], "Defaults": []}
    for field in msgspec.structs.fields(Settings):
        is_set = field.name in reading.values or field.name.upper() in reading.problems
        group = "Required" if field.required else "Set" if is_set else "Defaults"
        groups[group].append(_setting(reading, field))
    for title, lines in groups.items():
        if lines:
            yield f"\n{_styled(title, 'bold')}\n" + "".join(lines)
    yield "\n"
    sentences = [("problem", "red", problem) for problem in reading.problems.values()]
    sentences += [("hint", "yellow", hint.sentence) for hint in likely_mistakes]
    for kind, style, sentence in sentences:
        text = textwrap.indent(textwrap.fill(sentence, _WIDTH - 9), " " * 9).lstrip()
        yield f"{_styled(f'{kind:>7}', style)}  {text}\n"
    if reading.problems:
        yield _styled("The service does not start.", "red") + "\n"
    else:
        yield _styled("The service starts.", "green") + "\n"


def _setting(reading: Reading, field: msgspec.structs.FieldInfo) -> str:
    name, style = field.name.upper(), ""
    if name in reading.problems:
        value, style = "missing" if "required" in reading.problems[name] else "invalid", "red"
    elif field.name not in reading.values:
        value = hints.shown(field.name, field.default)
    else:
        value = hints.shown(field.name, reading.values[field.name])
        if (source := reading.sources[name]) != name:
            value += f" (from {source})"
    meaning = _styled(hints.MEANINGS[field.name], "dim")
    return f"  {name:<26}  {_styled(f'{value:<25}', style)}  {meaning}\n"


def _fetch_app_token(configured: Settings) -> tuple[str, bool]:
    """Request an app access token; return the result as text, and whether it is a success."""
    host = urlsplit(configured.spotify_token_url).netloc
    if proxy := configured.upstream_proxy:
        host += f" through the proxy {urlsplit(proxy.reveal()).netloc.rpartition('@')[2]}"
    good = False
    try:
        text, good = asyncio.run(_request_app_token(configured))
    except UpstreamTimeout:
        text = f"no response within UPSTREAM_TIMEOUT, {configured.upstream_timeout:g} s"
    except ServiceError as error:
        text = f"{error.reason}{_cause(error)}"
    return f"{host}: {text}\n", good


async def _request_app_token(configured: Settings) -> tuple[str, bool]:
    """Make the request as the service does, and explain the response."""
    from service import forms, grants, upstream  # noqa: PLC0415 - only for this

    spotify = upstream.Spotify(configured, upstream.Transport(configured))
    context = grants.Context(configured, Sealer(configured.secret_key.reveal()))
    request = grants.client_credentials(forms.ClientCredentialsForm(), context)
    started = time.perf_counter()
    try:
        response = await spotify.fetch(request)
    finally:
        await spotify.aclose()
    milliseconds = (time.perf_counter() - started) * 1000
    result = f"status {response.status} after {milliseconds:.0f} ms"
    if response.is_success and _has_token(response.body):
        tls = ", its certificate is valid" if configured.spotify_token_url[:6] == "https:" else ""
        return f"{result}{tls}, CLIENT_ID and CLIENT_SECRET are right", True
    code = None if response.is_success else response.error_code
    if code == "invalid_client":
        code = "CLIENT_ID or CLIENT_SECRET is wrong; copy both again from Spotify's dashboard"
    return f"{result}: {code or 'this is not a token endpoint'}", False


def _has_token(body: bytes) -> bool:
    from service import responses  # noqa: PLC0415 - only for this

    try:
        return "access_token" in responses.members(body)
    except ServiceError:
        return False


def _cause(error: BaseException) -> str:
    """Return why no connection was made, if the type of a cause is in _CAUSES."""
    names: set[str] = set()
    cause: BaseException | None = error
    while cause is not None:
        names |= {kind.__name__ for kind in type(cause).__mro__} | {str(cause)}
        cause = cause.__cause__ or cause.__context__
    return next((f": {text}" for name, text in _CAUSES.items() if name in names), "")


# keys and seal


class KeyCount(msgspec.Struct, frozen=True):
    """Number of tokens that a key opened; `fingerprint` is empty for a short key."""

    key: str
    fingerprint: str
    opened: int


def _keys(arguments: argparse.Namespace) -> int:
    keyring = settings.read_keyring(os.environ)
    opened: Counter[int] = Counter()
    sealer = Sealer(keyring[0], keyring[1:], lambda position: opened.update([position]))
    tokens = none = 0
    for line in _lines("Sealed refresh tokens", _SEALED_LIMIT):
        if line == b"":
            continue
        tokens += 1
        try:
            sealer.open((line or b"too long").decode("latin-1"))
        except UndecryptableToken:
            none += 1
    counts = [
        KeyCount(*names, opened[position]) for position, names in enumerate(key_names(keyring))
    ]
    if arguments.json:
        _say(msgspec.json.encode({"tokens": tokens, "keys": counts, "none": none}).decode() + "\n")
    elif tokens:
        _say("".join(_table(tokens, counts, none, keyring)))
    if not tokens:
        raise CommandError("No tokens on standard input")
    return OK


def _table(
    tokens: int, counts: Sequence[KeyCount], none: int, keyring: Sequence[str]
) -> Iterator[str]:
    """Yield how many of the tokens each key opened, and which keys can be removed."""
    yield f"Of {tokens:,} token{'s' * (tokens > 1)}, each key opens:\n"
    labels = [count.fingerprint or f"no. {number}" for number, count in enumerate(counts)]
    for label, count in zip(labels, counts, strict=True):
        yield f"  {count.key:<8}  {label:<8}  {count.opened:>9,}\n"
    yield f"  {'none':<18}  {none:>9,}\n"
    for label, count, key in list(zip(labels, counts, keyring, strict=True))[1:]:
        if key == keyring[0]:
            yield f"Previous key {label} is also the current key, which must stay.\n"
        elif count.opened:
            yield f"Previous key {label} is still needed.\n"
        elif none < tokens:
            yield f"Previous key {label} opens none: remove it if these are all your tokens.\n"
    if none:
        yield "Tokens that no key opens are not from this service, or their key is missing.\n"


def _seal(_arguments: argparse.Namespace) -> int:
    current, *previous = settings.read_keyring(os.environ)
    sealer = Sealer(current, previous)
    number = 0
    for number, line in enumerate(_lines("Refresh tokens", _RAW_LIMIT), 1):
        if problem := _not_raw(line, sealer):
            raise CommandError(f"Line {number} {problem}. It and those after it are not encrypted.")
        _say(sealer.seal((line or b"").decode()) + "\n")
    if not number:
        raise CommandError("No tokens on standard input")
    return OK


def _not_raw(line: bytes | None, sealer: Sealer) -> str | None:
    """Return why a line is not a refresh token (RFC 6749, appendix A.17), without quoting it."""
    if line is None:
        return f"is longer than {_RAW_LIMIT:,} bytes"
    if not line:
        return "is blank"
    text = line.decode("latin-1")
    if stray := hints.stray_characters(text):
        return f"begins or ends with {stray}"
    if not re.fullmatch(r"[!-~]+", text):
        return "has white space or characters outside ASCII in it"
    try:
        sealer.open(text)
    except UndecryptableToken:
        return None
    return "is encrypted already"


def _lines(wanted: str, limit: int) -> Iterator[bytes | None]:
    """Yield the lines of standard input, stripped; None for a line that is too long."""
    if sys.stdin is None:
        raise CommandError("Standard input can't be read: it is closed")
    if is_terminal(sys.stdin):
        _complain(f"{wanted}, one a line, then Ctrl-D:\n")
    try:
        while line := sys.stdin.buffer.readline(limit):
            rest = line
            while len(rest) == limit and not rest.endswith(b"\n"):
                rest = sys.stdin.buffer.readline(limit)
            yield line.strip() if rest is line else None
    except OSError as error:
        raise CommandError(f"Standard input can't be read: {error.strerror}") from None


# Standard streams


def _say(text: str) -> int:
    """Write `text` to standard output now and return OK, or raise CommandError.

    A closed pipe, such as that of `head`, is no reason for a message.
    """
    if sys.stdout is None:
        raise CommandError("Standard output can't be written: it is closed")
    encoding = sys.stdout.encoding
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise CommandError from None
    except OSError as error:
        raise CommandError(f"Standard output can't be written: {error.strerror}") from None
    return OK


def _complain(text: str) -> None:
    """Write `text` to standard error, if that is possible."""
    with contextlib.suppress(AttributeError, OSError):  # None if it was closed at the start
        sys.stderr.write(text)


def _styled(text: str, style: str) -> str:
    """Return `text` in a style of _CODES, if standard output has colours."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and has_colours(sys.stdout) else text


def _flush_standard_streams() -> None:
    """Write what is buffered, or discard it where it can't be written.

    Otherwise the interpreter tries at its end, prints its failure, and exits with status 120.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
