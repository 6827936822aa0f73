"""Single-flight: concurrent refreshes of one token share one call to Spotify."""

import asyncio
import traceback

import httpx
import pytest

from service.errors import InternalError, Overloaded, ServiceError, UpstreamTimeout
from service.grants import Flow, TokenRequest
from service.responses import Reuse, TokenResponse
from service.sealing import Sealer
from service.singleflight import Coalescing
from tests.conftest import LogLines, Start
from tests.fakes import FakeEndpoint, Outcome, settle
from tests.flows import (
    CODE,
    PKCE_REFRESH,
    REFRESH,
    SEALER,
    on_every_refresh,
    queue_faults,
    recorded,
    valid_form,
)
from tests.held import Held
from tests.simulator.requests import minted_refresh_token
from tests.volley import connected, read_response, request

pytestmark = pytest.mark.anyio

CALLERS = 20
PREVIOUS_KEY = "the-key-before-this-one"

# Over HTTP -----------------------------------------------------------------------------------


@pytest.fixture
def held(start: Start, simulator: httpx.Client) -> Held:
    return Held(start, simulator, SECRET_KEYS_PREVIOUS=PREVIOUS_KEY)


def sealed(token: str, times: int) -> list[dict[str, str]]:
    """Return forms with `token`, sealed for each one."""
    return [{"refresh_token": SEALER.seal(token)} for _ in range(times)]


@on_every_refresh
def test_concurrent_refreshes_of_one_token_are_one_call(
    held: Held, simulator: httpx.Client, log_lines: LogLines, path: str
) -> None:
    simulator.patch("/admin/settings", json={"rotation": "on"}).raise_for_status()
    token = minted_refresh_token(simulator, pkce=path == PKCE_REFRESH)
    shots = held.volley(path, *sealed(token, CALLERS))
    assert [shot.status for shot in shots] == [200] * CALLERS
    assert len(recorded(simulator)) == 1
    assert len({shot.json()["access_token"] for shot in shots}) == 1
    seals = {shot.json()["refresh_token"] for shot in shots}
    assert len(seals) == CALLERS
    assert len({SEALER.open(seal).token for seal in seals}) == 1
    lines = log_lines.of("token.refreshed", count=CALLERS)
    assert len(lines) == CALLERS
    assert [line.get("shared") for line in lines].count(True) == CALLERS - 1


def test_flows_do_not_share(held: Held, simulator: httpx.Client) -> None:
    token = minted_refresh_token(simulator, pkce=False)
    with connected(held.client) as one, connected(held.client) as other:
        for connection, path in ((one, REFRESH), (other, PKCE_REFRESH)):
            connection.sendall(request(path, {"refresh_token": SEALER.seal(token)}))
        held.release(2)
        assert [read_response(one).status, read_response(other).status] == [200, 200]
    assert len(recorded(simulator)) == 2


def test_different_tokens_do_not_share(held: Held, simulator: httpx.Client) -> None:
    shots = held.volley(REFRESH, *(valid_form(simulator, REFRESH) for _ in range(3)))
    assert len({shot.json()["access_token"] for shot in shots}) == 3
    assert len(recorded(simulator)) == 3


def test_later_requests_do_not_share(
    client: httpx.Client, simulator: httpx.Client, log_lines: LogLines
) -> None:
    simulator.patch("/admin/settings", json={"rotation": "off"}).raise_for_status()
    form = valid_form(simulator, REFRESH)
    responses = [client.post(REFRESH, data=form).raise_for_status() for _ in range(2)]
    assert len({response.json()["access_token"] for response in responses}) == 2
    assert len(recorded(simulator)) == 2
    assert not any("shared" in line for line in log_lines.of("token.refreshed", count=2))


def test_only_the_caller_with_a_previous_key_gets_its_token_back(
    held: Held, simulator: httpx.Client
) -> None:
    token = minted_refresh_token(simulator, pkce=False)
    seals = [SEALER.seal(token), Sealer(PREVIOUS_KEY).seal(token), SEALER.seal(token)]
    shots = held.volley(REFRESH, *({"refresh_token": seal} for seal in seals))
    assert len(recorded(simulator)) == 1
    tokens = [shot.json().get("refresh_token") for shot in shots]
    assert (tokens[0], tokens[2]) == (None, None)
    assert SEALER.open(tokens[1]).token == token


def test_upstream_error_is_shared(held: Held, simulator: httpx.Client) -> None:
    shots = held.volley(REFRESH, *sealed("unknown", 5))
    assert [(shot.status, shot.json()["error"]) for shot in shots] == [(400, "invalid_grant")] * 5
    assert len(recorded(simulator)) == 1


def test_failure_is_shared_and_the_next_request_calls_again(
    held: Held, simulator: httpx.Client
) -> None:
    token = minted_refresh_token(simulator, pkce=False)
    queue_faults(simulator, {"kind": "reset"})
    shots = held.volley(REFRESH, *sealed(token, 5))
    assert [shot.status for shot in shots] == [502] * 5
    assert len(recorded(simulator)) == 1
    assert held.client.post(REFRESH, data=sealed(token, 1)[0]).status_code == 200
    assert len(recorded(simulator)) == 2


