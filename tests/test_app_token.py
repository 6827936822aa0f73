"""The app's own token: fetched once, handed to all, renewed before it ends."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import httpx
import pytest

from service.responses import CACHED, SHARED, Answer, TokenResponse
from service.app_token import (
    LEAST_SECONDS,
    MOST_SECONDS,
    RENEWAL_PAUSE,
    RENEWAL_SECONDS,
    AppToken,
)
from service.backoff import Backoff
from service.errors import ServiceError, Throttled, UpstreamFailed, UpstreamTimeout
from service.grants import Exchanged, Grant, exchange
from service.sealing import Sealer
from tests.conftest import LogLines, Start
from tests.test_metrics import measured
from tests.test_routes import CREDENTIALS, JSON, URLENCODED, assert_refused, order, recorded, send
from tests.volley import volley

HERD = 500
FORM = {"grant_type": "client_credentials"}

# On sockets ----------------------------------------------------------------------------------


def asked(client: httpx.Client, **headers: str) -> httpx.Response:
    return client.post(CREDENTIALS, data=FORM, headers=headers)


def test_a_herd_at_a_cold_start_is_one_call(
    start: Start, simulator: httpx.Client, log_lines: LogLines
) -> None:
    """A second one would be refused, as UPSTREAM_MAX_IN_FLIGHT is 1 here."""
    service = measured(start, UPSTREAM_MAX_IN_FLIGHT="1")
    order(simulator, {"kind": "delay", "seconds": 0.5})
    shots = volley(service.client, CREDENTIALS, [FORM] * HERD)
    assert {shot.status for shot in shots} == {200}
    assert len(recorded(simulator)) == 1
    assert len({shot.json()["access_token"] for shot in shots}) == 1
    assert service.requests() == {"client_credentials success": HERD}
    lines = log_lines.of("token.retrieved")
    spared = [line for line in lines if line.get("shared") or line.get("cached")]
    assert (len(lines), len(spared)) == (HERD, HERD - 1)
    samples = service.scrape()
    name = 'spotify_api_server_spared_calls_total{{flow="client_credentials",reason="{}"}}'
    assert samples[name.format("shared")] + samples[name.format("cached")] == HERD - 1
    count = 'spotify_api_server_upstream_duration_seconds_count{flow="client_credentials"}'
    assert samples[count] == 1


def test_a_herd_whose_fetch_fails_shares_the_failure_and_the_next_one_fetches_anew(
    start: Start, simulator: httpx.Client
) -> None:
    client = start(UPSTREAM_TIMEOUT="2")
    order(simulator, {"kind": "silence"})
    assert {shot.status for shot in volley(client, CREDENTIALS, [FORM] * 50)} == {504}
    assert len(recorded(simulator)) == 1
    assert asked(client).status_code == 200
    assert len(recorded(simulator)) == 2


def test_the_kept_answer_is_spotifys_but_for_what_remains(
    client: httpx.Client, simulator: httpx.Client, log_lines: LogLines
) -> None:
    body = '{"access_token":"BQ\\u00e9/","n":1.50e+3,"expires_in":3600,"x":[1 ,2],"token_type":"B"}'
    order(simulator, {"kind": "answer", "body": body, "headers": [["X-Trace", "1"]]})
    first, second = asked(client), asked(client)
    assert first.text == body
    left = second.json()["expires_in"]
    assert 3590 <= left <= 3600
    assert second.text == body.replace("3600", str(left))
    for name in ("content-type", "cache-control", "pragma"):
        assert second.headers[name] == first.headers[name]
    assert "x-trace" not in second.headers
    assert len(recorded(simulator)) == 1
    assert [line.get("cached") for line in log_lines.of("token.retrieved")] == [None, True]


@pytest.mark.parametrize("value", ["no-cache", "max-age=0 , No-Cache"])
def test_no_cache_fetches_anew_once_a_second(
    client: httpx.Client, simulator: httpx.Client, value: str
) -> None:
    headers = {"Cache-Control": value}
    tokens = [asked(client).json()["access_token"]]
    time.sleep(1.05)
    tokens += [asked(client, **headers).json()["access_token"] for _ in range(3)]
    tokens += [asked(client).json()["access_token"]]
    assert len(set(tokens)) == len(recorded(simulator)) == 2
    assert len(set(tokens[1:])) == 1


@pytest.mark.parametrize("value", ["no-store", "max-age=0", "x-no-cache", ""])
def test_other_words_are_content_with_what_is_kept(
    client: httpx.Client, simulator: httpx.Client, value: str
) -> None:
    asked(client)
    time.sleep(1.05)
    asked(client, **{"Cache-Control": value})
    assert len(recorded(simulator)) == 1


def test_switched_off_each_request_is_a_call(start: Start, simulator: httpx.Client) -> None:
    client = start(CLIENT_CREDENTIALS_CACHE="false")
    order(simulator, {"kind": "delay", "seconds": 0.3, "times": 3})
    shots = volley(client, CREDENTIALS, [FORM] * 3)
    assert len({shot.json()["access_token"] for shot in shots}) == 3
    assert len(recorded(simulator)) == 3


@pytest.mark.parametrize(("expires_in", "calls"), [(59, 2), (60, 2), (61, 1), (0, 2)])
def test_a_token_that_ends_soon_is_passed_on_as_it_is(
    client: httpx.Client, simulator: httpx.Client, expires_in: int, calls: int
) -> None:
    """One of 60 s has less left as soon as it has been on its way."""
    simulator.patch("/admin/settings", json={"expires_in": expires_in}).raise_for_status()
    assert asked(client).json()["expires_in"] == expires_in
    asked(client)
    assert len(recorded(simulator)) == calls


@pytest.mark.parametrize("expires_in", ['"3600"', "3600.5", "36e2", "null", "[]"])
def test_a_token_that_does_not_say_how_long_it_lasts_is_passed_on_as_it_is(
    client: httpx.Client, simulator: httpx.Client, expires_in: str
) -> None:
    body = f'{{"access_token":"BQ","expires_in":{expires_in}}}'
    order(simulator, {"kind": "answer", "body": body, "times": 2})
    assert [asked(client).text for _ in "12"] == [body] * 2
    assert len(recorded(simulator)) == 2


def test_a_token_that_says_to_last_for_ages_is_passed_on_as_it_is_and_kept_for_an_hour(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    body = '{"access_token":"BQ","expires_in":999999999999}'
    order(simulator, {"kind": "answer", "body": body})
    assert asked(client).text == body
    assert 3590 <= asked(client).json()["expires_in"] <= 3600
    assert len(recorded(simulator)) == 1


def test_requests_are_judged_though_the_answer_is_known(client: httpx.Client) -> None:
    asked(client).raise_for_status()
    assert_refused(client.post(CREDENTIALS), 415, "Unsupported Media Type")
    assert send(client, CREDENTIALS, JSON, b"{no json").status_code == 400
    assert send(client, CREDENTIALS, URLENCODED, b"x" * 16384).status_code == 413
    assert client.get(CREDENTIALS).status_code == 405


def test_a_kept_token_is_answered_though_spotify_wants_no_calls(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    token = asked(client).json()["access_token"]
    time.sleep(1.05)
    order(simulator, {"kind": "ratelimit", "retry_after": 30})
    assert asked(client, **{"Cache-Control": "no-cache"}).status_code == 429
    assert asked(client).json()["access_token"] == token
    assert len(recorded(simulator)) == 2


# By itself -----------------------------------------------------------------------------------

GRANT = TokenRequest("client_credentials", (("grant_type", "client_credentials"),), basic=True)
SECRET = "BQ-the-access-token"


def token(number: int, expires_in: int = 3600, **more: object) -> TokenResponse:
    members = {"access_token": f"{SECRET}-{number}", "expires_in": expires_in, **more}
    return TokenResponse(200, (), json.dumps(members).encode())


class Spotify:
    """A Spotify and a clock; both do as they are told."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.seconds = 0.0
        self.calls = 0
        self.expires_in = 3600
        self.more: dict[str, object] = {}
        self.failure: Upstream | Exception | None = None
        self.go = asyncio.Event()
        self.go.set()
        self._ask: Callable[[Grant], Awaitable[TokenResponse]] = self.ask
        self.app_token = AppToken(self._exchange, lambda: self.time)

    def behind(self, backoff: Backoff) -> None:
        """Let `backoff` stand between."""
        self._ask = backoff.ask

    async def ask(self, _grant: TokenRequest) -> TokenResponse:
        self.calls += 1
        number = self.calls
        await self.go.wait()
        self.time += self.seconds
        if isinstance(self.failure, Exception):
            raise self.failure
        return self.failure or token(number, self.expires_in, **self.more)

    async def _exchange(self, grant: TokenRequest) -> Exchanged:
        return await exchange(grant, self._ask, Sealer("k" * 20), lambda: None)  # type: ignore[arg-type,return-value]

    async def get(self, *, fresh: bool = False) -> tuple[int, int, str | None]:
        """Return which token is answered, how long it lasts, and why there was no call."""
        upstream, answer = await self.app_token.exchange(GRANT, fresh=fresh)
        members = json.loads(answer.body)
        number = int(members["access_token"].removeprefix(f"{SECRET}-"))
        return number, members["expires_in"], upstream.spared

    async def settle(self) -> None:
        """Let what goes on in the background go on."""
        for _ in range(10):
            await asyncio.sleep(0)


