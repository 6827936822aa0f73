"""The same refresh at the same time: one call to Spotify, one answer to all."""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable

import httpx
import pytest

from service.responses import SHARED, TokenResponse
from service.singleflight import Coalescing
from service.errors import InternalError, Overloaded, ServiceError, UpstreamTimeout
from service.grants import TokenRequest
from service.sealing import Sealer
from tests.conftest import LogLines, Start
from tests.simulator.requests import minted_refresh_token
from tests.test_routes import (
    CODE,
    PKCE_REFRESH,
    REFRESH,
    SEALER,
    good_form,
    on_every_refresh,
    order,
    recorded,
)
from tests.volley import answer, connected, request, volley

CALLERS = 50
PREVIOUS_KEY = "the-key-before-this-one"

# On sockets ----------------------------------------------------------------------------------


def sealed_anew(token: str, times: int) -> list[dict[str, str]]:
    """Return forms with `token`, each under a seal of its own."""
    return [{"refresh_token": SEALER.seal(token)} for _ in range(times)]


def slow(simulator: httpx.Client, seconds: float = 0.5, **more: object) -> None:
    order(simulator, {"kind": "delay", "seconds": seconds, **more})


@on_every_refresh
def test_many_refreshes_of_one_token_are_one_call(
    client: httpx.Client, simulator: httpx.Client, log_lines: LogLines, path: str
) -> None:
    simulator.patch("/admin/settings", json={"rotation": "on"}).raise_for_status()
    token = minted_refresh_token(simulator, pkce=path == PKCE_REFRESH)
    slow(simulator, 1.5)
    shots = volley(client, path, sealed_anew(token, CALLERS))
    assert [shot.status for shot in shots] == [200] * CALLERS
    assert len(recorded(simulator)) == 1
    assert len({shot.json()["access_token"] for shot in shots}) == 1
    seals = {shot.json()["refresh_token"] for shot in shots}
    assert len(seals) == CALLERS
    assert len({SEALER.open(seal).token for seal in seals}) == 1
    lines = log_lines.of("token.refreshed")
    assert len(lines) == CALLERS
    assert [line.get("shared") for line in lines].count(True) == CALLERS - 1


def test_the_two_flows_do_not_share(client: httpx.Client, simulator: httpx.Client) -> None:
    token = minted_refresh_token(simulator, pkce=False)
    slow(simulator, times=2)
    with connected(client) as one, connected(client) as other:
        for connection, path in ((one, REFRESH), (other, PKCE_REFRESH)):
            connection.sendall(request(path, {"refresh_token": SEALER.seal(token)}))
        assert [answer(one).status, answer(other).status] == [200, 200]
    assert len(recorded(simulator)) == 2


