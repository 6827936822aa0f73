"""`python -m service`: environment → settings → app → server, unless `command` is asked for."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from service import __version__, console, logs, telemetry
from service.logs import log
from service.settings import WEAK_SECRET_KEY, Settings, SettingsError, load, misspelt

if TYPE_CHECKING:
    from service.tracing import Tracing

# `command` tells people about these.
FAILED = 1
EX_CONFIG = 78


def main(arguments: Sequence[str] = ()) -> int:
    """Run the service, or what `arguments` ask for; return the exit status."""
    if arguments and list(arguments) != ["serve"]:
        from service import command  # noqa: PLC0415 - the service starts without argparse

        if (status := command.run(arguments)) is not None:
            return status
    logs.configure()
    try:
        settings = load(os.environ)
        logs.configure(settings)
        tracing = telemetry.create(os.environ, __version__)
    except SettingsError as error:
        _warn_of_names()
        log.error("settings.invalid", problems=error.problems)
        console.complain("These settings need attention:\n")
        console.complain("".join(f"  {problem}\n" for problem in error.problems))
        return EX_CONFIG
    return _serve(settings, tracing)


def _serve(settings: Settings, tracing: "Tracing | None") -> int:
    # Not before the settings are good, nor for the other commands: this is most of the start.
    from service.app import create_app  # noqa: PLC0415
    from service.server import listen, run  # noqa: PLC0415

    _fill_standard_streams()
    _warn_of_names()
    if len(settings.secret_key.reveal()) < WEAK_SECRET_KEY:
        log.warning("settings.weak_secret_key", characters_wanted=WEAK_SECRET_KEY)
    try:
        listening = listen(settings.host, settings.port)
    except OSError as error:
        log.error("server.failed", host=settings.host, port=settings.port, problem=error.strerror)
        return FAILED
    run(create_app(settings, tracing=tracing), settings, listening)
    log.notice("server.stopped")
    return 0


def _fill_standard_streams() -> None:
    """Open what was closed of them: a socket would get its number, and uvloop keeps off those."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - standard error
        pass
    os.close(number)


def _warn_of_names() -> None:
    if found := dict(misspelt(os.environ)):
        names = [console.printable(name) for name in found]
        log.warning("settings.misspelt", names=names, meant=list(found.values()))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    finally:
        console.let_go()