Scene = Callable[[Spotify], Awaitable[None]]


def play(scene: Scene) -> None:
    """Run `scene` in a loop whose every complaint is a failure."""
    complaints: list[dict[str, object]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        spotify = Spotify()
        await scene(spotify)
        await spotify.app_token.aclose()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert complaints == []


def test_expires_in_is_what_remains_in_whole_seconds() -> None:
    async def scene(spotify: Spotify) -> None:
        spotify.seconds = 0.25
        assert await spotify.get() == (1, 3600, None)
        for passed, left in ((0, 3599), (0.5, 3599), (0.5, 3598), (1000, 2598)):
            spotify.time += passed
            assert await spotify.get() == (1, left, CACHED)
        assert spotify.calls == 1

    play(scene)


def test_one_that_says_to_last_for_ages_is_renewed_and_ends_as_any_other() -> None:
    async def scene(spotify: Spotify) -> None:
        spotify.expires_in = 10**12 - 1
        assert await spotify.get() == (1, 10**12 - 1, None)
        spotify.time += MOST_SECONDS - RENEWAL_SECONDS
        assert await spotify.get() == (1, RENEWAL_SECONDS, CACHED)
        await spotify.settle()
        assert spotify.calls == 2
        spotify.time += MOST_SECONDS
        assert await spotify.get() == (3, 10**12 - 1, None)

    play(scene)


def test_it_is_renewed_in_the_background_by_one_request() -> None:
    async def scene(spotify: Spotify) -> None:
        await spotify.get()
        spotify.time += 3600 - RENEWAL_SECONDS - 1
        await spotify.get()
        await spotify.settle()
        assert spotify.calls == 1
        spotify.time += 1
        spotify.go.clear()
        for _ in range(20):
            assert await spotify.get() == (1, RENEWAL_SECONDS, CACHED)
            await spotify.settle()
        assert spotify.calls == 2
        spotify.go.set()
        await spotify.settle()
        assert await spotify.get() == (2, 3600, CACHED)
        assert spotify.calls == 2

    play(scene)


def test_a_renewal_belongs_to_no_request() -> None:
    """It begins in none of their contexts, so that no trace and no line of theirs has it."""
    request: ContextVar[str | None] = ContextVar("request", default=None)
    seen: list[str | None] = []

    async def scene(spotify: Spotify) -> None:
        async def ask(grant: TokenRequest) -> TokenResponse:
            seen.append(request.get())
            return await spotify.ask(grant)

        spotify.behind(Backoff(ask))
        request.set("the first")
        await spotify.get()
        request.set("the second")
        spotify.time += 3600 - RENEWAL_SECONDS
        await spotify.get()
        await spotify.settle()
        assert seen == ["the first", None]

    play(scene)


def test_nobody_gets_one_that_ends_in_less_than_a_minute() -> None:
    async def scene(spotify: Spotify) -> None:
        await spotify.get()
        spotify.go.clear()
        spotify.time += 3600 - LEAST_SECONDS
        assert await spotify.get() == (1, LEAST_SECONDS, CACHED)
        spotify.time += 0.001
        waiting = [asyncio.create_task(spotify.get()) for _ in range(3)]
        await spotify.settle()
        assert not any(task.done() for task in waiting)
        spotify.go.set()
        # The renewal was under way; they joined it.
        assert await asyncio.gather(*waiting) == [(2, 3600, SHARED)] * 3
        assert spotify.calls == 2

    play(scene)


def test_a_short_one_is_not_renewed_before_half_of_its_life() -> None:
    async def scene(spotify: Spotify) -> None:
        spotify.expires_in = 200
        await spotify.get()
        spotify.time += 99
        await spotify.get()
        await spotify.settle()
        assert spotify.calls == 1
        spotify.time += 1
        await spotify.get()
        await spotify.settle()
        assert spotify.calls == 2

    play(scene)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (
            TokenResponse(400, (), b'{"error":"invalid_client","error_description":"BQ-the-access"}'),
            {"status": 400, "error": "invalid_client"},
        ),
        (TokenResponse(503, (), SECRET.encode()), {"status": 503, "error": None}),
        (
            TokenResponse(302, (), SECRET.encode()),
            {"reason": "Spotify answered with an unexpected status"},
        ),
        (UpstreamTimeout(), {"reason": "Spotify did not answer in time"}),
        (Throttled(7), {"reason": "Spotify wants fewer requests; see Retry-After"}),
        (RuntimeError(SECRET), {"error_type": "RuntimeError"}),
    ],
    ids=repr,
)
def test_a_renewal_that_fails_is_logged_once_and_tried_again_after_a_pause(
    log_lines: LogLines, failure: Upstream | Exception, told: dict[str, object]
) -> None:
    async def scene(spotify: Spotify) -> None:
        await spotify.get()
        spotify.failure = failure
        spotify.time += 3600 - RENEWAL_SECONDS
        for _ in range(5):
            assert await spotify.get() == (1, RENEWAL_SECONDS, CACHED)
            await spotify.settle()
        assert spotify.calls == 2
        [line] = log_lines.of("app_token.not_renewed")
        assert line["level"] == "warning"
        assert {name: line[name] for name in told} == told
        assert "request_id" not in line
        assert SECRET not in log_lines.text
        spotify.failure = None
        spotify.time += RENEWAL_PAUSE
        await spotify.get()
        await spotify.settle()
        assert await spotify.get() == (3, 3600, CACHED)

    play(scene)


