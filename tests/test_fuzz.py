"""The properties of tests/fuzz with few inputs; `make fuzz` runs longer."""

import pytest
from hypothesis import HealthCheck, given, settings

from service.errors import ServiceError
from service.sealing import Opened
from tests.fuzz.properties import PROPERTIES, SEEDS, WORDS, check_success
from tests.fuzz.wire import edited

short = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

FOUND = {
    "response": [
        b'\n\n{"error":"a","b":"\xff"}',
        b'\n\n{"a":"\xc2"}',
        b'\n\n{"refresh\\u005ftoken":"AQ"}',
    ],
    "setting": [
        b"SPOTIFY_TOKEN_URL=http://[::1]a:7001/",
        b"SPOTIFY_TOKEN_URL=http://a[::1]:7001/",
    ],
}
"""Inputs that failed once, or are close to one."""


@pytest.mark.parametrize("name", PROPERTIES)
def test_property_holds_for_seeds_and_former_failures(name: str) -> None:
    for data in SEEDS[name] + FOUND.get(name, []):
        PROPERTIES[name](data)


@pytest.mark.parametrize("name", PROPERTIES)
def test_property_holds_for_any_bytes(name: str) -> None:
    @settings(short, max_examples=300)
    @given(edited(SEEDS[name], WORDS[name]))
    def check(data: bytes) -> None:
        PROPERTIES[name](data)

    check()


@pytest.mark.parametrize(
    "sent",
    [
        b'{"access_token":"BQ","refresh_token":"AQ"}',
        b'{"access_token":"BQ"}',
        b'{"access_token":"BQ","refresh_token":"AQ","refresh_token":null}',
        b'{"access_token":"\xff"}',
        b'["AQ"]',
    ],
)
def test_fuzzer_detects_an_unsealed_token(sent: bytes) -> None:
    received = b'{"access_token":"BQ","refresh_token":"AQ"}'
    with pytest.raises((AssertionError, ValueError, KeyError, ServiceError)):
        check_success(received, sent, Opened("AQ", stale=False))
