import io
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import coverage
import httpx
import pytest
import structlog

from service import logs
from service import settings as service_settings
from service.app import create_app
from simulator.accounts import Accounts
from simulator.app import create_app as create_simulator
from simulator.server import running as running_simulator
from tests.running import Stdout, environment, running

Start = Callable[..., httpx.Client]

STARTED = time.monotonic()
TESTS = Path(__file__).parent
SESSION_THREADS: set[threading.Thread] = set()
LASTING = ("_run_safe_shutdown_loop", "AnyIO worker")
"""Threads of libraries: pycares has one for the whole process, AnyIO some for each event loop."""
collect_ignore = ["chaos"]  # it has a target, and a conftest, of its own
Report = Callable[[object], None]


class LastLine:
    """Ends `make test` with one line: the counts, the time, the coverage and the order."""

    def __init__(self, config: pytest.Config, reporter: Any) -> None:  # noqa: ANN401 - not public
        self._config = config
        self._reporter = reporter
        self._coverage = ""

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail the run if too little of service/ is covered."""
        if not self._config.getoption("cov_source") or exitstatus == pytest.ExitCode.INTERRUPTED:
            return  # a part, or pytest-cov has not combined its data
        reader, report = coverage.Coverage(), io.StringIO()
        reader.load()
        total = reader.report(file=report, show_missing=True, skip_covered=True)
        self._coverage = f"coverage of service/ {total:.1f} %, "
        if total < float(str(reader.get_option("report:fail_under"))):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self._reporter.write_line(report.getvalue())

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Write the line: pytest has written its summary."""
        counts = [
            f"{len(self._reporter.stats[outcome])} {outcome}"
            for outcome in ("failed", "error", "passed", "skipped")
            if outcome in self._reporter.stats
        ]
        seed = self._config.getoption("randomly_seed", "none")  # without the plugin
        self._reporter.write_line(
            f"\n{', '.join(counts) or 'no tests'} in {time.monotonic() - STARTED:.0f} s, "
            f"{self._coverage}order --randomly-seed={seed}"
        )


class LogLines(Stdout):
    """What the service wrote to stdout since the test began."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every line, parsed: each must be a JSON object."""
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, event: str, *, count: int = 1) -> list[dict[str, Any]]:
        """Wait for `count` lines of `event` and return them, with those beyond."""
        return self._wait(lambda line: line["event"] == event, count)

    def requests(self, *, count: int = 1) -> list[dict[str, Any]]:
        """Wait for the lines of `count` requests and return them, with those beyond."""
        return self._wait(lambda line: "method" in line, count)

    def _wait(self, wanted: Callable[[dict[str, Any]], bool], count: int) -> list[dict[str, Any]]:
        """Return the wanted lines once there are `count`: the service writes after it responds."""

        def matches() -> list[dict[str, Any]]:
            return [line for line in self.lines if wanted(line)]

        self.wait_until(lambda: len(matches()) >= count)
        return matches()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register LastLine, and let processes of tests be interrupted."""
    # What a shell runs in the background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    reporter = config.pluginmanager.getplugin("terminalreporter")  # which workers have not
    if reporter and config.getoption("numprocesses", None) is not None:  # as in `make test`
        config.pluginmanager.register(LastLine(config, reporter))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None, object, object]:
    """Let the test write to its `log_lines`: pytest has set stdout again after the fixtures."""
    with pytest.MonkeyPatch.context() as patch:
        if "log_lines" in getattr(item, "funcargs", ()):
            patch.setattr(sys, "stdout", item.funcargs["log_lines"])
        return (yield)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Return the event loop of asynchronous tests, which are marked with `anyio`."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def _no_thread_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a module of `make test` whose threads outlive it; rigs have threads for a session."""
    if request.path.parent not in {TESTS, TESTS / "simulator", TESTS / "guides"}:
        yield
        return
    before = set(threading.enumerate())
    yield
    threads = {
        thread
        for thread in set(threading.enumerate()) - before - SESSION_THREADS
        if not any(map(thread.name.__contains__, LASTING))
    }
    for thread in threads:
        thread.join(20)
    assert not [thread.name for thread in threads if thread.is_alive()]


@pytest.fixture(scope="session")
def simulator_url() -> Iterator[str]:
    before = set(threading.enumerate())
    with running_simulator(create_simulator(Accounts())) as url:
        SESSION_THREADS.update(set(threading.enumerate()) - before)
        yield url


@pytest.fixture(scope="session")
def _simulator_client(simulator_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator_url, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def simulator(_simulator_client: httpx.Client) -> Iterator[httpx.Client]:
    """Yield a client of the simulator, which is reset before the test and after it."""
    _simulator_client.post("/admin/reset").raise_for_status()
    yield _simulator_client
    _simulator_client.post("/admin/reset").raise_for_status()


@pytest.fixture
def log_lines(
    capsys: pytest.CaptureFixture[str],  # noqa: ARG001 - earlier, or it would replace stdout again
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[LogLines]:
    """Capture the service's lines; restore afterwards what logs.configure() changes."""
    for owner, name in (
        (sys, "excepthook"),
        (sys, "unraisablehook"),
        (threading, "excepthook"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    lines = LogLines()
    monkeypatch.setattr(sys, "stdout", lines)
    root, uvicorn_log = logging.getLogger(), logging.getLogger("uvicorn")
    before = root.handlers, root.level, uvicorn_log.level
    structlog_before = structlog.get_config()
    logs.configure()
    yield lines
    print(lines.text)  # noqa: T201 - pytest shows it if the test failed
    root.handlers, level, uvicorn_level = before
    root.setLevel(level)
    uvicorn_log.setLevel(uvicorn_level)
    logging.captureWarnings(capture=False)
    structlog.configure(**structlog_before)


@pytest.fixture
def start(
    simulator_url: str,
    simulator: httpx.Client,  # noqa: ARG001
    log_lines: LogLines,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Start]:
    """Start the service against the simulator; settings by name, `transport` as create_app's.

    The OpenTelemetry SDK reads OTEL_* from the environment of the process.

    Returns a client of the service that follows nothing and trusts no environment.
    """
    with ExitStack() as stack:

        def _start(
            transport: httpx.AsyncBaseTransport | None = None, **changes: str
        ) -> httpx.Client:
            environ = environment(f"{simulator_url}/api/token", **changes)
            for name in [name for name in changes if name.startswith("OTEL_")]:
                monkeypatch.setenv(name, changes[name])
            settings = service_settings.load(environ)
            logs.configure(settings)
            app = create_app(settings, transport=transport)
            url = stack.enter_context(running(app, environ))
            client = httpx.Client(base_url=url, trust_env=False, timeout=20)
            return stack.enter_context(client)

        yield _start


@pytest.fixture
def client(start: Start) -> httpx.Client:
    """Return a client of the service with default settings."""
    return start()


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    """Print to the terminal, although the test passes."""

    def report(figure: object) -> None:
        with capsys.disabled():
            print(f" {figure} ", end="")  # noqa: T201 - the purpose

    return report
