"""What a 429 of Spotify's with Retry-After does to the requests after it."""

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.responses import Headers, TokenResponse
from service.backoff import LONGEST, Backoff, retry_after
from service.errors import Throttled
from service.grants import TokenRequest
from tests.conftest import LogLines
from tests.test_metrics import PATHS, Service, service
from tests.test_routes import (
    CODE,
    PKCE_REFRESH,
    REFRESH,
    assert_refused,
    good_form,
    order,
    recorded,
    well_formed,
)

__all__ = ["service"]  # the fixture

REASON = "Spotify wants fewer requests; see Retry-After"
FLOWS = [flow for flow in PATHS if flow != "client_credentials"]  # its cache: test_app_token

# On sockets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", PATHS)
def test_after_a_429_spotify_is_left_alone(
    service: Service, simulator: httpx.Client, log_lines: LogLines, flow: str
) -> None:
    order(simulator, {"kind": "ratelimit", "retry_after": 30})
    first, *later = (service.client.post(PATHS[flow], data=well_formed(PATHS[flow])) for _ in "123")
    assert first.json()["error"] == {"status": 429, "message": "API rate limit exceeded"}
    for answer in later:
        assert_refused(answer, 429, REASON)
        assert 20 < int(answer.headers["retry-after"]) <= 30
    assert len(recorded(simulator)) == 1
    assert service.requests() == {f"{flow} refused": 1, f"{flow} throttled": 2}
    [line] = log_lines.of("upstream.throttled")
    assert (line["level"], line["flow"], line["seconds"]) == ("warning", flow, 30)
    left = service.scrape()[f'spotify_api_server_throttled_seconds{{flow="{flow}"}}']
    assert 20 < left <= 30


def test_other_flows_go_on(service: Service, simulator: httpx.Client) -> None:
    order(simulator, {"kind": "ratelimit", "retry_after": 30})
    assert service.client.post(REFRESH, data=well_formed(REFRESH)).status_code == 429
    for path in (CODE, PKCE_REFRESH):
        assert service.client.post(path, data=good_form(simulator, path)).status_code == 200


def test_when_it_is_over_spotify_is_asked_again(service: Service, simulator: httpx.Client) -> None:
    order(simulator, {"kind": "ratelimit", "retry_after": 1})
    form = good_form(simulator, REFRESH)
    statuses = [service.client.post(REFRESH, data=form).status_code for _ in range(2)]
    assert statuses == [429, 429]
    asyncio.run(asyncio.sleep(1.05))
    assert service.client.post(REFRESH, data=form).status_code == 200
    assert service.scrape()['spotify_api_server_throttled_seconds{flow="refresh"}'] == 0


def test_bad_requests_are_still_told_what_is_wrong_with_them(
    service: Service, simulator: httpx.Client
) -> None:
    order(simulator, {"kind": "ratelimit", "retry_after": 30})
    service.client.post(REFRESH, data=well_formed(REFRESH))
    answer = service.client.post(REFRESH, data={"refresh_token": "tampered"})
    assert_refused(answer, 400, "could not decrypt refresh token")


@pytest.mark.parametrize("flow", FLOWS)
def test_invalid_grant_is_asked_once_and_is_no_failure_of_ours(
    service: Service, simulator: httpx.Client, log_lines: LogLines, flow: str
) -> None:
    answer = service.client.post(PATHS[flow], data=well_formed(PATHS[flow]))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert len(recorded(simulator)) == 1
    assert service.requests() == {f"{flow} refused": 1}
    [line] = [line for line in log_lines.lines if line.get("flow")]
    assert (line["level"], line["event"], line["error"]) == (
        "info",
        "token.refused",
        "invalid_grant",
    )
    assert service.client.post(PATHS[flow], data=good_form(simulator, PATHS[flow])).is_success


# By itself -----------------------------------------------------------------------------------

NOW = 784111777.0
IMF = "Sun, 06 Nov 1994 08:49:47 GMT"  # ten seconds later


class Spotify:
    """A Spotify and a clock; both do as they are told."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.answers: list[TokenResponse] = []
        self.calls = 0
        self.backoff = Backoff(self._ask, lambda: self.time, lambda: NOW)

    async def _ask(self, _grant: TokenRequest) -> TokenResponse:
        self.calls += 1
        return self.answers.pop(0)

    def get(self, flow: str = "refresh") -> int | str:
        """Ask; return the status of Spotify's answer, or the Retry-After of ours."""
        try:
            upstream = asyncio.run(self.backoff.ask(TokenRequest(flow, (), basic=True)))
        except Throttled as throttled:
            return throttled.headers["Retry-After"]
        return upstream.status


@pytest.fixture
def spotify() -> Spotify:
    return Spotify()


def says(status: int, *headers: tuple[str, str]) -> TokenResponse:
    return TokenResponse(status, [(n.encode(), v.encode("latin-1")) for n, v in headers], b"")


