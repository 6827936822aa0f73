"""The command line, but for `serve`: what `--help` tells, and what each command needs.

`check` and `keys` are rooms of their own. Neither prints a secret, whatever goes wrong: uncaught
exceptions go through `logs`, as those of the service do.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from service import __version__, console, logs
from service.settings import LOG_LEVELS, SettingsError, read_keyring

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
EX_CONFIG: Final = 78
INTERRUPTED: Final = 130

EXIT_STATUSES: Final = """\
exit status:
  0    done; for serve: stopped by a signal, with every request answered
  1    serve: it can't listen; check --upstream: Spotify can't be used as it is set;
       keys: no token came; check, keys, --help: what they tell can't be written
  2    the command line can't be understood
  78   settings are missing or can't be understood (EX_CONFIG)
  130  check, keys: interrupted by Ctrl-C
"""
_DESCRIPTION: Final = """\
Swaps authorization codes and sealed refresh tokens for Spotify's tokens. Without a command it
serves. Settings come from the environment: see check.
"""
_CHECK: Final = """\
Read the settings as serve would, and tell each with its source, without any secret; then
everything that is wrong or looks so, and what to do about it. Nothing is started.
"""
_UPSTREAM: Final = """\
ask Spotify for the app's own token, as the client-credentials flow does, and forget it: tells
whether Spotify is reached and takes CLIENT_ID and CLIENT_SECRET; changes nothing there
"""
_KEYS: Final = """\
Read sealed refresh tokens from standard input, one a line, and tell how many of them each key
opens: SECRET_KEY, then those of SECRET_KEYS_PREVIOUS, by their fingerprints. No other setting is
needed, no token is kept or printed, and Spotify is not asked.
"""


class _Parser(argparse.ArgumentParser):
    """A parser that keeps what it doesn't understand to itself."""

    def error(self, message: str) -> NoReturn:  # noqa: ARG002
        """Exit with USAGE.

        NOTE: leaving the message out is intentional: it would quote the argument, and that may be
        a token which somebody meant for standard input.
        """
        told = f"{self.prog}: these arguments can't be understood; --help tells more\n"
        console.complain(self.format_usage() + told)
        sys.exit(USAGE)

    def _print_message(self, message: str, file: object = None) -> None:  # noqa: ARG002
        """Write what is asked for, such as help; argparse passes over what can't be written."""
        console.say(message)


def run(arguments: Sequence[str]) -> int | None:
    """Do what `arguments` ask for; return the exit status, or None if they ask to serve."""
    try:
        asked = _parser().parse_args(arguments)
        if asked.command == "serve":
            return None
        logs.configure()
        logs.Logger.threshold = LOG_LEVELS["error"]  # what these commands have to say isn't a log
        if asked.command == "check":
            return _check(upstream=asked.upstream)
        return _keys(as_json=asked.json)
    except SettingsError as error:
        console.complain("".join(f"{problem}\n" for problem in error.problems))
        return EX_CONFIG
    except console.Unsaid as unsaid:
        if why := str(unsaid):
            console.complain(f"Standard output can't be written: {why}\n")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        "python -m service", description=_DESCRIPTION, epilog=EXIT_STATUSES, formatter_class=raw
    )
    version = f"spotify-api-server {__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    commands.add_parser("serve", help="serve, as without a command", description="Serve.")
    check = commands.add_parser("check", help="explain the settings", description=_CHECK)
    check.add_argument("--upstream", action="store_true", help=_UPSTREAM)
    keys = commands.add_parser("keys", help="tell which keys open tokens", description=_KEYS)
    keys.add_argument("--json", action="store_true", help="one JSON object, for programs")
    return parser


def _check(*, upstream: bool) -> int:
    from service import check  # noqa: PLC0415 - only this command needs what it needs

    colours = console.has_colours(sys.stdout)
    report = check.Report(os.environ, colours=colours)
    console.say("".join(report.text()))
    if report.problems:
        return EX_CONFIG
    if not upstream:
        return OK
    told, good = check.upstream(report.settings())
    console.say("\n" + told)
    return OK if good else FAILED


def _keys(*, as_json: bool) -> int:
    from service import keys  # noqa: PLC0415

    keyring = read_keyring(os.environ)
    if console.is_terminal(sys.stdin):
        console.complain("Sealed refresh tokens, one a line, then Ctrl-D:\n")
    if sys.stdin is None:
        return _unread("it is closed")
    try:
        tally = keys.count(keyring, sys.stdin.buffer)
    except OSError as error:
        return _unread(error.strerror)
    console.say(tally.to_json() if as_json else tally.to_text())
    return OK if tally.tokens else FAILED


def _unread(why: str | None) -> int:
    console.complain(f"Standard input can't be read: {why}\n")
    return FAILED
