import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import chromium
from tests.browser.playground import CLIPBOARD, visit
from tests.browser.watching import Watch
from tests.chaos.processes import Service, Simulator
from tests.chromium import executable
from tests.running import free_port

PICTURES = Path(".browser")
SECONDS = 10
"""The timeout of a step in a page."""

Open = Callable[..., Page]
Picture = Callable[[str], None]
_failed = pytest.StashKey[bool]()


class Pair(NamedTuple):
    """A simulator with the playground, and the service that the playground calls."""

    simulator: Simulator
    service: Service

    @property
    def page(self) -> str:
        """The playground's URL."""
        return f"{self.simulator.url}/"


Start = Callable[..., Pair]


def pytest_configure() -> None:
    try:
        executable()
    except FileNotFoundError as missing:
        raise pytest.UsageError(str(missing)) from None
    shutil.rmtree(PICTURES, ignore_errors=True)
    expect.set_options(timeout=SECONDS * 1000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]  # the type of a wrapper's yield
    item.stash[_failed] = report.failed
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium.running() as browser:
        yield browser


@contextmanager
def pair(
    temporary: pytest.TempPathFactory, flags: Sequence[str] = (), **settings: str
) -> Iterator[Pair]:
    """Start a simulator with command line options, and a service that uses it."""
    port = str(free_port())
    flags = ("--service-url", f"http://127.0.0.1:{port}", *flags)
    with Simulator(temporary.mktemp("simulator"), flags=flags) as simulator:
        settings = {"PORT": port, "CORS_ALLOW_ORIGINS": simulator.url, **settings}
        token_url = settings.pop("SPOTIFY_TOKEN_URL", simulator.token_url)
        directory = temporary.mktemp("service")
        with Service(directory, token_url, **settings) as service:  # type: ignore[arg-type]
            yield Pair(simulator, service)


@pytest.fixture(scope="session")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory) as started:
        yield started
        started.service.assert_no_defect()


@pytest.fixture
def service(_pair: Pair) -> Service:
    """Return the service that the playground calls."""
    return _pair.service


@pytest.fixture
def accounts(_pair: Pair) -> Simulator:
    """Return the simulator in its initial state."""
    _pair.simulator.reset()
    return _pair.simulator


@pytest.fixture
def start(watch: Watch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Return a function that starts another pair for this test."""
    with ExitStack() as stack:

        def start(flags: Sequence[str] = (), **settings: str) -> Pair:
            started = stack.enter_context(pair(tmp_path_factory, flags, **settings))
            watch.allow(started.service.url)
            watch.allow(started.simulator.url)
            return started

        yield start


@pytest.fixture
def watch(service: Service, accounts: Simulator) -> Iterator[Watch]:
    """Return the watch of the test's pages, which can fail the test at its end."""
    watch = Watch(service.url, accounts.url)
    yield watch
    watch.verify()


@pytest.fixture
def playground(open_page: Open, accounts: Simulator) -> Page:
    """Return the playground, which may use the clipboard."""
    page = open_page(permissions=CLIPBOARD)
    visit(page, accounts.url)
    return page


@pytest.fixture
def open_page(browser: Browser, watch: Watch, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Return a function that opens an empty page in a new context, with Playwright's options."""
    contexts: list[BrowserContext] = []

    def open_page(**options: Any) -> Page:  # noqa: ANN401 - Playwright has a type for each
        context = browser.new_context(locale="en-GB", service_workers="block", **options)
        contexts.append(context)
        context.set_default_timeout(SECONDS * 1000)
        watch.over(context)
        return context.new_page()

    yield open_page
    for number, context in enumerate(contexts):
        if request.node.stash.get(_failed, default=False) and context.pages:
            context.pages[-1].screenshot(path=PICTURES / f"failed-{request.node.name}-{number}.png")
        context.close()


@pytest.fixture
def page(open_page: Open) -> Page:
    """Return an empty page with the width of a desktop."""
    return open_page()


@pytest.fixture
def picture(page: Page) -> Picture:
    """Return a function that saves a screenshot of the page under a name."""

    def take(name: str) -> None:
        page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")

    return take