@on_every_refresh
def test_different_tokens_do_not_share(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    slow(simulator, times=3)
    shots = volley(client, path, [good_form(simulator, path) for _ in range(3)])
    assert len({shot.json()["access_token"] for shot in shots}) == 3
    assert len(recorded(simulator)) == 3


@on_every_refresh
def test_nothing_is_kept_for_who_comes_later(
    client: httpx.Client, simulator: httpx.Client, log_lines: LogLines, path: str
) -> None:
    simulator.patch("/admin/settings", json={"rotation": "off"}).raise_for_status()
    form = good_form(simulator, path)
    answers = [client.post(path, data=form).raise_for_status() for _ in range(2)]
    assert len({answer.json()["access_token"] for answer in answers}) == 2
    assert len(recorded(simulator)) == 2
    assert not any("shared" in line for line in log_lines.lines)


def test_only_who_has_a_stale_seal_gets_his_token_back(
    start: Start, simulator: httpx.Client
) -> None:
    client = start(SECRET_KEYS_PREVIOUS=PREVIOUS_KEY)
    token = minted_refresh_token(simulator, pkce=False)
    seals = [SEALER.seal(token), Sealer(PREVIOUS_KEY).seal(token), SEALER.seal(token)]
    slow(simulator)
    shots = volley(client, REFRESH, [{"refresh_token": seal} for seal in seals])
    assert len(recorded(simulator)) == 1
    tokens = [shot.json().get("refresh_token") for shot in shots]
    assert (tokens[0], tokens[2]) == (None, None)
    assert SEALER.open(tokens[1]).token == token


@on_every_refresh
def test_a_refusal_is_shared_too(client: httpx.Client, simulator: httpx.Client, path: str) -> None:
    slow(simulator)
    shots = volley(client, path, sealed_anew("nobody's", 5))
    assert [(shot.status, shot.json()["error"]) for shot in shots] == [(400, "invalid_grant")] * 5
    assert len(recorded(simulator)) == 1


@on_every_refresh
def test_a_failure_is_shared_and_whoever_comes_later_asks_again(
    start: Start, simulator: httpx.Client, path: str
) -> None:
    client = start(UPSTREAM_TIMEOUT="1")
    token = minted_refresh_token(simulator, pkce=path == PKCE_REFRESH)
    order(simulator, {"kind": "silence"})
    shots = volley(client, path, sealed_anew(token, 5))
    assert [shot.status for shot in shots] == [504] * 5
    assert len(recorded(simulator)) == 1
    assert client.post(path, data=sealed_anew(token, 1)[0]).status_code == 200
    assert len(recorded(simulator)) == 2


@on_every_refresh
def test_a_client_that_leaves_takes_nobodys_answer_with_it(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    """Spotify has rotated the token by then: a second call would lose it."""
    simulator.patch("/admin/settings", json={"rotation": "on"}).raise_for_status()
    token = minted_refresh_token(simulator, pkce=path == PKCE_REFRESH)
    slow(simulator)
    first, second = sealed_anew(token, 2)
    with connected(client) as leaving, connected(client) as staying:
        leaving.sendall(request(path, first))
        wait_until(lambda: len(recorded(simulator)) == 1)
        staying.sendall(request(path, second))
        leaving.close()
        shot = answer(staying)
    assert shot.status == 200
    assert SEALER.open(shot.json()["refresh_token"]).token != token
    assert [entry["status"] for entry in recorded(simulator)] == [200]


def test_a_code_is_asked_for_each_time(client: httpx.Client, simulator: httpx.Client) -> None:
    """Spotify has to see a code's second use (RFC 6749, section 4.1.2)."""
    slow(simulator, times=2)
    shots = volley(client, CODE, [good_form(simulator, CODE)] * 2)
    assert sorted(shot.status for shot in shots) == [200, 400]
    assert len(recorded(simulator)) == 2


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < end


# By itself -----------------------------------------------------------------------------------

GRANT = TokenRequest("refresh", (("refresh_token", "AQ-the-token"),), basic=True)


class Spotify:
    """Answers when it is told to, and counts who asks."""

    def __init__(self, outcome: Upstream | Exception) -> None:
        self._outcome = outcome
        self.calls = 0
        self.ended = 0
        self.go = asyncio.Event()

    async def ask(self, _grant: TokenRequest) -> TokenResponse:
        self.calls += 1
        try:
            await self.go.wait()
        finally:
            self.ended += 1
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


GOOD = TokenResponse(200, (), b"{}")


async def waiting(coalescing: Coalescing, number: int) -> list[asyncio.Task[TokenResponse]]:
    """Return tasks that all wait for Spotify."""
    tasks = [asyncio.create_task(coalescing.ask(GRANT)) for _ in range(number)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


Scene = Callable[[Coalescing, Spotify], Awaitable[None]]


def play(outcome: Upstream | Exception, scene: Scene) -> None:
    """Run `scene` in a loop whose every complaint is a failure."""
    complaints: list[dict[str, object]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        spotify = Spotify(outcome)
        await scene(Coalescing(spotify.ask), spotify)

    asyncio.run(main())
    assert complaints == []


def test_only_those_who_joined_are_marked() -> None:
    async def scene(coalescing: Coalescing, spotify: Spotify) -> None:
        tasks = await waiting(coalescing, 3)
        spotify.go.set()
        outcomes = await asyncio.gather(*tasks)
        assert outcomes == [GOOD, GOOD._replace(spared=SHARED), GOOD._replace(spared=SHARED)]
        assert spotify.calls == 1

    play(GOOD, scene)


@pytest.mark.parametrize("cancelled", [0, 1, 2])
def test_a_waiter_that_is_cancelled_does_not_hurt_the_others(cancelled: int) -> None:
    async def scene(coalescing: Coalescing, spotify: Spotify) -> None:
        tasks = await waiting(coalescing, 3)
        tasks[cancelled].cancel()
        await asyncio.sleep(0)
        spotify.go.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes.pop(cancelled), asyncio.CancelledError)
        assert [isinstance(outcome, TokenResponse) for outcome in outcomes] == [True, True]
        assert spotify.calls == 1

    play(GOOD, scene)


@pytest.mark.parametrize("outcome", [GOOD, RuntimeError("with a secret")])
def test_a_call_whose_waiters_have_all_left_goes_on_to_its_end(
    outcome: Upstream | Exception,
) -> None:
    async def scene(coalescing: Coalescing, spotify: Spotify) -> None:
        for task in (tasks := await waiting(coalescing, 2)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert spotify.ended == 0
        [joined] = await waiting(coalescing, 1)
        joined.cancel()
        spotify.go.set()
        await asyncio.sleep(0.01)
        assert (spotify.calls, spotify.ended) == (1, 1)

    play(outcome, scene)


async def failures(coalescing: Coalescing, spotify: Spotify, number: int) -> list[Exception]:
    tasks = await waiting(coalescing, number)
    spotify.go.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert spotify.calls == 1
    return [outcome for outcome in outcomes if isinstance(outcome, Exception)]


@pytest.mark.parametrize("error", [UpstreamTimeout(), Overloaded()], ids=repr)
def test_a_failure_is_raised_by_each_for_himself(error: ServiceError) -> None:
    async def scene(coalescing: Coalescing, spotify: Spotify) -> None:
        raised = await failures(coalescing, spotify, 20)
        assert len({id(each) for each in raised}) == 20
        assert {type(each) for each in raised} == {type(error)}
        told = {(str(each), tuple(vars(each)["headers"].items())) for each in raised}
        assert told == {(error.reason, tuple(error.headers.items()))}
        depths = {len(traceback.extract_tb(each.__traceback__)) for each in raised[1:]}
        assert len(depths) == 1
        assert max(depths) <= len(traceback.extract_tb(raised[0].__traceback__)) <= 5

    play(error, scene)


def test_a_defect_is_the_first_ones_and_an_internal_error_of_the_others() -> None:
    defect = RuntimeError("with a secret")

    async def scene(coalescing: Coalescing, spotify: Spotify) -> None:
        first, *others = await failures(coalescing, spotify, 3)
        assert first is defect
        assert [type(other) for other in others] == [InternalError] * 2
        assert [other.__cause__ for other in others] == [defect] * 2
        assert not any("secret" in str(other) for other in others)

    play(defect, scene)


def test_closing_cancels_what_is_under_way() -> None:
    async def scene(coalescing: Coalescing, spotify: Spotify) -> None:
        tasks = await waiting(coalescing, 2)
        await coalescing.aclose()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2
        assert spotify.ended == 1
        await coalescing.aclose()

    play(GOOD, scene)


def test_closing_ends_who_waits_for_a_call_that_never_began() -> None:
    async def scene(coalescing: Coalescing, spotify: Spotify) -> None:
        task = asyncio.create_task(coalescing.ask(GRANT))
        await asyncio.sleep(0)  # the call's own task is made, and has not run yet
        await coalescing.aclose()
        [outcome] = await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 5)
        assert isinstance(outcome, asyncio.CancelledError)
        assert spotify.ended == 0

    play(GOOD, scene)


def test_what_is_under_way_shows_no_token() -> None:
    async def scene(coalescing: Coalescing, spotify: Spotify) -> None:
        tasks = await waiting(coalescing, 2)
        shown = repr([tasks, asyncio.all_tasks(), vars(coalescing), vars(coalescing._calls)])  # noqa: SLF001
        assert "TokenRequest(…)" in shown
        assert "AQ-the-token" not in shown
        spotify.go.set()
        await asyncio.gather(*tasks)

    play(GOOD, scene)
