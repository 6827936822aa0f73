import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from service.deadlines import Deadlines

SOON = 0.05


def run(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 10))


def test_what_ends_in_time_is_left_alone() -> None:
    async def body() -> None:
        deadlines = Deadlines(SOON)
        for _ in range(3):
            with deadlines.begin():
                await asyncio.sleep(SOON / 2)
        await asyncio.sleep(2 * SOON)

    run(body())


def test_what_takes_longer_is_cancelled_and_a_timeout() -> None:
    async def body() -> None:
        with pytest.raises(TimeoutError) as raised, Deadlines(SOON).begin():
            await asyncio.sleep(5)
        assert isinstance(raised.value.__cause__, asyncio.CancelledError)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(body())


def test_each_has_its_own_time() -> None:
    """One timer serves all: those that begin later end later, those that have ended don't."""

    async def one(deadlines: Deadlines, seconds: float) -> str:
        try:
            with deadlines.begin():
                await asyncio.sleep(seconds)
        except TimeoutError:
            return "late"
        return "in time"

    async def body() -> None:
        deadlines = Deadlines(3 * SOON)
        loop = asyncio.get_running_loop()
        began = loop.time()
        early = [asyncio.create_task(one(deadlines, seconds)) for seconds in (0, 5, SOON, 5)]
        await asyncio.sleep(2 * SOON)
        later = [asyncio.create_task(one(deadlines, seconds)) for seconds in (2 * SOON, 5)]
        assert await asyncio.gather(*early) == ["in time", "late", "in time", "late"]
        assert 3 * SOON <= loop.time() - began < 5 * SOON
        assert await asyncio.gather(*later) == ["in time", "late"]
        assert loop.time() - began >= 5 * SOON

    run(body())


def test_an_error_of_the_bodys_own_passes() -> None:
    async def body() -> None:
        with pytest.raises(ValueError, match="own"), Deadlines(SOON).begin():
            raise ValueError("own")

    run(body())


def test_somebody_elses_cancellation_is_no_timeout() -> None:
    async def sleeping(deadlines: Deadlines) -> None:
        with deadlines.begin():
            await asyncio.sleep(5)

    async def body() -> None:
        task = asyncio.create_task(sleeping(Deadlines(5)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(body())


def test_a_cancellation_that_comes_with_the_timeout_takes_its_way() -> None:
    async def sleeping(deadlines: Deadlines) -> None:
        with deadlines.begin():
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                raise

    async def body() -> None:
        task = asyncio.create_task(sleeping(Deadlines(SOON)))
        with pytest.raises(asyncio.CancelledError):
            await task

    run(body())