@pytest.mark.parametrize("failure", [UpstreamFailed(), RuntimeError(SECRET)], ids=repr)
def test_a_fetch_that_fails_is_told_to_all_who_wait_and_not_kept(failure: Exception) -> None:
    async def scene(spotify: Spotify) -> None:
        spotify.failure = failure
        spotify.go.clear()
        waiting = [asyncio.create_task(spotify.get()) for _ in range(3)]
        await spotify.settle()
        spotify.go.set()
        raised = await asyncio.gather(*waiting, return_exceptions=True)
        assert raised[0] is failure
        assert [isinstance(error, ServiceError) for error in raised[1:]] == [True, True]
        assert [str(error) for error in raised if SECRET in str(error)] in ([], [SECRET])
        spotify.failure = None
        assert await spotify.get() == (2, 3600, None)
        assert await spotify.get() == (2, 3600, CACHED)

    play(scene)


def test_an_error_of_spotifys_is_forwarded_to_all_who_wait_and_not_kept() -> None:
    async def scene(spotify: Spotify) -> None:
        spotify.failure = TokenResponse(503, ((b"Retry-After", b"3"),), b"no")
        spotify.go.clear()
        ask = spotify.app_token.exchange
        waiting = [asyncio.create_task(ask(GRANT)) for _ in range(3)]
        await spotify.settle()
        spotify.go.set()
        answers = [answer for _, answer in await asyncio.gather(*waiting)]
        assert [(answer.status, answer.body) for answer in answers] == [(503, b"no")] * 3
        assert all((b"retry-after", b"3") in answer.headers for answer in answers)
        spotify.failure = None
        assert await spotify.get() == (2, 3600, None)

    play(scene)


