"""The app access token: fetched once, shared by all, renewed before it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextvars import ContextVar

import httpx
import pytest

from service.app_token import (
    LEAST_SECONDS,
    MOST_SECONDS,
    RENEWAL_PAUSE,
    RENEWAL_SECONDS,
    AppToken,
)
from service.backoff import Backoff
from service.errors import ServiceError, Throttled, UpstreamFailed, UpstreamTimeout
from service.grants import Flow, TokenRequest
from service.responses import Reuse, TokenResponse
from service.routes import wants_fresh
from tests.conftest import LogLines, Start
from tests.fakes import FakeEndpoint, Outcome, settle
from tests.flows import CREDENTIALS, JSON, URLENCODED, assert_refused, queue_faults, recorded, send
from tests.held import Held
from tests.running import wait_until

pytestmark = pytest.mark.anyio

HERD = 100
FORM = {"grant_type": "client_credentials"}

# Over HTTP -----------------------------------------------------------------------------------


def get(client: httpx.Client, **headers: str) -> httpx.Response:
    return client.post(CREDENTIALS, data=FORM, headers=headers)


def test_concurrent_requests_at_a_cold_start_are_one_call(
    start: Start, simulator: httpx.Client, log_lines: LogLines
) -> None:
    """A second call would be refused, because UPSTREAM_MAX_IN_FLIGHT is 1 here."""
    held = Held(start, simulator, UPSTREAM_MAX_IN_FLIGHT="1")
    shots = held.volley(CREDENTIALS, *[FORM] * HERD)
    assert {shot.status for shot in shots} == {200}
    assert len(recorded(simulator)) == 1
    assert len({shot.json()["access_token"] for shot in shots}) == 1
    lines = log_lines.of("token.retrieved", count=HERD)
    assert [line.get("shared") for line in lines].count(True) == HERD - 1
    wait_until(lambda: held.service.requests() == {"client_credentials success": HERD})
    samples = held.service.scrape()
    name = 'spotify_api_server_avoided_calls_total{flow="client_credentials",reason="shared"}'
    assert samples[name] == HERD - 1
    count = 'spotify_api_server_upstream_duration_seconds_count{flow="client_credentials"}'
    assert samples[count] == 1


def test_failed_fetch_is_shared_and_not_cached(start: Start, simulator: httpx.Client) -> None:
    held = Held(start, simulator)
    queue_faults(simulator, {"kind": "reset"})
    assert {shot.status for shot in held.volley(CREDENTIALS, *[FORM] * 5)} == {502}
    assert len(recorded(simulator)) == 1
    assert get(held.client).status_code == 200
    assert len(recorded(simulator)) == 2


def test_cached_response_differs_only_in_expires_in(
    client: httpx.Client, simulator: httpx.Client, log_lines: LogLines
) -> None:
    body = '{"access_token":"BQ\\u00e9/","n":1.50e+3,"expires_in":3600,"x":[1 ,2],"token_type":"B"}'
    queue_faults(simulator, {"kind": "answer", "body": body, "headers": [["X-Trace", "1"]]})
    first, second = get(client), get(client)
    assert first.text == body
    left = second.json()["expires_in"]
    assert 0 < left <= 3600
    assert second.text == body.replace("3600", str(left))
    for name in ("content-type", "cache-control", "pragma"):
        assert second.headers[name] == first.headers[name]
    assert "x-trace" not in second.headers
    assert len(recorded(simulator)) == 1
    assert [line.get("cached") for line in log_lines.of("token.retrieved", count=2)] == [None, True]


@pytest.mark.parametrize(
    ("value", "fresh"),
    [
        ("no-cache", True),
        ("max-age=0 , No-Cache", True),
        ("no-store", False),
        ("x-no-cache", False),
        ("", False),
    ],
)
def test_only_no_cache_fetches_a_fresh_token(value: str, *, fresh: bool) -> None:
    assert wants_fresh([(b"cache-control", value.encode())]) == fresh


def test_no_cache_fetches_again(client: httpx.Client, simulator: httpx.Client) -> None:
    """A token counts as fresh for a second, so that the first attempts get the cached one."""
    get(client)

    def is_fetched_again() -> bool:
        get(client, **{"Cache-Control": "no-cache"})
        return len(recorded(simulator)) == 2

    wait_until(is_fetched_again)


def test_without_the_cache_each_request_is_a_call(start: Start, simulator: httpx.Client) -> None:
    client = start(CLIENT_CREDENTIALS_CACHE="false")
    assert len({get(client).json()["access_token"] for _ in range(3)}) == 3
    assert len(recorded(simulator)) == 3


def test_requests_are_checked_although_a_token_is_cached(client: httpx.Client) -> None:
    get(client).raise_for_status()
    assert_refused(client.post(CREDENTIALS), 415, "Unsupported Media Type")
    assert send(client, CREDENTIALS, JSON, b"{no json").status_code == 400
    assert send(client, CREDENTIALS, URLENCODED, b"x" * 16384).status_code == 413
    assert client.get(CREDENTIALS).status_code == 405


# The link alone ------------------------------------------------------------------------------

REQUEST = TokenRequest(Flow.CLIENT_CREDENTIALS, (("grant_type", "client_credentials"),), basic=True)
SECRET = "BQ-the-access-token"
CACHED, SHARED = Reuse.CACHED, Reuse.SHARED


class Spotify(FakeEndpoint):
    """Token number n for call n, or `failure`; an AppToken in front; and its clock."""

    def __init__(self) -> None:
        super().__init__(self._token)
        self.time = 1000.0
        self.seconds_per_call = 0.0
        self.members: dict[str, object] = {"expires_in": 3600}
        self.failure: Outcome | None = None
        self.app_token = AppToken(self, lambda: self.time)

    def _token(self, number: int) -> Outcome:
        self.time += self.seconds_per_call
        body = json.dumps({"access_token": f"{SECRET}-{number}", **self.members})
        return self.failure or TokenResponse(200, (), body.encode())

    async def get(self, *, fresh: bool = False) -> tuple[int, object, Reuse | None]:
        """Return the number of the token, how long it lasts, and why there was no call."""
        response = await self.app_token.fetch(REQUEST._replace(fresh=fresh))
        members = json.loads(response.body)
        number = int(members["access_token"].removeprefix(f"{SECRET}-"))
        return number, members.get("expires_in"), response.reused


@pytest.fixture
async def spotify() -> AsyncIterator[Spotify]:
    spotify = Spotify()
    yield spotify
    await spotify.app_token.aclose()


async def test_expires_in_is_what_remains_in_whole_seconds(spotify: Spotify) -> None:
    spotify.seconds_per_call = 0.25
    assert await spotify.get() == (1, 3600, None)
    for passed, left in ((0, 3599), (0.5, 3599), (0.5, 3598), (1000, 2598)):
        spotify.time += passed
        assert await spotify.get() == (1, left, CACHED)
    assert spotify.calls == 1


async def test_short_or_unknown_life_is_forwarded_and_not_cached(spotify: Spotify) -> None:
    values: list[object] = [0, LEAST_SECONDS - 1, "3600", 3600.5, None, []]
    for number, value in enumerate(values):
        spotify.members = {"expires_in": value}
        assert await spotify.get() == (2 * number + 1, value, None)
        assert await spotify.get() == (2 * number + 2, value, None)


async def test_response_with_a_refresh_token_is_not_cached(spotify: Spotify) -> None:
    spotify.members["refresh_token"] = None
    assert [(await spotify.get())[0] for _ in "12"] == [1, 2]


async def test_token_is_cached_for_an_hour_at_most(spotify: Spotify) -> None:
    ages = 10**12 - 1
    spotify.members = {"expires_in": ages}
    assert await spotify.get() == (1, ages, None)
    spotify.time += MOST_SECONDS - RENEWAL_SECONDS
    assert await spotify.get() == (1, RENEWAL_SECONDS, CACHED)
    await settle()
    assert spotify.calls == 2
    spotify.time += MOST_SECONDS
    assert await spotify.get() == (3, ages, None)


async def test_token_is_renewed_in_the_background(spotify: Spotify) -> None:
    await spotify.get()
    spotify.time += 3600 - RENEWAL_SECONDS - 0.001
    await spotify.get()
    await settle()
    assert spotify.calls == 1
    spotify.go.clear()
    spotify.time += 0.001
    for _ in range(5):
        assert await spotify.get() == (1, RENEWAL_SECONDS, CACHED)
        await settle()
    assert spotify.calls == 2
    spotify.go.set()
    await settle()
    assert await spotify.get() == (2, 3600, CACHED)
    assert spotify.calls == 2


async def test_short_token_is_not_renewed_before_half_of_its_life(spotify: Spotify) -> None:
    spotify.members = {"expires_in": 200}
    await spotify.get()
    for passed, calls in ((99, 1), (1, 2)):
        spotify.time += passed
        await spotify.get()
        await settle()
        assert spotify.calls == calls


async def test_last_minute_of_a_token_is_not_used(spotify: Spotify) -> None:
    await spotify.get()
    spotify.go.clear()
    spotify.time += 3600 - LEAST_SECONDS
    assert await spotify.get() == (1, LEAST_SECONDS, CACHED)
    spotify.time += 0.001
    waiting = [asyncio.create_task(spotify.get()) for _ in range(3)]
    await settle()
    assert not any(task.done() for task in waiting)
    spotify.go.set()
    # The renewal was in flight; they joined it.
    assert await asyncio.gather(*waiting) == [(2, 3600, SHARED)] * 3
    assert spotify.calls == 2


async def test_renewal_has_no_request_context() -> None:
    """It has none of their contexts, so that it is in no request's trace or log lines."""
    current: ContextVar[str | None] = ContextVar("current", default=None)
    seen: list[str | None] = []

    class Watched(Spotify):
        async def fetch(self, request: TokenRequest) -> TokenResponse:
            seen.append(current.get())
            return await super().fetch(request)

    spotify = Watched()
    current.set("the first")
    await spotify.get()
    current.set("the second")
    spotify.time += 3600 - RENEWAL_SECONDS
    await spotify.get()
    await settle()
    assert seen == ["the first", None]


