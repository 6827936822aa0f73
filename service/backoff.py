"""Back-off: after a 429 with Retry-After, no call of that flow is made until the pause is over.

RFC 6585, section 4, and RFC 9110, section 10.2.3. Each flow counts by itself. The 429 that begins
the pause is forwarded to its client; later requests get a local 429 with the seconds that remain of
Spotify's Retry-After. Spotify is called again after five minutes at the latest, since a longer
pause may be over before.
"""

import math
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from service.errors import Throttled
from service.grants import Flow, TokenRequest
from service.logs import log
from service.responses import Headers, TokenResponse
from service.upstream import TokenEndpoint

LONGEST_SECONDS: Final = 300
"""Spotify is called again after this time, however long its Retry-After is."""


class _Pause(NamedTuple):
    """When Spotify is called again, and when the pause that it requested is over."""

    ends: float
    until: float


class Backoff:
    """Forwards requests to `endpoint` unless Spotify requested a pause of their flow.

    `clock` is monotonic, `now` is seconds since the epoch, for a Retry-After with a date.
    """

    def __init__(
        self,
        endpoint: TokenEndpoint,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._now = now
        self._pauses: dict[Flow, _Pause] = {}

    async def fetch(self, request: TokenRequest) -> TokenResponse:
        """Return Spotify's response to `request`, or raise Throttled."""
        pause, now = self._pauses.get(request.flow), self._clock()
        if pause is not None and now < pause.ends:
            raise Throttled(math.ceil(pause.until - now))
        response = await self._endpoint.fetch(request)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._pause(request.flow, response.headers)
        return response

    def seconds_left(self, flow: Flow) -> float:
        """Return the seconds until `flow` is called again; 0 if it is now."""
        pause = self._pauses.get(flow)
        return 0.0 if pause is None else max(0.0, pause.ends - self._clock())

    def _pause(self, flow: Flow, headers: Headers) -> None:
        """Pause for as long as Retry-After says; a response to an earlier call may only prolong."""
        seconds = retry_after(headers, self._now()) or 0
        if seconds <= 0:
            return
        now = self._clock()
        pause = _Pause(ends=now + min(seconds, LONGEST_SECONDS), until=now + seconds)
        if self.seconds_left(flow):
            self._pauses[flow] = _Pause(*map(max, pause, self._pauses[flow]))
        else:
            self._pauses[flow] = pause
            log.warning("upstream.throttled", flow=flow, seconds=math.ceil(seconds))


def retry_after(headers: Headers, now: float) -> float | None:
    """Return the seconds of Retry-After; None if it is missing or invalid.

    A date counts from the response's own Date, if it has one: clocks may differ.
    """
    fields = {name.lower(): value.strip() for name, value in reversed(headers)}
    value = fields.get(b"retry-after", b"")
    if value.isdigit():
        return int(value[:9])  # nine digits are 30 years
    until = _timestamp(value)
    if until is None:
        return None
    since = _timestamp(fields.get(b"date", b""))
    return until - (now if since is None else since)


def _timestamp(date: bytes) -> float | None:
    """Return an HTTP-date in any of its three forms as seconds (RFC 9110, section 5.6.7)."""
    try:
        moment = parsedate_to_datetime(date.decode("ascii"))
    except (ValueError, IndexError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
