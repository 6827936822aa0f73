"""Time limits of one length for many tasks, under one timer.

asyncio.timeout() arms and cancels a timer for every call, which almost never goes off. Limits of
one length end in the order in which they began, so that one timer for the first of them is enough.
"""

import asyncio
from types import TracebackType


class Deadlines:
    """Limits of `seconds` each."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: dict[Deadline, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> "Deadline":
        """Return a context whose body has this long: then it is cancelled, TimeoutError raised."""
        return Deadline(self)

    def add(self, deadline: "Deadline") -> None:
        """Start the time of `deadline`."""
        loop = asyncio.get_running_loop()
        self._ends[deadline] = end = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(end, self._check, loop)

    def remove(self, deadline: "Deadline") -> None:
        """Stop the time of `deadline`. The timer stays, for the next one that begins."""
        self._ends.pop(deadline, None)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for deadline, end in list(self._ends.items()):
            if end > loop.time():
                self._timer = loop.call_at(end, self._check, loop)
                break
            del self._ends[deadline]
            deadline.expire()


class Deadline:
    """The time limit of one task's body of code; not to be used twice."""

    __slots__ = ("_cancelling", "_deadlines", "_expired", "_task")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._expired = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def expire(self) -> None:
        """Cancel the body."""
        if self._task is not None:
            self._expired = True
            self._task.cancel()

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        self._cancelling = task.cancelling() if task is not None else 0
        self._deadlines.add(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._deadlines.remove(self)
        # Somebody else's cancellation that came too is left to take its way, as in asyncio's own.
        if (
            self._expired
            and self._task is not None
            and self._task.uncancel() <= self._cancelling
            and kind is not None
            and issubclass(kind, asyncio.CancelledError)
        ):
            raise TimeoutError from error
