"""`python -m service`: environment → settings → app → server.

Exit status: 0 after a stop by signal, 1 if it can't listen, 78 (EX_CONFIG) for bad settings.
"""

import os
import sys
from typing import TYPE_CHECKING

from service import __version__, logs, telemetry
from service.app import create_app
from service.logs import log
from service.server import listen, run
from service.settings import WEAK_SECRET_KEY, Settings, SettingsError, load

if TYPE_CHECKING:
    from service.tracing import Tracing

EX_CONFIG = 78


def main() -> int:
    """Run the service; return its exit status."""
    logs.configure()
    try:
        settings = load(os.environ)
        logs.configure(settings)
        tracing = telemetry.create(os.environ, __version__)
    except SettingsError as error:
        log.error("settings.invalid", problems=error.problems)
        sys.stderr.write("These settings need attention:\n")
        sys.stderr.writelines(f"  {problem}\n" for problem in error.problems)
        return EX_CONFIG
    return _serve(settings, tracing)


def _serve(settings: Settings, tracing: "Tracing | None") -> int:
    if len(settings.secret_key.reveal()) < WEAK_SECRET_KEY:
        log.warning("settings.weak_secret_key", characters_wanted=WEAK_SECRET_KEY)
    try:
        listening = listen(settings.host, settings.port)
    except OSError as error:
        log.error("server.failed", host=settings.host, port=settings.port, problem=error.strerror)
        return 1
    run(create_app(settings, tracing=tracing), settings, listening)
    log.notice("server.stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
