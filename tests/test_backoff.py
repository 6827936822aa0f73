"""Back-off: the effect of Spotify's 429 with Retry-After on later requests."""

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.backoff import LONGEST_SECONDS, Backoff, retry_after
from service.errors import Throttled
from service.grants import Flow, TokenRequest
from service.responses import Headers, TokenResponse
from tests.conftest import LogLines, Start
from tests.fakes import FakeEndpoint, settle
from tests.flows import (
    CODE,
    PKCE_REFRESH,
    REFRESH,
    assert_refused,
    queue_faults,
    recorded,
    valid_form,
    well_formed,
)
from tests.scraping import measured

# Over HTTP -----------------------------------------------------------------------------------


def test_no_call_is_made_during_the_pause(
    start: Start, simulator: httpx.Client, log_lines: LogLines
) -> None:
    service = measured(start)
    client = service.client
    queue_faults(simulator, {"kind": "ratelimit", "retry_after": 3000})
    first, *later = (client.post(REFRESH, data=well_formed(REFRESH)) for _ in "123")
    assert first.json()["error"] == {"status": 429, "message": "API rate limit exceeded"}
    for response in later:
        assert_refused(response, 429, "Spotify wants fewer requests; see Retry-After")
        assert 0 < int(response.headers["retry-after"]) <= 3000
    assert len(recorded(simulator)) == 1
    [line] = log_lines.of("upstream.throttled")
    assert (line["level"], line["flow"], line["seconds"]) == ("warning", "refresh", 3000)
    samples = service.scrape()
    assert 0 < samples['spotify_api_server_throttled_seconds{flow="refresh"}'] <= LONGEST_SECONDS
    assert samples['spotify_api_server_throttled_seconds{flow="pkce_refresh"}'] == 0


def test_other_flows_are_not_paused(client: httpx.Client, simulator: httpx.Client) -> None:
    queue_faults(simulator, {"kind": "ratelimit", "retry_after": 3000})
    assert client.post(REFRESH, data=well_formed(REFRESH)).status_code == 429
    for path in (CODE, PKCE_REFRESH):
        assert client.post(path, data=valid_form(simulator, path)).status_code == 200


