"""Check the types of the playground's scripts, and test their pure functions in Chromium."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from simulator.pkce import challenge_of
from tests.browser.conftest import Pair
from tests.browser.playground import visit
from tests.browser.watching import Watch

PROJECT = Path("tests/browser/tsconfig.json")
SCRIPTS = Path("simulator/playground")
EXPIRED = "The access token has expired. Refresh it."


def tsc(*arguments: str) -> str:
    command = ["tests/node_modules/.bin/tsc", "--project", str(PROJECT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_types() -> None:
    assert tsc() == ""
    checked = tsc("--listFilesOnly").split()
    assert {Path(name).name for name in checked} >= {path.name for path in SCRIPTS.glob("*.js")}


@pytest.fixture(scope="module")
def modules(browser: Browser, _pair: Pair) -> Iterator[Page]:
    """Return a page for all of these tests, which do not change it."""
    watch = Watch(_pair.service.url, _pair.simulator.url)
    with browser.new_context() as context:
        watch.over(context)
        page = context.new_page()
        visit(page, _pair.simulator.url)
        yield page
    watch.verify()


def call(page: Page, module: str, function: str, *arguments: object) -> object:
    """Return what a function of a module returns in the page."""
    script = "async ([path, name, given]) => (await import(path))[name](...given)"
    return page.evaluate(script, [f"/playground/{module}.js", function, list(arguments)])


def test_challenge_is_that_of_rfc_7636(modules: Page) -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # appendix B
    challenge = call(modules, "pkce", "challengeOf", verifier)
    assert challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" == challenge_of(verifier)


def test_base64url_is_that_of_rfc_7636(modules: Page) -> None:
    assert call(modules, "pkce", "base64url", [3, 236, 255, 224, 193]) == "A-z_4ME"  # appendix A


def test_verifier_is_random_and_43_characters_long(modules: Page) -> None:
    strings = {call(modules, "pkce", "randomString") for _ in range(20)}
    assert len(strings) == 20
    assert {len(str(verifier)) for verifier in strings} == {43}  # RFC 7636, section 4.1: 43 to 128


@pytest.mark.parametrize(
    ("seconds", "shown", "said"),
    [
        (0, "0:00", "0 seconds"),
        (1, "0:01", "1 second"),
        (59, "0:59", "59 seconds"),
        (60, "1:00", "1 minute"),
        (3599, "59:59", "60 minutes"),
        (3600, "1:00:00", "1 hour"),
        (36_061, "10:01:01", "10 hours"),
    ],
)
def test_times_are_formatted(modules: Page, seconds: int, shown: str, said: str) -> None:
    assert call(modules, "countdown", "clock", seconds) == shown
    assert call(modules, "countdown", "inWords", seconds) == said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (3600, 3599, None),
        (301, 300, "The access token expires in 5 minutes."),
        (300, 299, None),
        (61, 60, "The access token expires in 1 minute."),
        (1, 0, EXPIRED),
        (0, 0, None),
        (3600, 0, EXPIRED),  # a machine that slept
        (3600, 45, "The access token expires in 45 seconds."),
    ],
)
def test_countdown_is_announced_three_times(
    modules: Page, before: int, after: int, said: str | None
) -> None:
    assert call(modules, "countdown", "announcement", before, after) == said


@pytest.mark.parametrize("code", ["invented", "constructor", "__proto__"])
def test_unknown_error_code_is_explained_by_its_status(modules: Page, code: str) -> None:
    exchange = {"call": {"method": "POST", "url": ""}, "status": 400, "json": {"error": code}}
    explanation = call(modules, "explain", "explain", exchange)
    assert isinstance(explanation, dict)
    assert explanation["means"] == "Spotify rejected the request."
    message = call(modules, "explain", "explainRefusal", code)
    assert message == f"The login ended without a code: {code}."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Bearer", "Bearer"),
        ("a" * 40, "a" * 40),
        ("a" * 20 + "b" + "c" * 20, "aaaaaaaaaa…cccccccccc"),
    ],
)
def test_long_text_is_shortened(modules: Page, text: str, shown: str) -> None:
    assert call(modules, "http", "shortened", text) == shown


@pytest.mark.parametrize("name", ["access_token", "refresh_token", "id_token", "Some_Token"])
@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("", ""),
        ("abc", "…"),
        ("a" * 10 + "b" * 10, "aaaaa…bbbbb"),
        ("a" * 20 + "b" * 20, "aaaaaaaaaa…bbbbbbbbbb"),
        ("a" * 200 + "b" * 200, "aaaaaaaaaa…bbbbbbbbbb"),
    ],
)
def test_at_most_half_of_a_token_is_shown(modules: Page, name: str, token: str, shown: str) -> None:
    assert call(modules, "http", "masked", name, token) == shown


@pytest.mark.parametrize("seconds", [0, 1, 3600, 366 * 24 * 3600])
def test_lifetime_is_whole_seconds_up_to_a_year(modules: Page, seconds: int) -> None:
    assert call(modules, "countdown", "lifetimeOf", seconds) == seconds


def test_curl_command_quotes_for_the_shell(modules: Page) -> None:
    fields = {"code": 'it\'s "$HOME" `id`'}
    request = {"method": "POST", "url": "http://127.0.0.1/", "fields": fields}
    command = call(modules, "http", "curlOf", request)
    assert command == (
        "curl -i \\\n  'http://127.0.0.1/' \\\n  --data-urlencode 'code=it'\\''s \"$HOME\" `id`'"
    )