def test_first_client_may_disconnect(held: Held, simulator: httpx.Client) -> None:
    """Spotify may have rotated the token: a second call would lose it."""
    simulator.patch("/admin/settings", json={"rotation": "on"}).raise_for_status()
    token = minted_refresh_token(simulator, pkce=True)
    first, second = sealed(token, 2)
    with connected(held.client) as leaving, connected(held.client) as staying:
        leaving.sendall(request(PKCE_REFRESH, first))
        held.wait_for_call()
        leaving.close()
        staying.sendall(request(PKCE_REFRESH, second))
        held.release(2)
        shot = read_response(staying)
    assert shot.status == 200
    assert SEALER.open(shot.json()["refresh_token"]).token != token
    assert [entry["status"] for entry in recorded(simulator)] == [200]


def test_codes_are_never_shared(held: Held, simulator: httpx.Client) -> None:
    """Spotify has to see a code's second use (RFC 6749, section 4.1.2)."""
    shots = held.volley(CODE, *[valid_form(simulator, CODE)] * 2)
    assert sorted(shot.status for shot in shots) == [200, 400]
    assert len(recorded(simulator)) == 2


# The link alone ------------------------------------------------------------------------------

REQUEST = TokenRequest(Flow.REFRESH, (("refresh_token", "AQ-the-token"),), basic=True)
GOOD = TokenResponse(200, (), b"{}")


async def waiting(coalescing: Coalescing, number: int) -> list[asyncio.Task[TokenResponse]]:
    """Return tasks that all wait for one call."""
    tasks = [asyncio.create_task(coalescing.fetch(REQUEST)) for _ in range(number)]
    await settle()
    return tasks


def held_call(outcome: Outcome) -> tuple[FakeEndpoint, Coalescing]:
    """Return an endpoint that responds when its `go` is set, and the link in front of it."""
    endpoint = FakeEndpoint(lambda _number: outcome)
    endpoint.go.clear()
    return endpoint, Coalescing(endpoint)


async def test_shared_responses_are_marked() -> None:
    endpoint, coalescing = held_call(GOOD)
    tasks = await waiting(coalescing, 3)
    endpoint.go.set()
    shared = GOOD._replace(reused=Reuse.SHARED)
    assert await asyncio.gather(*tasks) == [GOOD, shared, shared]
    assert endpoint.calls == 1


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_cancelled_waiter_does_not_affect_others(cancelled: int) -> None:
    endpoint, coalescing = held_call(GOOD)
    tasks = await waiting(coalescing, 3)
    tasks[cancelled].cancel()
    await settle()
    endpoint.go.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes.pop(cancelled), asyncio.CancelledError)
    assert [isinstance(outcome, TokenResponse) for outcome in outcomes] == [True, True]
    assert endpoint.calls == 1


@pytest.mark.parametrize("outcome", [GOOD, RuntimeError("with a secret")])
async def test_call_finishes_after_all_waiters_are_cancelled(outcome: Outcome) -> None:
    endpoint, coalescing = held_call(outcome)
    for task in (tasks := await waiting(coalescing, 2)):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert endpoint.finished == 0
    [joined] = await waiting(coalescing, 1)
    joined.cancel()
    endpoint.go.set()
    await settle()
    assert (endpoint.calls, endpoint.finished) == (1, 1)


async def failures(coalescing: Coalescing, endpoint: FakeEndpoint, number: int) -> list[Exception]:
    tasks = await waiting(coalescing, number)
    endpoint.go.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert endpoint.calls == 1
    return [outcome for outcome in outcomes if isinstance(outcome, Exception)]


@pytest.mark.parametrize("error", [UpstreamTimeout(), Overloaded()], ids=repr)
async def test_each_waiter_raises_its_own_copy_of_an_error(error: ServiceError) -> None:
    endpoint, coalescing = held_call(error)
    raised = await failures(coalescing, endpoint, 20)
    assert len({id(copy) for copy in raised}) == 20
    assert {type(copy) for copy in raised} == {type(error)}
    described = {(str(copy), tuple(vars(copy)["headers"].items())) for copy in raised}
    assert described == {(error.reason, tuple(error.headers.items()))}
    depths = {len(traceback.extract_tb(copy.__traceback__)) for copy in raised[1:]}
    assert len(depths) == 1
    assert max(depths) <= len(traceback.extract_tb(raised[0].__traceback__)) <= 5


async def test_defect_is_an_internal_error_for_all_waiters() -> None:
    defect = RuntimeError("with a secret")
    endpoint, coalescing = held_call(defect)
    first, *others = await failures(coalescing, endpoint, 3)
    assert first is defect
    assert [type(other) for other in others] == [InternalError] * 2
    assert [other.__cause__ for other in others] == [defect] * 2
    assert not any("secret" in str(other) for other in others)


async def test_closing_cancels_calls_in_flight() -> None:
    endpoint, coalescing = held_call(GOOD)
    tasks = await waiting(coalescing, 2)
    await coalescing.aclose()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2
    assert endpoint.finished == 1
    await coalescing.aclose()


async def test_closing_cancels_waiters_of_a_call_that_has_not_started() -> None:
    endpoint, coalescing = held_call(GOOD)
    task = asyncio.create_task(coalescing.fetch(REQUEST))
    await asyncio.sleep(0)  # the call's own task is made, and has not run yet
    await coalescing.aclose()
    [outcome] = await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 5)
    assert isinstance(outcome, asyncio.CancelledError)
    assert endpoint.calls == 0


async def test_repr_shows_no_token() -> None:
    endpoint, coalescing = held_call(GOOD)
    tasks = await waiting(coalescing, 2)
    shown = repr([REQUEST, GOOD, coalescing, tasks, asyncio.all_tasks()])
    assert "TokenRequest(flow=refresh, …)" in shown
    assert "AQ-the-token" not in shown
    endpoint.go.set()
    await asyncio.gather(*tasks)