@pytest.mark.parametrize(
    ("failure", "details"),
    [
        (
            TokenResponse(400, (), b'{"error":"invalid_client","secret":"BQ-the-access"}'),
            {"status": 400, "error": "invalid_client"},
        ),
        (TokenResponse(302, (), SECRET.encode()), {"status": 302, "error": None}),
        (UpstreamTimeout(), {"reason": "Spotify did not respond in time"}),
        (RuntimeError(SECRET), {"error_type": "RuntimeError"}),
    ],
    ids=["error", "unusable success", "local error", "defect"],
)
async def test_failed_renewal_is_logged_and_tried_again_after_a_pause(
    spotify: Spotify, log_lines: LogLines, failure: Outcome, details: dict[str, object]
) -> None:
    await spotify.get()
    spotify.failure = failure
    spotify.time += 3600 - RENEWAL_SECONDS
    for _ in range(5):
        assert await spotify.get() == (1, RENEWAL_SECONDS, CACHED)
        await settle()
    assert spotify.calls == 2
    [line] = log_lines.of("app_token.not_renewed")
    assert line["level"] == "warning"
    assert {name: line[name] for name in details} == details
    assert "request_id" not in line
    assert SECRET not in log_lines.text
    spotify.failure = None
    spotify.time += RENEWAL_PAUSE
    await spotify.get()
    await settle()
    assert await spotify.get() == (3, 3600, CACHED)