def test_a_fetch_that_fails_leaves_the_token_that_is_still_good() -> None:
    async def scene(spotify: Spotify) -> None:
        await spotify.get()
        spotify.time += 1
        spotify.failure = UpstreamFailed()
        with pytest.raises(UpstreamFailed):
            await spotify.get(fresh=True)
        assert await spotify.get() == (1, 3599, CACHED)
        assert await spotify.get(fresh=True) == (1, 3599, CACHED)  # it's the newest, and no second
        assert spotify.calls == 2

    play(scene)


def test_no_cache_is_one_call_a_second_and_joins_what_is_under_way() -> None:
    async def scene(spotify: Spotify) -> None:
        await spotify.get()
        spotify.time += 0.999
        assert await spotify.get(fresh=True) == (1, 3599, CACHED)
        spotify.time += 0.001
        spotify.go.clear()
        first = asyncio.create_task(spotify.get(fresh=True))
        await spotify.settle()
        second = asyncio.create_task(spotify.get(fresh=True))
        assert await spotify.get() == (1, 3599, CACHED)
        await spotify.settle()
        spotify.go.set()
        assert (await first, await second) == ((2, 3600, None), (2, 3600, SHARED))
        assert await spotify.get(fresh=True) == (2, 3600, CACHED)
        assert spotify.calls == 2

    play(scene)