def test_bad_requests_are_refused_as_usual_during_the_pause(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    queue_faults(simulator, {"kind": "ratelimit", "retry_after": 3000})
    client.post(REFRESH, data=well_formed(REFRESH))
    response = client.post(REFRESH, data={"refresh_token": "tampered"})
    assert_refused(response, 400, "could not decrypt refresh token")


def test_invalid_grant_begins_no_pause(
    client: httpx.Client, simulator: httpx.Client, log_lines: LogLines
) -> None:
    response = client.post(REFRESH, data=well_formed(REFRESH))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert client.post(REFRESH, data=valid_form(simulator, REFRESH)).is_success
    [line] = log_lines.of("token.refused")
    assert (line["level"], line["error"]) == ("info", "invalid_grant")


# The link alone ------------------------------------------------------------------------------

NOW = 784111777.0
IMF = "Sun, 06 Nov 1994 08:49:47 GMT"  # ten seconds later


class Spotify:
    """A back-off in front of an endpoint with these `responses`, and its clock."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.responses: list[TokenResponse] = []
        self.seconds_per_call = 0
        self.endpoint = FakeEndpoint(self._respond)
        self.backoff = Backoff(self.endpoint, lambda: self.time, lambda: NOW)

    def _respond(self, _number: int) -> TokenResponse:
        self.time += self.seconds_per_call
        return self.responses.pop(0)

    async def fetch(self) -> int | str:
        """Return the status of Spotify's response, or the Retry-After of a local one."""
        try:
            response = await self.backoff.fetch(TokenRequest(Flow.REFRESH, (), basic=True))
        except Throttled as throttled:
            return throttled.headers["Retry-After"]
        return response.status

    def get(self) -> int | str:
        return asyncio.run(self.fetch())


@pytest.fixture
def spotify() -> Spotify:
    return Spotify()


def responds(status: int, *headers: tuple[str, str]) -> TokenResponse:
    return TokenResponse(status, [(n.encode(), v.encode("latin-1")) for n, v in headers], b"")


def test_retry_after_is_what_remains_in_whole_seconds(spotify: Spotify) -> None:
    spotify.responses = [responds(429, ("Retry-After", "10")), responds(200)]
    assert spotify.get() == 429
    for passed, result in (
        (0, "10"),
        (0.5, "10"),
        (0.5, "9"),
        (8, "1"),
        (0.999, "1"),
        (0.001, 200),
    ):
        spotify.time += passed
        assert spotify.get() == result
    assert spotify.endpoint.calls == 2
    assert spotify.backoff.seconds_left(Flow.REFRESH) == 0


def test_spotify_is_called_after_five_minutes_of_a_longer_pause(
    spotify: Spotify, log_lines: LogLines
) -> None:
    spotify.responses = [responds(429, ("Retry-After", "86400")), responds(200)]
    assert [spotify.get(), spotify.get()] == [429, "86400"]
    assert spotify.backoff.seconds_left(Flow.REFRESH) == LONGEST_SECONDS == 300
    spotify.time += LONGEST_SECONDS - 0.5
    assert spotify.get() == str(86400 - LONGEST_SECONDS + 1)
    spotify.time += 0.5
    assert spotify.get() == 200
    assert [line["seconds"] for line in log_lines.of("upstream.throttled")] == [86400]


def test_pause_that_is_absurdly_long_ends_after_five_minutes(spotify: Spotify) -> None:
    for value in ("9" * 5000, "Tue, 01 Jan 2999 00:00:00 GMT"):
        spotify.responses = [responds(429, ("Retry-After", value)), responds(200)]
        assert spotify.get() == 429
        spotify.time += LONGEST_SECONDS
        assert spotify.get() == 200


INVALID = ["", "0", "-1", "+5", "5.5", "5s", "1e3", "5, 10", "soon", "\xb2"]
PAST = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1990 00:00:00 GMT"]
INVALID_DATES = ["Sun, 99 Nov 1994 08:49:47 GMT", "Sun, 06 Nov 1994"]


def test_429_without_a_future_retry_after_begins_no_pause(spotify: Spotify) -> None:
    for value in (None, *INVALID, *PAST, *INVALID_DATES):
        headers = [] if value is None else [("Retry-After", value)]
        spotify.responses = [responds(429, *headers), responds(200)]
        assert [spotify.get(), spotify.get()] == [429, 200]


def test_other_responses_with_retry_after_begin_no_pause(spotify: Spotify) -> None:
    for status in (200, 400, 428, 430, 503):
        spotify.responses = [responds(status, ("Retry-After", "9")), responds(200)]
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
        # Spotify's clock, if it sends it, is 4 s ahead of ours here.
        ([("Retry-After", IMF), ("Date", "Sun, 06 Nov 1994 08:49:41 GMT")], 6),
        ([("Retry-After", IMF), ("Date", "today")], 10),
        ([("Retry-After", "10"), ("Date", "Sun, 06 Nov 1994 08:49:41 GMT")], 10),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: list[tuple[str, str]], seconds: float) -> None:
    assert retry_after(responds(429, *headers).headers, NOW) == seconds


dates = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2900, 1, 1)).map(  # noqa: DTZ001
    lambda naive: format_datetime(naive.replace(tzinfo=UTC), usegmt=True).encode()
)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from([b"Retry-After", b"Date"]), st.binary() | dates)))
def test_any_header_is_read_or_ignored(headers: Headers) -> None:
    seconds = retry_after(headers, NOW)
    assert seconds is None or isinstance(seconds, int | float)


def test_responses_to_earlier_calls_only_prolong_the_pause(
    spotify: Spotify, log_lines: LogLines
) -> None:
    async def together() -> None:
        spotify.endpoint.go.clear()
        calls = [asyncio.create_task(spotify.fetch()) for _ in spotify.responses]
        await settle()
        spotify.endpoint.go.set()
        assert await asyncio.gather(*calls) == [429, 429, 429, 200]

    spotify.responses = [
        *(responds(429, ("Retry-After", seconds)) for seconds in ("10", "900", "400")),
        responds(200),
    ]
    spotify.seconds_per_call = 1
    asyncio.run(together())
    assert spotify.get() == "898"  # two seconds after the longest
    assert [line["seconds"] for line in log_lines.of("upstream.throttled")] == [10]


def test_each_pause_is_logged(spotify: Spotify, log_lines: LogLines) -> None:
    spotify.responses = [responds(429, ("Retry-After", seconds)) for seconds in ("10", "3")]
    assert spotify.get() == 429
    spotify.time += 10
    assert spotify.get() == 429
    assert [line["seconds"] for line in log_lines.of("upstream.throttled")] == [10, 3]
