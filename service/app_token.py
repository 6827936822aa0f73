"""The app access token (RFC 6749, section 4.4): fetched once, shared by all, renewed in time.

    left of its life    a request gets
    more than 5 min     the cached token
    5 min to 60 s       the cached token; one request starts to fetch the next in the background
    less, or none       the result of a fetch, which all waiting requests share

A fetch that fails goes to the requests that wait, and is not cached. Tokens with less than 60 s
left, or without `expires_in`, are forwarded but not cached. A token that claims to last more than
an hour is forwarded unchanged and cached for an hour.
"""

import asyncio
import math
import time
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Final

import msgspec

from service import logs
from service.errors import ServiceError
from service.grants import TokenRequest
from service.logs import log
from service.responses import Reuse, TokenResponse, members, whole_seconds
from service.singleflight import SingleFlight
from service.upstream import TokenEndpoint

LEAST_SECONDS: Final = 60
"""Minimum remaining seconds of a cached token."""
MOST_SECONDS: Final = 3600
"""Maximum seconds in the cache; Spotify's tokens last an hour."""
RENEWAL_SECONDS: Final = 300
"""Seconds before its expiry at which a token is renewed; never before half of its life."""
RENEWAL_PAUSE: Final = 10
"""Seconds after a failed renewal until the next one."""
FRESH_SECONDS: Final = 1
"""The age up to which a token counts as fresh for a client that sends `no-cache`."""

_FETCH: Final = "fetch"


class AppToken:
    """Fetches the app access token from `endpoint` and caches it. `clock` is monotonic."""

    def __init__(
        self, endpoint: TokenEndpoint, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._fetches = SingleFlight[TokenResponse]()
        self._fetched_at = -math.inf
        self._token: _Token | None = None
        self._renewal: asyncio.Task[None] | None = None  # the loop holds tasks weakly
        self._no_renewal_before = -math.inf

    async def fetch(self, request: TokenRequest) -> TokenResponse:
        """Return Spotify's response to `request`, from the cache if there is a valid token.

        A `fresh` request is fetched again, but not twice within FRESH_SECONDS.
        """
        now = self._clock()
        token = self._token
        if token is None or not token.is_good(now) or (request.fresh and not self._is_fresh(now)):
            return await self._join(request)
        if now >= token.renewal:
            self._renew(request, now)
        return token.response(now)

    async def aclose(self) -> None:
        """Cancel the fetch and the renewal in flight."""
        await self._fetches.aclose()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    def _is_fresh(self, now: float) -> bool:
        is_recent = now - self._fetched_at < FRESH_SECONDS
        return is_recent and not self._fetches.is_in_flight(_FETCH)

    async def _join(self, request: TokenRequest) -> TokenResponse:
        """Return the result of the fetch in flight, or of a new one."""
        response, joined = await self._fetches.join(_FETCH, partial(self._fetch, request))
        return response._replace(reused=Reuse.SHARED) if joined else response

    async def _fetch(self, request: TokenRequest) -> TokenResponse:
        # Spotify starts to count later, so that a token never lasts shorter than we say.
        self._fetched_at = now = self._clock()
        response = await self._endpoint.fetch(request)
        if response.is_success:
            self._token = _cacheable(response, now)
        return response

    def _renew(self, request: TokenRequest, now: float) -> None:
        """Fetch the next token in the background, unless that is in flight or has just failed."""
        in_flight = self._renewal is not None and not self._renewal.done()
        if in_flight or now < self._no_renewal_before:
            return
        # An empty context: the renewal belongs to no request's trace or log lines.
        self._renewal = asyncio.create_task(self._run_renewal(request), context=Context())

    async def _run_renewal(self, request: TokenRequest) -> None:
        try:
            response = await self._join(request)
        except ServiceError as error:
            self._renewal_failed(reason=error.reason)
        except Exception as error:  # noqa: BLE001 - a defect, which no request would report
            self._renewal_failed(**logs.exception(error))
        else:
            if not response.is_success:
                self._renewal_failed(status=response.status, error=response.error_code)

    def _renewal_failed(self, **details: object) -> None:
        self._no_renewal_before = self._clock() + RENEWAL_PAUSE
        log.warning("app_token.not_renewed", **details)


class _Token:
    """A token that lasts until `ends`; its response is written once a second at most."""

    def __init__(
        self,
        response: TokenResponse,
        fields: dict[str, msgspec.Raw],
        ends: float,
        renewal: float,
    ) -> None:
        self.renewal = renewal
        self._ends = ends
        self._fields = fields
        self._left = -1
        self._response = response

    def is_good(self, now: float) -> bool:
        return self._ends - now >= LEAST_SECONDS

    def response(self, now: float) -> TokenResponse:
        """Return the response with the seconds that are left as `expires_in`."""
        if (left := int(self._ends - now)) != self._left:
            self._left = left
            self._fields["expires_in"] = msgspec.Raw(b"%d" % left)
            self._response = self._response._replace(body=msgspec.json.encode(self._fields))
        return self._response


def _cacheable(response: TokenResponse, now: float) -> _Token | None:
    """Return the token in a success; None if it must not be cached.

    NOTE: a response with a refresh token, which this grant never has (RFC 6749, section 4.4.3), is
    not cached: it would belong to one user.
    """
    fields = members(response.body)
    expires_in = whole_seconds(fields.get("expires_in"))
    if expires_in is None or expires_in < LEAST_SECONDS or "refresh_token" in fields:
        return None
    lasts = min(expires_in, MOST_SECONDS)
    cached = response._replace(reused=Reuse.CACHED)
    renewal = now + lasts - min(RENEWAL_SECONDS, lasts / 2)
    return _Token(cached, fields, now + lasts, renewal)
