"""When Spotify says 429 with Retry-After, nothing of that kind is asked until it is over.

RFC 6585, section 4, and RFC 9110, section 10.2.3. Each flow counts by itself. The 429 that begins
it goes to its client as it is; the next ones get ours, with what remains.
"""

import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from service.answers import Headers, Upstream
from service.errors import Throttled
from service.flows import Grant
from service.logs import log

LONGEST: Final = 300
"""Seconds; a longer Retry-After is cut down to it."""


class Backoff:
    """Asks through `ask`, unless Spotify wants no calls of this flow for now.

    `clock` is monotonic, `now` is seconds since the epoch, which a Retry-After with a date needs.
    """

    def __init__(
        self,
        ask: Callable[[Grant], Awaitable[Upstream]],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._now = now
        self._ends: dict[str, float] = {}

    async def ask(self, grant: Grant) -> Upstream:
        """Return Spotify's answer to `grant`, or raise Throttled."""
        if (left := self.seconds_left(grant.flow)) > 0:
            raise Throttled(math.ceil(left))
        upstream = await self._ask(grant)
        if upstream.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._heed(grant.flow, upstream.headers)
        return upstream

    def seconds_left(self, flow: str) -> float:
        """Return for how long Spotify wants no calls of `flow`; 0 if it takes them."""
        ends = self._ends.get(flow)
        return 0.0 if ends is None else max(0.0, ends - self._clock())

    def _heed(self, flow: str, headers: Headers) -> None:
        """Wait as long as the answer says; calls that were under way may only prolong that."""
        seconds = min(retry_after(headers, self._now()) or 0, LONGEST)
        left = self.seconds_left(flow)
        if seconds <= left:
            return
        self._ends[flow] = self._clock() + seconds
        if not left:
            log.warning("upstream.throttled", flow=flow, seconds=math.ceil(seconds))


def retry_after(headers: Headers, now: float) -> float | None:
    """Return the seconds that Retry-After asks for; None if there is none that can be read.

    A date counts from the answer's own Date, if it has one: clocks may differ.
    """
    fields = {name.lower(): value.strip() for name, value in reversed(headers)}
    value = fields.get(b"retry-after", b"")
    if value.isdigit():
        return int(value.lstrip(b"0")[:9] or b"0")  # longer ones are too long anyway
    until = _timestamp(value)
    if until is None:
        return None
    since = _timestamp(fields.get(b"date", b""))
    return until - (now if since is None else since)


def _timestamp(date: bytes) -> float | None:
    """Read an HTTP-date in any of its three forms (RFC 9110, section 5.6.7)."""
    try:
        moment = parsedate_to_datetime(date.decode("ascii"))
    except (ValueError, IndexError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