def test_what_remains_is_rounded_up_to_whole_seconds(spotify: Spotify) -> None:
    spotify.answers = [says(429, ("Retry-After", "10")), says(200)]
    assert spotify.get() == 429
    for passed, told in ((0, "10"), (0.5, "10"), (0.5, "9"), (8, "1"), (0.999, "1"), (0.001, 200)):
        spotify.time += passed
        assert spotify.get() == told
    assert spotify.calls == 2


@pytest.mark.parametrize("text", ["301", "86400", "9" * 5000, "Tue, 01 Jan 2999 00:00:00 GMT"])
def test_an_absurd_time_is_cut_down_to_five_minutes(spotify: Spotify, text: str) -> None:
    spotify.answers = [says(429, ("Retry-After", text))]
    assert [spotify.get(), spotify.get()] == [429, str(LONGEST)]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        *[
            [("Retry-After", text)]
            for text in (
                *("", "0", "-1", "+5", "5.5", "5s", "1e3", "5, 10", "soon", "\xb2"),
                "Sun, 06 Nov 1994 08:49:37 GMT",  # now
                "Sun, 06 Nov 1990 00:00:00 GMT",
                "Sun, 99 Nov 1994 08:49:47 GMT",
                "Sun, 06 Nov 1994",
            )
        ],
    ],
    ids=repr,
)
def test_without_a_time_to_come_nothing_changes(
    spotify: Spotify, headers: list[tuple[str, str]]
) -> None:
    spotify.answers = [says(429, *headers), says(200)]
    assert [spotify.get(), spotify.get()] == [429, 200]


@pytest.mark.parametrize("status", [200, 400, 428, 430, 500, 503])
def test_other_answers_with_retry_after_change_nothing(spotify: Spotify, status: int) -> None:
    spotify.answers = [says(status, ("Retry-After", "9")), says(200)]
    assert [spotify.get(), spotify.get()] == [status, 200]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([("Retry-After", "10")], 10),
        ([("retry-after", " 010 ")], 10),
        ([("RETRY-AFTER", "7"), ("Retry-After", "9")], 7),
        ([("Retry-After", IMF)], 10),
        ([("Retry-After", "Sunday, 06-Nov-94 08:49:47 GMT")], 10),
        ([("Retry-After", "Sun Nov  6 08:49:47 1994")], 10),
        # Spotify's clock, if it tells it: theirs is 4 s ahead of ours here.
        ([("Retry-After", IMF), ("Date", "Sun, 06 Nov 1994 08:49:41 GMT")], 6),
        ([("Retry-After", IMF), ("Date", "today")], 10),
        ([("Retry-After", "10"), ("Date", "Sun, 06 Nov 1994 08:49:41 GMT")], 10),
    ],
)
def test_seconds_and_the_three_forms_of_a_date_are_understood(
    headers: list[tuple[str, str]], seconds: float
) -> None:
    assert retry_after(says(429, *headers).headers, NOW) == seconds


dates = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2900, 1, 1)).map(  # noqa: DTZ001
    lambda naive: format_datetime(naive.replace(tzinfo=UTC), usegmt=True).encode()
)


@given(st.lists(st.tuples(st.sampled_from([b"Retry-After", b"Date"]), st.binary() | dates)))
def test_no_header_breaks_it(headers: Headers) -> None:
    seconds = retry_after(headers, NOW)
    assert seconds is None or isinstance(seconds, int | float)


def test_calls_that_were_under_way_may_only_prolong_it(
    spotify: Spotify, log_lines: LogLines
) -> None:
    """They were sent before anybody knew; one line says that it begins."""

    async def together() -> None:
        grants = [TokenRequest("refresh", (), basic=True)] * 4
        await asyncio.gather(*(late(grant) for grant in grants))

    async def late(grant: TokenRequest) -> None:
        await spotify.backoff.ask(grant)

    async def ask(_grant: TokenRequest) -> TokenResponse:
        answer = spotify.answers.pop(0)
        await asyncio.sleep(0)
        return answer

    spotify.backoff = Backoff(ask, lambda: spotify.time, lambda: NOW)
    spotify.answers = [
        says(429, ("Retry-After", "10")),
        says(429, ("Retry-After", "20")),
        says(429, ("Retry-After", "5")),
        says(200),
    ]
    asyncio.run(together())
    assert spotify.get() == "20"
    assert [line["seconds"] for line in log_lines.of("upstream.throttled")] == [10]


def test_each_time_it_begins_is_a_line(spotify: Spotify, log_lines: LogLines) -> None:
    spotify.answers = [says(429, ("Retry-After", "10")), says(429, ("Retry-After", "3"))]
    assert spotify.get() == 429
    spotify.time += 10
    assert spotify.get() == 429
    assert [line["seconds"] for line in log_lines.of("upstream.throttled")] == [10, 3]