@pytest.mark.parametrize(
    "failure", [UpstreamFailed(), RuntimeError(SECRET)], ids=["local error", "defect"]
)
async def test_failed_fetch_is_raised_by_all_waiters(spotify: Spotify, failure: Exception) -> None:
    spotify.failure = failure
    spotify.go.clear()
    waiting = [asyncio.create_task(spotify.get()) for _ in range(3)]
    await settle()
    spotify.go.set()
    first, *others = await asyncio.gather(*waiting, return_exceptions=True)
    assert first is failure
    assert [isinstance(error, ServiceError) for error in others] == [True, True]
    assert SECRET not in str(others)
    spotify.failure = None
    assert await spotify.get() == (2, 3600, None)


async def test_upstream_error_goes_to_all_waiters_and_is_not_cached(spotify: Spotify) -> None:
    spotify.failure = error = TokenResponse(503, ((b"Retry-After", b"3"),), b"no")
    spotify.go.clear()
    fetch = spotify.app_token.fetch
    waiting = [asyncio.create_task(fetch(REQUEST)) for _ in range(3)]
    await settle()
    spotify.go.set()
    shared = error._replace(reused=SHARED)
    assert await asyncio.gather(*waiting) == [error, shared, shared]
    spotify.failure = None
    assert await spotify.get() == (2, 3600, None)