def test_a_newer_one_that_cannot_be_kept_takes_the_older_ones_place() -> None:
    """Who wants nothing cached may have found that the older one is refused."""

    async def scene(spotify: Spotify) -> None:
        await spotify.get()
        spotify.time += 1
        spotify.expires_in = 30
        assert await spotify.get(fresh=True) == (2, 30, None)
        assert await spotify.get() == (3, 30, None)

    play(scene)


def test_an_answer_with_a_refresh_token_is_nobody_elses() -> None:
    async def scene(spotify: Spotify) -> None:
        spotify.more = {"refresh_token": None}
        assert [(await spotify.get())[0] for _ in "12"] == [1, 2]

    play(scene)


def test_it_is_answered_while_spotify_wants_no_calls_and_renewed_when_it_does() -> None:
    async def scene(spotify: Spotify) -> None:
        spotify.behind(Backoff(spotify.ask, lambda: spotify.time))
        await spotify.get()
        spotify.time += 3600 - RENEWAL_SECONDS
        spotify.failure = TokenResponse(429, ((b"retry-after", b"60"),), b"")
        for _ in range(60 // RENEWAL_PAUSE):
            assert (await spotify.get())[::2] == (1, CACHED)
            await spotify.settle()
            spotify.time += RENEWAL_PAUSE
        assert spotify.calls == 2
        spotify.failure = None
        await spotify.get()
        await spotify.settle()
        assert await spotify.get() == (3, 3600, CACHED)

    play(scene)


def test_closing_ends_a_renewal_and_those_who_wait_for_it() -> None:
    async def scene(spotify: Spotify) -> None:
        await spotify.get()
        spotify.go.clear()
        spotify.time += 3600 - RENEWAL_SECONDS
        await spotify.get()
        await spotify.settle()
        assert spotify.calls == 2
        await spotify.app_token.aclose()
        assert len(asyncio.all_tasks()) == 1

    play(scene)


def test_it_shows_no_token() -> None:
    async def scene(spotify: Spotify) -> None:
        await spotify.get()
        spotify.go.clear()
        waiting = asyncio.create_task(spotify.get(fresh=True))
        spotify.time += 1
        await spotify.settle()
        await spotify.settle()
        inside = vars(spotify.app_token)
        shown = repr([spotify.app_token, inside, asyncio.all_tasks(), vars(inside["_fetches"])])
        assert SECRET not in shown
        spotify.go.set()
        await waiting

    play(scene)


def test_answers_show_no_token() -> None:
    exchanged = token(1), Answer(200, (), SECRET.encode())
    assert SECRET not in repr(exchanged)
