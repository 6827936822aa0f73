"""Lookups, with the system's own replaced where a test says when it ends."""

import asyncio
import socket
import threading

import pytest

from service import names
from service.names import Name


class SlowSystem:
    """A lookup that lasts until `end` is set, and then finds 192.0.2.1."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.end = threading.Event()
        self.asked = 0
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, _host: str, port: int, type: int, flags: int) -> list[object]:  # noqa: A002
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror
        self.asked += 1
        self.end.wait(5)
        return [(socket.AF_INET, type, 0, "", ("192.0.2.1", port))]


@pytest.mark.parametrize("literal", ["192.0.2.7", "2001:db8::7"])
def test_an_address_needs_no_lookup(literal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = Name(literal, 443)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert asyncio.run(name.addresses()) == [literal]


def test_a_name_has_addresses() -> None:
    assert set(asyncio.run(Name("localhost", 443).addresses())) & {"127.0.0.1", "::1"}


def test_a_name_that_nobody_knows_is_an_error_each_time() -> None:
    async def ask() -> None:
        name = Name("no-such-host.invalid", 443)
        for _ in range(2):
            with pytest.raises(socket.gaierror):
                await name.addresses()

    asyncio.run(ask())


def test_whoever_asks_meanwhile_shares_a_lookup_and_can_leave_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system = SlowSystem(monkeypatch)

    async def ask() -> list[list[str]]:
        name = Name("accounts.spotify.test", 443)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await name.addresses()
        others = [asyncio.ensure_future(name.addresses()) for _ in range(20)]
        await asyncio.sleep(0.01)
        system.end.set()
        found = await asyncio.gather(*others)
        assert system.asked == 1
        return [*found, await name.addresses()]

    assert asyncio.run(ask()) == [["192.0.2.1"]] * 21
    assert system.asked == 2


def test_a_lookup_that_hangs_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    system = SlowSystem(monkeypatch)
    monkeypatch.setattr(names, "JOIN_SECONDS", 0.05)

    async def ask() -> list[list[str]]:
        name = Name("accounts.spotify.test", 443)
        first = asyncio.ensure_future(name.addresses())
        await asyncio.sleep(0.1)
        second = asyncio.ensure_future(name.addresses())
        await asyncio.sleep(0.02)
        system.end.set()
        return [await first, await second]

    assert asyncio.run(ask()) == [["192.0.2.1"]] * 2
    assert system.asked == 2


def test_a_lookup_that_outlives_its_loop_ends_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system = SlowSystem(monkeypatch)

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await Name("accounts.spotify.test", 443).addresses()

    before = set(threading.enumerate())
    asyncio.run(leave())
    [lookup] = set(threading.enumerate()) - before
    system.end.set()
    lookup.join(5)
    assert not lookup.is_alive()
