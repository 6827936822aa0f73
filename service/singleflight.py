"""Single-flight: requests for the same thing at the same time share one call to Spotify.

A call runs in a task of its own, which its waiters cannot cancel. Its outcome goes to the requests
that wait when it ends; nothing is stored for later ones.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from service.errors import InternalError, ServiceError
from service.grants import TokenRequest
from service.responses import Reuse, TokenResponse
from service.upstream import TokenEndpoint

Outcome = TypeVar("Outcome")
Call = Callable[[], Awaitable[Outcome]]


class _InFlight(NamedTuple, Generic[Outcome]):
    """A call and its waiters, the first one first."""

    task: "asyncio.Task[None]"
    waiters: "list[asyncio.Future[Outcome]]"


class SingleFlight(Generic[Outcome]):
    """The calls in flight, at most one for each key."""

    def __init__(self) -> None:
        self._in_flight: dict[Hashable, _InFlight[Outcome]] = {}

    def is_in_flight(self, key: Hashable) -> bool:
        """Return whether a call for `key` is in flight."""
        return key in self._in_flight

    async def join(self, key: Hashable, call: Call[Outcome]) -> tuple[Outcome, bool]:
        """Return the outcome of the call for `key`, and whether another caller's was joined.

        If the call fails, every waiter fails: the first with the exception itself, the others with
        copies, so that no traceback grows with the number of waiters.
        """
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        joined = self._in_flight.get(key)
        if joined is not None:
            joined.waiters.append(waiter)
        else:
            # NOTE: a task for a call that perhaps no other request joins is intentional: when a
            # server cancels the first request, the others must not lose a token that Spotify may
            # have rotated already.
            waiters = [waiter]
            task = asyncio.create_task(self._run(key, call, waiters))
            self._in_flight[key] = _InFlight(task, waiters)
        try:
            return await waiter, joined is not None
        finally:
            del waiter  # an exception in it refers to this frame

    async def _run(
        self, key: Hashable, call: Call[Outcome], waiters: "list[asyncio.Future[Outcome]]"
    ) -> None:
        try:
            outcome = await call()
        except Exception as error:  # noqa: BLE001 - every error goes to the waiters
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
            # In the same step as the outcome is set: a call that has ended cannot be joined.
            del self._in_flight[key]
            waiters.clear()

    async def aclose(self) -> None:
        """Cancel the calls in flight."""
        calls = list(self._in_flight.values())
        for call in calls:
            call.task.cancel()
        await asyncio.gather(*[call.task for call in calls], return_exceptions=True)
        for call in calls:
            for waiter in call.waiters:
                waiter.cancel()  # of a call that never began
        self._in_flight.clear()


class Coalescing:
    """Forwards requests to `endpoint`, one call for all that refresh the same token at a time.

    The opened token is compared, however it is sealed: the key is the request to Spotify. A plain
    and a PKCE refresh are different requests.
    """

    def __init__(self, endpoint: TokenEndpoint) -> None:
        self._endpoint = endpoint
        self._calls = SingleFlight[TokenResponse]()

    async def fetch(self, request: TokenRequest) -> TokenResponse:
        """Return Spotify's response to `request`, marked if another request's call got it."""
        call = partial(self._endpoint.fetch, request)
        response, joined = await self._calls.join(request.key, call)
        return response._replace(reused=Reuse.SHARED) if joined else response

    async def aclose(self) -> None:
        """Cancel the calls in flight."""
        await self._calls.aclose()


def _still_waiting(
    waiters: "list[asyncio.Future[Outcome]]",
) -> "list[asyncio.Future[Outcome]]":
    return [waiter for waiter in waiters if not waiter.done()]


def _copied(error: Exception) -> ServiceError:
    """Return the error for a waiter that joined; the first one's log line describes a defect."""
    copy = error.copy() if isinstance(error, ServiceError) else InternalError()
    copy.shared = True
    copy.__cause__ = error
    return copy
