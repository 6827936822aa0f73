import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests import simulating
from tests.browser import chromium
from tests.browser.watching import Watch
from tests.chaos.processes import Service, Simulator
from tests.chromium import executable

PICTURES = Path(".browser")
SECONDS = 10
"""What a page may take for a step."""

Open = Callable[..., Page]
Picture = Callable[[str], None]
StartService = Callable[..., Service]
StartSimulator = Callable[[dict[str, str]], Simulator]
_failed = pytest.StashKey[bool]()

simulator_process, accounts = simulating.simulator_process, simulating.simulator


def pytest_configure() -> None:
    try:
        executable()
    except FileNotFoundError as missing:
        raise pytest.UsageError(str(missing)) from None
    shutil.rmtree(PICTURES, ignore_errors=True)
    expect.set_options(timeout=SECONDS * 1000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]  # what a wrapper gets
    item.stash[_failed] = report.failed
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium.running() as browser:
        yield browser


@pytest.fixture(scope="session")
def service(
    simulator_process: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Return the service with a page to try it, which has logged no defect in the end."""
    directory = tmp_path_factory.mktemp("service")
    with Service(directory, simulator_process.token_url, TRY_PAGE="true") as service:
        yield service
        service.assert_no_defect()


@pytest.fixture
def start_service(
    watch: Watch, accounts: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartService]:
    """Return what starts a service with settings by name, until the test ends."""
    with ExitStack() as stack:

        def start(token_url: str = accounts.token_url, **changes: str) -> Service:
            directory = tmp_path_factory.mktemp("service")
            service = Service(directory, token_url, **{"TRY_PAGE": "true", **changes})  # type: ignore[arg-type]
            watch.allow(service.url)
            return stack.enter_context(service)

        yield start


@pytest.fixture
def start_simulator(
    watch: Watch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartSimulator]:
    """Return what starts another simulator with flags, until the test ends."""
    with ExitStack() as stack:

        def start(flags: dict[str, str]) -> Simulator:
            given = [part for flag in flags.items() for part in flag]
            simulator = stack.enter_context(
                Simulator(tmp_path_factory.mktemp("simulator"), flags=given)
            )
            watch.allow(simulator.url)
            return simulator

        yield start


@pytest.fixture
def watch(service: Service, accounts: Simulator) -> Iterator[Watch]:
    """Return what watches the test's pages, and fails it in the end for what they did."""
    watch = Watch(service.url, accounts.url)
    yield watch
    watch.verify()


@pytest.fixture
def open_page(browser: Browser, watch: Watch, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Return what opens an empty page in a context of its own, with Playwright's options."""
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
    """Return an empty page, as wide as a desktop's."""
    return open_page()


@pytest.fixture
def picture(page: Page) -> Picture:
    """Return what takes a picture of the page, kept under a name."""

    def take(name: str) -> None:
        page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")

    return take
