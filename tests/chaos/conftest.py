import contextlib
import faulthandler
import inspect
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from tests.chaos import report
from tests.chaos.processes import Service, Simulator, allow_open_files
from tests.chaos.report import Row

LIMIT_SECONDS = 900
"""The limit of one test."""

StartService = Callable[..., Service]
Figure = Callable[[str], None]
_rows = pytest.StashKey[dict[str, Row]]()
_started = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--short", action="store_true", help="shorter tests, for every change")
    parser.addoption("--report", type=Path, default=Path(".chaos/report.md"), help="where to write")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_rows] = {}
    config.stash[_started] = time.monotonic()
    allow_open_files()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: pytest.TestReport = yield  # type: ignore[assignment]  # what a wrapper gets
    row = _row(item)
    row.held &= outcome.passed
    row.seconds += call.duration
    if call.excinfo is not None:
        row.figures.append(str(call.excinfo.value).partition("\n")[0][:200])
    return outcome  # type: ignore[return-value]


def _row(item: pytest.Function) -> Row:
    section = inspect.getdoc(item.module) or item.module.__name__
    behaviour = (inspect.getdoc(item.function) or item.name).partition("\n")[0].rstrip(".")
    if spec := getattr(item, "callspec", None):
        behaviour = f"{behaviour}: {spec.id}"
    rows = item.config.stash[_rows]
    return rows.setdefault(item.nodeid, Row(section.partition("\n")[0].rstrip("."), behaviour))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    short = " CHAOS=--short" if config.getoption("--short") else ""
    seconds = time.monotonic() - config.stash[_started]
    if not (rows := config.stash[_rows].values()):
        return  # nothing of this suite was run
    text = "\n".join([*report.facts(f"make chaos{short}", seconds), *report.tables(rows), ""])
    path: Path = config.getoption("--report")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    terminalreporter.write_line(text)


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """Stop a test that hangs, and print its stack."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        faulthandler.dump_traceback(file=2)
        # NOTE: an event loop and the clients catch TimeoutError, and let SystemExit through.
        raise SystemExit(f"a test took longer than {LIMIT_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def short(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--short"))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Return a function that adds a figure to the report."""
    return _row(request.node).figures.append


@pytest.fixture(scope="module")
def simulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def simulator(simulator_process: Simulator) -> Simulator:
    """Return the simulator in its initial state."""
    simulator_process.reset()
    return simulator_process


@pytest.fixture
def start_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartService]:
    """Return a function that starts the service with settings by name, until the test ends."""
    with contextlib.ExitStack() as stack:

        def started(token_url: str, **changes: str) -> Service:
            directory = tmp_path_factory.mktemp("service")
            return stack.enter_context(Service(directory, token_url, **changes))  # type: ignore[arg-type]

        yield started
