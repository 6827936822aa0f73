"""The app's own token (RFC 6749, section 4.4): fetched once, handed to all, renewed before it ends.

    left of its life    a request gets
    more than 5 min     the token
    5 min to 60 s       the token; one request starts to fetch the next, in the background
    less, or none       what a fetch brings, together with all who wait for it

A fetch that fails is told to those who wait, and nothing of it is kept. Nobody gets a token with
less than 60 s left, unless that is what Spotify answers: such a token, and one that doesn't say
how long it lasts, is passed on and not kept. One that says more than an hour is passed on as it is,
and kept for an hour.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Final

import msgspec

from service import answers, logs
from service.answers import CACHED, SHARED, Answer, Upstream
from service.coalescing import SingleFlight
from service.errors import ServiceError
from service.flows import Exchanged, Grant
from service.logs import log

LEAST_SECONDS: Final = 60
"""What is left at least of a token that is handed out from here."""
MOST_SECONDS: Final = 3600
"""How long a token is believed to last that says more; Spotify's last for so long."""
RENEWAL_SECONDS: Final = 300
"""How long before its end a token is renewed; never before half of its life."""
RENEWAL_PAUSE: Final = 10
"""Seconds after a renewal that failed until the next one is tried."""
FRESH_SECONDS: Final = 1
"""How old what a client gets may be that wants nothing cached."""

_FETCH: Final = "fetch"


class AppToken:
    """The token that `exchange` gets from Spotify, kept for as long as it is good.

    `clock` is monotonic.
    """

    def __init__(
        self,
        exchange: Callable[[Grant], Awaitable[Exchanged]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._fetches = SingleFlight[Exchanged]()
        self._fetched_at = -math.inf
        self._token: _Token | None = None
        # The loop itself holds tasks by weak references only.
        self._renewal: asyncio.Task[None] | None = None
        self._no_renewal_before = -math.inf

    async def exchange(self, grant: Grant, *, fresh: bool = False) -> Exchanged:
        """Return the answer to `grant`, which is the same for all.

        With `fresh` a token is fetched anew, but not twice within FRESH_SECONDS: whoever comes
        meanwhile gets that one.
        """
        now = self._clock()
        token = self._token
        if token is None or not token.is_good(now) or (fresh and not self._is_fresh(now)):
            return await self._fetched(grant)
        if now >= token.renewal:
            self._renew(grant, now)
        return token.answer(now)

    async def aclose(self) -> None:
        """End the fetch and the renewal that are under way."""
        await self._fetches.aclose()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    def _is_fresh(self, now: float) -> bool:
        is_recent = now - self._fetched_at < FRESH_SECONDS
        return is_recent and not self._fetches.is_under_way(_FETCH)

    async def _fetched(self, grant: Grant) -> Exchanged:
        """Return what Spotify answers, with all others who wait for it now."""
        fetched, joined = await self._fetches.join(_FETCH, partial(self._fetch, grant))
        if not joined:
            return fetched
        upstream, answer = fetched
        return upstream._replace(spared=SHARED), answer

    async def _fetch(self, grant: Grant) -> Exchanged:
        # Spotify's count begins after this, so that a token never lasts shorter than we say.
        self._fetched_at = now = self._clock()
        upstream, answer = await self._exchange(grant)
        if answers.is_success(upstream.status):
            self._token = _token(upstream, answer, now)
        return upstream, answer

    def _renew(self, grant: Grant, now: float) -> None:
        """Fetch the next token in the background, unless that is under way or failed just now."""
        under_way = self._renewal is not None and not self._renewal.done()
        if under_way or now < self._no_renewal_before:
            return
        # A context of its own: it is nobody's request, in no trace and no line of the log.
        self._renewal = asyncio.create_task(self._renewed(grant), context=Context())

    async def _renewed(self, grant: Grant) -> None:
        try:
            upstream, _ = await self._fetched(grant)
        except ServiceError as error:
            self._not_renewed(reason=error.reason)
        except Exception as error:  # noqa: BLE001 - a defect; nobody else would tell it
            self._not_renewed(**logs.exception(error))
        else:
            if not answers.is_success(upstream.status):
                self._not_renewed(status=upstream.status, error=answers.error_code(upstream))

    def _not_renewed(self, **details: object) -> None:
        self._no_renewal_before = self._clock() + RENEWAL_PAUSE
        log.warning("app_token.not_renewed", **details)


class _Token:
    """A token that lasts until `ends`; its answer is written once for each second of that."""

    def __init__(
        self, exchanged: Exchanged, members: dict[str, msgspec.Raw], ends: float, renewal: float
    ) -> None:
        self.renewal = renewal
        self._ends = ends
        self._members = members
        self._left = 0
        self._answer = exchanged

    def is_good(self, now: float) -> bool:
        return self._ends - now >= LEAST_SECONDS

    def answer(self, now: float) -> Exchanged:
        if (left := int(self._ends - now)) != self._left:
            self._left = left
            self._members["expires_in"] = msgspec.Raw(b"%d" % left)
            upstream, answer = self._answer
            self._answer = upstream, answer._replace(body=msgspec.json.encode(self._members))
        return self._answer


def _token(upstream: Upstream, answer: Answer, now: float) -> _Token | None:
    """Return the token in a success; None if it is not one to keep.

    NOTE: an answer with a refresh token, which this grant never has (RFC 6749, section 4.4.3), is
    not kept: nobody shall get another's.
    """
    members = answers.members(answer)
    told = answers.whole_seconds(members.get("expires_in", msgspec.Raw()))
    if told is None or told < LEAST_SECONDS or "refresh_token" in members:
        return None
    lasts = min(told, MOST_SECONDS)
    cached = upstream._replace(spared=CACHED), answer
    renewal = now + lasts - min(RENEWAL_SECONDS, lasts / 2)
    return _Token(cached, members, now + lasts, renewal)
