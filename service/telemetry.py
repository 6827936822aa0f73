"""OpenTelemetry: a server span per request, a client span per call to Spotify, exported by OTLP.

Off, and not even imported, unless the standard variables name an exporter or an endpoint. There is
no global provider: the spans of this app are its own, and the SDK is configured by `OTEL_*` alone.
The spans are in `tracing`, their way out in `export`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from service.settings import SettingsError

if TYPE_CHECKING:
    from service.tracing import Tracing

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def is_enabled(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment asks for traces."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporter := environ.get("OTEL_TRACES_EXPORTER", "").strip():
        return exporter != "none"
    return any(environ.get(name) for name in _ENDPOINTS)


def create(environ: Mapping[str, str], version: str) -> "Tracing | None":
    """Return tracing as the environment asks for it, or None if it asks for none.

    Raises SettingsError if the SDK can't make sense of it.
    """
    if not is_enabled(environ):
        return None
    try:
        from service import export, tracing  # noqa: PLC0415 - not paid for when it is off

        return tracing.Tracing(export.provider(environ, version), version)
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises; its text may quote a value
        problem = f"OTEL_… can't be used as it is: {type(error).__name__}"
        raise SettingsError([problem]) from None
