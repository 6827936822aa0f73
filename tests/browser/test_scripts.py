"""The scripts of /try: their types, and their pure modules in the browser that runs them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from service.errors import ClientGone, ServiceError
from simulator.pkce import challenge_of
from tests.browser.trying import visit
from tests.browser.watching import Watch
from tests.chaos.processes import Service

NPM = Path("tests/browser/npm")
SCRIPTS = Path("service/try")
EXPIRED = "The access token has expired. Refresh it."


def tsc(*arguments: str) -> str:
    command = [f"{NPM}/node_modules/.bin/tsc", "--project", str(NPM), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_types_hold() -> None:
    assert tsc() == ""
    checked = tsc("--listFilesOnly").split()
    assert {Path(name).name for name in checked} >= {path.name for path in SCRIPTS.glob("*.js")}


@pytest.fixture(scope="module")
def modules(browser: Browser, service: Service) -> Iterator[Page]:
    """Return a page for all of these: nothing here changes it."""
    watch = Watch(service.url)
    with browser.new_context() as context:
        watch.over(context)
        page = context.new_page()
        visit(page, service.url)
        yield page
    watch.verify()


def call(page: Page, module: str, function: str, *arguments: object) -> object:
    """Return what a function of a module returns in the page."""
    script = "async ([path, name, given]) => (await import(path))[name](...given)"
    return page.evaluate(script, [f"/try/{module}.js", function, list(arguments)])


def test_a_challenge_is_as_in_rfc_7636(modules: Page) -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # appendix B
    challenge = call(modules, "pkce", "challengeOf", verifier)
    assert challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" == challenge_of(verifier)


def test_base64url_is_as_in_rfc_7636(modules: Page) -> None:
    assert call(modules, "pkce", "base64url", [3, 236, 255, 224, 193]) == "A-z_4ME"  # appendix A


def test_a_verifier_is_new_each_time_and_as_long_as_it_has_to_be(modules: Page) -> None:
    made = {call(modules, "pkce", "newSecret") for _ in range(20)}
    assert len(made) == 20
    assert {len(str(verifier)) for verifier in made} == {43}  # RFC 7636, section 4.1: 43 to 128


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
def test_a_time_as_eyes_and_ears_want_it(
    modules: Page, seconds: int, shown: str, said: str
) -> None:
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
def test_little_of_the_countdown_is_said(
    modules: Page, before: int, after: int, said: str | None
) -> None:
    assert call(modules, "countdown", "announcement", before, after) == said


def every(error: type[ServiceError]) -> set[type[ServiceError]]:
    """Return the errors below one that have none below them."""
    below = error.__subclasses__()
    return set().union(*map(every, below)) if below else {error}


def explained(page: Page, status: int, **answer: object) -> dict[str, str]:
    told = call(page, "explained", "explained", {"status": status, "json": answer})
    assert isinstance(told, dict)
    return told


def test_each_error_of_ours_has_words_of_its_own(modules: Page) -> None:
    """But for those that a client takes for one: whatever its form lacks, it mends the form."""
    told: dict[str, set[str]] = {}
    for error in every(ServiceError) - {ClientGone}:
        found = explained(modules, error.status, error=True, reason=error.reason)
        assert found["whose"] == "ours"
        told.setdefault(found["means"], set()).add(error.__name__)
    assert "The server refused." not in told
    shared = [names for names in told.values() if len(names) > 1]
    assert shared == [{"MissingField", "InvalidField", "MalformedBody"}]


@pytest.mark.parametrize("code", ["invented", "constructor", "__proto__"])
def test_a_code_that_nobody_knows_is_explained_by_its_status(modules: Page, code: str) -> None:
    assert explained(modules, 400, error=code)["means"] == "Spotify refused."
    assert call(modules, "explained", "refused", code) == f"The login ended without a code: {code}."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Bearer", "Bearer"),
        ("a" * 40, "a" * 40),
        ("a" * 20 + "b" + "c" * 20, "aaaaaaaaaa…cccccccccc"),
    ],
)
def test_a_long_text_is_shortened(modules: Page, text: str, shown: str) -> None:
    assert call(modules, "shortened", "abridged", "scope", text) == shown


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
def test_of_a_token_never_more_than_half_is_shown(
    modules: Page, name: str, token: str, shown: str
) -> None:
    assert call(modules, "shortened", "abridged", name, token) == shown


@pytest.mark.parametrize("seconds", [0, 1, 3600, 366 * 24 * 3600])
def test_whole_seconds_up_to_a_year_are_a_lifetime(modules: Page, seconds: int) -> None:
    assert call(modules, "countdown", "lifetimeOf", seconds) == seconds


@pytest.mark.parametrize(
    ("protocol", "hostname", "titles"),
    [
        ("http:", "127.0.0.1", []),
        ("http:", "[::1]", []),
        ("https:", "swap.example.com", []),
        ("http:", "swap.example.com", ["Serve this over https"]),
        ("http:", "192.168.0.7", ["Serve this over https"]),
        ("http:", "localhost", ["Open this page at 127.0.0.1"]),
        ("https:", "localhost", ["Open this page at 127.0.0.1"]),
    ],
)
def test_where_spotify_would_take_the_redirect_uri(
    modules: Page, protocol: str, hostname: str, titles: list[str]
) -> None:
    location = {"protocol": protocol, "hostname": hostname, "port": ""}
    allowed = leads_somewhere = True
    found = call(modules, "warnings", "warnings", location, "any", allowed, leads_somewhere)
    assert isinstance(found, list)
    assert [warning["title"] for warning in found] == titles
