"""Requests that ask for the same at the same time: one call to Spotify, one answer to all.

A call runs in a task of its own, and nobody who waits for it can cancel it. Its outcome is handed
to those who wait at its end and to nobody later: nothing is kept.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Final, Generic, NamedTuple, TypeVar

from service.answers import SHARED, Upstream
from service.errors import InternalError, ServiceError
from service.flows import Grant

REFRESHES: Final = frozenset({"refresh", "pkce_refresh"})

Outcome = TypeVar("Outcome")
Call = Callable[[], Awaitable[Outcome]]


class _UnderWay(NamedTuple, Generic[Outcome]):
    """A call, and those who wait for it, the first one first."""

    task: "asyncio.Task[None]"
    waiters: "list[asyncio.Future[Outcome]]"


class SingleFlight(Generic[Outcome]):
    """Calls under way, at most one for each key."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _UnderWay[Outcome]] = {}

    def is_under_way(self, key: Hashable) -> bool:
        """Tell whether a call for `key` is under way."""
        return key in self._under_way

    async def join(self, key: Hashable, call: Call[Outcome]) -> tuple[Outcome, bool]:
        """Return the outcome of the call for `key`, and whether another's was joined.

        If the call fails, all who wait fail: the first with its own exception, each other one with
        a copy, so that no traceback grows with the number of those who raise it.
        """
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        found = self._under_way.get(key)
        if found is not None:
            found.waiters.append(waiter)
        else:
            # NOTE: a task for a call that perhaps nobody joins is intentional. uvicorn lets
            # handlers go on when their client leaves, other ASGI servers cancel them, and so does
            # every server in the end: whoever joined must not lose a token that Spotify may have
            # rotated already. It costs 2 µs (Python 3.11, uvloop), 0.3 % of a refresh.
            waiters = [waiter]
            task = asyncio.create_task(self._run(key, call, waiters))
            self._under_way[key] = _UnderWay(task, waiters)
        try:
            return await waiter, found is not None
        finally:
            del waiter  # an exception in it refers to this frame

    async def _run(
        self, key: Hashable, call: Call[Outcome], waiters: "list[asyncio.Future[Outcome]]"
    ) -> None:
        try:
            outcome = await call()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is theirs who wait
            first = waiters[0]
            for waiter in _still_waiting(waiters):
                waiter.set_exception(error if waiter is first else _copied(error))
        except BaseException:
            for waiter in waiters:
                waiter.cancel()
            raise
        else:
            for waiter in _still_waiting(waiters):
                waiter.set_result(outcome)
        finally:
            # In the same step as the outcome is handed over: nobody joins what has ended.
            del self._under_way[key]
            waiters.clear()

    async def aclose(self) -> None:
        """Cancel what is under way."""
        calls = list(self._under_way.values())
        for call in calls:
            call.task.cancel()
        await asyncio.gather(*[call.task for call in calls], return_exceptions=True)
        for call in calls:
            for waiter in call.waiters:
                waiter.cancel()  # of a call that never began
        self._under_way.clear()


class Coalescing:
    """Asks through `ask`, once for all who refresh the same token in the same flow.

    The token is the opened one, whatever its seal: the form to Spotify is what is compared. Codes
    are asked for each time: a code is good for one use, and Spotify has to see a second one to
    revoke what the first one got (RFC 6749, section 4.1.2).
    """

    def __init__(self, ask: Callable[[Grant], Awaitable[Upstream]]) -> None:
        self._ask = ask
        self._calls = SingleFlight[Upstream]()

    async def ask(self, grant: Grant) -> Upstream:
        """Return Spotify's answer to `grant`, marked if it was another's call that got it."""
        if grant.flow not in REFRESHES:
            return await self._ask(grant)
        # Without the fallback, which is each caller's own; and a Grant shows itself to nobody.
        key = Grant(grant.flow, grant.fields, grant.basic)
        upstream, joined = await self._calls.join(key, partial(self._ask, grant))
        return upstream._replace(spared=SHARED) if joined else upstream

    async def aclose(self) -> None:
        """Cancel what is under way."""
        await self._calls.aclose()


def _still_waiting(
    waiters: "list[asyncio.Future[Outcome]]",
) -> "list[asyncio.Future[Outcome]]":
    return [waiter for waiter in waiters if not waiter.done()]


def _copied(error: Exception) -> ServiceError:
    """Return the failure as one who joined gets it; a defect is told by the first one's line."""
    copy = error.copy() if isinstance(error, ServiceError) else InternalError()
    copy.spared = SHARED
    copy.__cause__ = error
    return copy