async def test_failed_fetch_keeps_a_valid_token(spotify: Spotify) -> None:
    await spotify.get()
    spotify.time += 1
    spotify.failure = UpstreamFailed()
    with pytest.raises(UpstreamFailed):
        await spotify.get(fresh=True)
    assert await spotify.get() == (1, 3599, CACHED)
    assert await spotify.get(fresh=True) == (1, 3599, CACHED)  # not a second call at once
    assert spotify.calls == 2


async def test_fresh_requests_are_one_call_a_second(
    spotify: Spotify,
) -> None:
    await spotify.get()
    spotify.time += 0.999
    assert await spotify.get(fresh=True) == (1, 3599, CACHED)
    spotify.time += 0.001
    spotify.go.clear()
    first = asyncio.create_task(spotify.get(fresh=True))
    await settle()
    second = asyncio.create_task(spotify.get(fresh=True))
    assert await spotify.get() == (1, 3599, CACHED)
    await settle()
    spotify.go.set()
    assert (await first, await second) == ((2, 3600, None), (2, 3600, SHARED))
    assert await spotify.get(fresh=True) == (2, 3600, CACHED)
    assert spotify.calls == 2


async def test_newer_token_that_cannot_be_cached_replaces_the_older(spotify: Spotify) -> None:
    """A client that sends `no-cache` may have seen that the older token is refused."""
    await spotify.get()
    spotify.time += 1
    spotify.members = {"expires_in": 30}
    assert await spotify.get(fresh=True) == (2, 30, None)
    assert await spotify.get() == (3, 30, None)


async def test_cached_token_is_used_during_a_pause_and_renewed_after_it(spotify: Spotify) -> None:
    spotify.app_token = AppToken(Backoff(spotify, lambda: spotify.time), lambda: spotify.time)
    await spotify.get()
    spotify.time += 3600 - RENEWAL_SECONDS
    spotify.failure = TokenResponse(429, ((b"retry-after", b"60"),), b"")
    for _ in range(60 // RENEWAL_PAUSE):
        assert (await spotify.get())[::2] == (1, CACHED)
        await settle()
        spotify.time += RENEWAL_PAUSE
    assert spotify.calls == 2
    spotify.time -= 1
    with pytest.raises(Throttled):
        await spotify.get(fresh=True)
    spotify.time += 1
    spotify.failure = None
    await spotify.get()
    await settle()
    assert await spotify.get() == (3, 3600, CACHED)


async def test_closing_cancels_a_renewal(spotify: Spotify) -> None:
    tasks = asyncio.all_tasks()
    await spotify.get()
    spotify.go.clear()
    spotify.time += 3600 - RENEWAL_SECONDS
    await spotify.get()
    await settle()
    assert spotify.calls == 2
    await spotify.app_token.aclose()
    assert asyncio.all_tasks() == tasks


async def test_repr_shows_no_token(spotify: Spotify) -> None:
    await spotify.get()
    spotify.go.clear()
    spotify.time += 1
    waiting = asyncio.create_task(spotify.get(fresh=True))
    await settle()
    shown = repr([spotify.app_token, vars(spotify.app_token), asyncio.all_tasks()])
    assert SECRET not in shown
    spotify.go.set()
    await waiting
