import asyncio
import gc
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import httpx
import pytest
from structlog.contextvars import bound_contextvars

from service import logs
from service import settings as service_settings
from service.logs import log
from service.sealing import Sealer
from service.settings import LOG_LEVELS
from simulator import pkce
from tests.conftest import LogLines, Start
from tests.running import CLIENT_SECRET, SECRET_KEY, environment, wait_until

LEVELS = ["trace", "debug", "info", "notice", "warning", "error", "critical"]
TOLD = "Qx7-a-text-that-only-an-exception-holds-Zw9"
PREVIOUS_KEY = f"{SECRET_KEY}-which-holds-the-other"


@pytest.fixture
def configure(log_lines: LogLines) -> Callable[..., None]:  # noqa: ARG001 - restores the logs
    """Return a function that configures the logs as the service does."""

    def configured(**changes: str) -> None:
        environ = environment("http://127.0.0.1:1/", **changes)
        logs.configure(service_settings.load(environ))

    return configured


def log_at_every_level(event: str = "test.happened") -> None:
    for level in LEVELS[1:]:  # the service logs nothing at trace
        getattr(log, level)(event)


def test_line_is_written_from_its_level_on(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    for threshold in LEVELS:
        configure(LOG_LEVEL=threshold)
        log_at_every_level(f"at.{threshold}")
        written = [line["level"] for line in log_lines.of(f"at.{threshold}")]
        assert written == LEVELS[max(LEVELS.index(threshold), 1) :]


def test_level_is_info_until_there_are_settings(log_lines: LogLines) -> None:
    logs.configure()
    log_at_every_level()
    assert [line["level"] for line in log_lines.of("test.happened")] == LEVELS[2:]


def test_line_begins_with_time_level_and_event(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure()
    before = datetime.now(UTC)
    log.notice("test.happened", number=1, text="é\n")
    [line] = log_lines.of("test.happened")
    assert list(line) == ["timestamp", "level", "event", "number", "text"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", line["timestamp"])
    written = datetime.fromisoformat(line["timestamp"])
    assert before - timedelta(milliseconds=1) <= written <= datetime.now(UTC)
    assert (line["number"], line["text"]) == (1, "é\n")


def test_bound_and_context_variables_are_in_the_line(log_lines: LogLines) -> None:
    with bound_contextvars(request_id="id-1"):
        log.bind(bound=1).notice("test.happened", own=2)
    log.info("test.happened")
    first, second = log_lines.of("test.happened", count=2)
    assert list(first.items())[3:] == [("bound", 1), ("own", 2), ("request_id", "id-1")]
    assert list(second) == ["timestamp", "level", "event"]


def test_log_exception_describes_the_current_exception_by_type_and_place(
    log_lines: LogLines,
) -> None:
    try:
        fail()
    except ValueError:
        log.exception("test.happened")
    [line] = log_lines.of("test.happened")
    assert (line["level"], line["error_type"]) == ("error", "ValueError")
    assert re.search(r"test_logs\.py:\d+ fail$", line["stack"][-1])
    assert TOLD not in log_lines.text


def test_value_without_json_form_is_logged_as_its_type(log_lines: LogLines) -> None:
    log.info("test.happened", value=ValueError(TOLD), text="\udcff")
    [line] = log_lines.of("test.happened")
    assert (line["value"], line["text"]) == ("<ValueError>", "?")


def test_lines_of_many_threads_stay_whole(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure()

    def write() -> None:
        for _ in range(50):
            log.error("test.happened", x="x" * 99)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(log_lines.of("test.happened")) == 400


LINE = ["timestamp", "level", "event", "flow", "method", "route", "status", "duration_ms"]


def valid_request(simulator: httpx.Client, flow: str) -> tuple[str, dict[str, str]]:
    """Return the path of a flow and a form that it accepts."""
    by_pkce = flow.startswith("pkce")
    path = f"/authorization-code-flow{'-pkce' if by_pkce else ''}"
    if flow == "client_credentials":
        return "/client-credentials-flow/retrieve-tokens", {"grant_type": flow}
    if flow.endswith("refresh"):
        minted = simulator.post("/admin/refresh-tokens", json={"pkce": by_pkce}).json()
        sealed = Sealer(SECRET_KEY).seal(minted["refresh_token"])
        return f"{path}/refresh-tokens", {"refresh_token": sealed}
    order = {"redirect_uri": "https://app.example/"}
    verifier = {"code_verifier": "v" * 43} if by_pkce else {}
    challenge = {"code_challenge": pkce.challenge_of("v" * 43)} if by_pkce else {}
    code = simulator.post("/admin/codes", json=order | challenge).json()["code"]
    return f"{path}/retrieve-tokens", order | verifier | {"code": code}


def test_success_is_one_line_with_the_documented_fields(
    client: httpx.Client, simulator: httpx.Client, log_lines: LogLines
) -> None:
    flows = ["client_credentials", "authorization_code", "refresh"]
    flows += ["pkce_authorization_code", "pkce_refresh"]
    for number, flow in enumerate(flows):
        path, form = valid_request(simulator, flow)
        began = time.perf_counter()
        assert client.post(path, data=form, headers={"X-Request-ID": "my-id.1"}).is_success
        took = (time.perf_counter() - began) * 1000
        line = log_lines.requests(count=number + 1)[number]
        assert list(line) == [*LINE, "request_id"]
        duration = line.pop("duration_ms")
        assert 0 < duration <= took
        assert duration == round(duration, 2)
        del line["timestamp"]
        assert line == {
            "level": "info",
            "event": "token.refreshed" if "refresh" in flow else "token.retrieved",
            "flow": flow,
            "method": "POST",
            "route": path,
            "status": 200,
            "request_id": "my-id.1",
        }


@pytest.mark.parametrize(("code", "logged"), [("invalid_grant", "invalid_grant"), (TOLD, "other")])
def test_refusal_of_spotify_is_one_line_with_a_known_code_and_no_description(
    client: httpx.Client, simulator: httpx.Client, log_lines: LogLines, code: str, logged: str
) -> None:
    path, form = valid_request(simulator, "refresh")
    body = json.dumps({"error": code, "error_description": TOLD})
    simulator.post("/admin/faults", json={"kind": "answer", "status": 400, "body": body})
    assert client.post(path, data=form).status_code == 400
    [line] = log_lines.requests()
    assert list(line) == [*LINE, "error", "request_id"]
    assert (line["level"], line["event"], line["error"]) == ("info", "token.refused", logged)
    assert TOLD not in log_lines.text


def test_failure_of_spotify_is_a_warning_with_the_reason(
    client: httpx.Client, simulator: httpx.Client, log_lines: LogLines
) -> None:
    path, form = valid_request(simulator, "pkce_refresh")
    simulator.post("/admin/faults", json={"kind": "close"})
    client.post(path, data=form)
    [line] = log_lines.requests()
    assert list(line) == [*LINE, "reason", "request_id"]
    assert (line["level"], line["event"], line["status"]) == ("warning", "upstream.failed", 502)
    assert line["reason"] == "Spotify could not be reached"


def test_5xx_of_spotify_is_a_warning(
    client: httpx.Client, simulator: httpx.Client, log_lines: LogLines
) -> None:
    path, form = valid_request(simulator, "pkce_refresh")
    simulator.post("/admin/faults", json={"kind": "status", "status": 503, "body": TOLD})
    client.post(path, data=form)
    [line] = log_lines.requests()
    assert (line["level"], line["event"], line["status"]) == ("warning", "upstream.failed", 503)
    assert "error" not in line
    assert TOLD not in log_lines.text


def test_local_error_is_one_line_with_its_reason(client: httpx.Client, log_lines: LogLines) -> None:
    client.post("/authorization-code-flow/refresh-tokens", data={"refresh_token": TOLD})
    [line] = log_lines.requests()
    assert list(line) == [*LINE, "reason", "request_id"]
    assert (line["level"], line["event"]) == ("info", "request.refused")
    assert line["reason"] == "could not decrypt refresh token"
    assert log_lines.text.count(TOLD) == 0


def test_unknown_path_is_one_line_without_the_path(
    client: httpx.Client, log_lines: LogLines
) -> None:
    client.get(f"/{TOLD}", params={"code": TOLD})
    [line] = log_lines.requests()
    assert (line["route"], line["status"], line["event"]) == (None, 404, "request.refused")
    assert TOLD not in json.dumps(line)


def test_defect_is_an_error_line_with_types_and_places_only(
    start: Start, log_lines: LogLines
) -> None:
    class Defect(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            local = TOLD
            raise RuntimeError(local) from KeyError(f"{request} {local}")

    form = {"grant_type": "x"}
    response = start(Defect()).post("/client-credentials-flow/retrieve-tokens", data=form)
    assert response.json() == {"error": True, "reason": "Internal Server Error"}
    [line] = log_lines.requests()
    assert list(line) == [*LINE, "error_type", "caused_by", "stack", "reason", "request_id"]
    assert (line["level"], line["event"]) == ("error", "request.failed")
    assert (line["error_type"], line["caused_by"]) == ("RuntimeError", "KeyError")
    assert re.search(r"test_logs\.py:\d+ handle_async_request$", line["stack"][-1])
    assert TOLD not in log_lines.text


def test_probes_are_logged_at_debug(start: Start, log_lines: LogLines) -> None:
    client = start(LOG_LEVEL="debug")
    for number, path in enumerate(("/healthz", "/readyz")):
        assert client.get(path).status_code == 200
        line = log_lines.requests(count=number + 1)[number]
        assert (line["level"], line["event"], line["route"]) == ("debug", "probe.answered", path)


def test_root_is_logged_at_info(client: httpx.Client, log_lines: LogLines) -> None:
    client.get("/")
    [line] = log_lines.requests()
    assert (line["level"], line["event"], line["route"]) == ("info", "request.served", "/")
    assert "flow" not in line


def test_requests_without_an_error_are_silent_above_info(start: Start, log_lines: LogLines) -> None:
    client = start(LOG_LEVEL="notice")
    for path in ("/", "/nowhere", "/healthz"):
        client.get(path)
    client.post("/client-credentials-flow/retrieve-tokens", data={"grant_type": "x"})
    assert not any("request_id" in line for line in log_lines.lines)


def test_start_is_a_notice_with_the_address(start: Start, log_lines: LogLines) -> None:
    client = start(LOG_LEVEL="notice")
    client.get("/healthz")
    [line] = log_lines.of("server.started")
    assert line["level"] == "notice"
    assert client.base_url == f"http://{line['host']}:{line['port']}"


def test_library_line_of_a_request_carries_its_id(start: Start, log_lines: LogLines) -> None:
    class Talkative(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            logging.getLogger("library").warning("asking %s", request.method)
            return httpx.Response(200, json={})

    start(Talkative()).post(
        "/client-credentials-flow/retrieve-tokens", data={"x": "y"}, headers={"X-Request-ID": "id7"}
    )
    [line] = [line for line in log_lines.of("library.logged") if line["logger"] == "library"]
    assert (line["message"], line["request_id"]) == ("asking POST", "id7")


def test_library_line_has_our_level_names(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    """Levels below trace are trace."""
    configure(LOG_LEVEL="trace")
    [handler] = logging.getLogger().handlers
    numbers = [1, 5, 9, 10, 20, 24, 25, 30, 40, 50, 99]
    for number in numbers:
        handler.handle(logging.LogRecord("library", number, "f", 1, "said %s", ("this",), None))
    lines = log_lines.of("library.logged", count=len(numbers))
    assert [line["level"] for line in lines] == [
        *["trace"] * 3, "debug", "info", "info", "notice", "warning", "error", *["critical"] * 2
    ]  # fmt: skip
    assert {(line["logger"], line["message"]) for line in lines} == {("library", "said this")}


def messages(log_lines: LogLines) -> list[str]:
    """Return what the logger `library` has logged."""
    return [line["message"] for line in log_lines.lines if line.get("logger") == "library"]


def test_library_line_below_the_level_is_dropped(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure(LOG_LEVEL="warning")
    logging.getLogger("library").info("said this")
    logging.getLogger("library").warning("said that")
    assert messages(log_lines) == ["said that"]


def test_static_secrets_are_redacted_in_library_lines(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure(SECRET_KEYS_PREVIOUS=PREVIOUS_KEY)
    text = f"{CLIENT_SECRET} {SECRET_KEY}, {PREVIOUS_KEY}; {CLIENT_SECRET}"
    logging.getLogger("library").error("told %s", text)
    logging.getLogger("library").error(f"told {text}")  # noqa: G004 - as libraries do
    redacted = "told [redacted] [redacted], [redacted]; [redacted]"
    assert messages(log_lines) == [redacted] * 2
    assert "which-holds-the-other" not in log_lines.text


def test_library_line_with_wrong_arguments_is_logged(
    configure: Callable[..., None], log_lines: LogLines, capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    logging.getLogger("library").error("%d things", TOLD)
    [line] = log_lines.lines
    assert (line["logger"], line["error_type"]) == ("library", "TypeError")
    assert TOLD not in log_lines.text
    assert capsys.readouterr().err == ""


def test_library_line_describes_an_exception_by_type_and_place(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure()
    _log_exception(logging.getLogger("library"))
    [line] = log_lines.of("library.logged")
    assert (line["message"], line["error_type"]) == ("it failed", "ValueError")
    assert re.search(r"test_logs\.py:\d+ fail$", line["stack"][-1])
    assert TOLD not in log_lines.text


def _log_exception(logger: logging.Logger) -> None:
    try:
        fail()
    except ValueError:
        logger.exception("it failed")


def fail() -> NoReturn:
    local = TOLD
    raise ValueError(local)


def test_warning_is_a_line(configure: Callable[..., None], log_lines: LogLines) -> None:
    configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"mind {CLIENT_SECRET}", UserWarning, stacklevel=1)
    [line] = [line for line in log_lines.of("library.logged") if "mind" in line["message"]]
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "UserWarning: mind [redacted]" in line["message"]


def assert_described_by_type(log_lines: LogLines, event: str, level: str) -> None:
    [line] = log_lines.of(event)
    assert (line["level"], line["error_type"]) == (level, "ValueError")
    assert re.search(r"test_logs\.py:\d+ fail$", line["stack"][-1])
    assert TOLD not in log_lines.text


def test_exception_that_ends_a_thread_is_a_line(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert_described_by_type(log_lines, "thread.failed", "error")


class Unfinished:
    def __del__(self) -> None:
        fail()


def test_exception_in_a_finalizer_is_a_line(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure()
    Unfinished()
    gc.collect()
    assert_described_by_type(log_lines, "finalizer.failed", "error")


def test_exception_in_a_callback_of_the_loop_is_a_line(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure()

    async def forget() -> None:
        logs.watch(asyncio.get_running_loop())
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(0)

    asyncio.run(forget())
    assert_described_by_type(log_lines, "task.failed", "error")


def test_exception_of_an_unawaited_task_is_a_line(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure()

    async def failing() -> None:
        fail()

    async def forget() -> None:
        logs.watch(asyncio.get_running_loop())
        task = asyncio.ensure_future(failing())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        gc.collect()

    asyncio.run(forget())
    assert_described_by_type(log_lines, "task.failed", "error")


def test_loop_error_without_an_exception_is_a_line(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure()

    async def trouble() -> None:
        loop = asyncio.get_running_loop()
        logs.watch(loop)
        loop.call_exception_handler({"message": TOLD})

    asyncio.run(trouble())
    [line] = log_lines.of("task.failed")
    assert list(line) == ["timestamp", "level", "event"]


def test_exception_that_ends_the_process_is_a_line_and_nothing_on_stderr() -> None:
    program = f"from service import logs\nlogs.configure()\nraise ValueError({TOLD!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    line = json.loads(done.stdout)
    assert (line["level"], line["event"]) == ("critical", "process.failed")
    assert line["error_type"] == "ValueError"
    assert done.stderr == ""
    assert TOLD not in done.stdout


def closed() -> io.TextIOWrapper:
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    return stream


def broken() -> io.TextIOWrapper:
    """Return a pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return io.TextIOWrapper(io.FileIO(writing, "w"), write_through=True)


def none() -> None:
    """Return Python's value of a stdout that was closed before its start (`>&-`)."""


@pytest.mark.parametrize("stdout", [closed, broken, none])
def test_lines_are_dropped_while_stdout_is_closed(
    client: httpx.Client,
    log_lines: LogLines,
    monkeypatch: pytest.MonkeyPatch,
    stdout: Callable[[], Any],
) -> None:
    """Requests are served meanwhile, and lines appear again on a new stdout."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout())
        log.error("test.lost")
        for path, status in (("/", 200), ("/nowhere", 404)):
            assert client.get(path).status_code == status
    log.info("test.happened")
    assert log_lines.of("test.happened")
    assert "test.lost" not in log_lines.text


def test_library_line_that_is_not_utf_8_is_written(start: Start, log_lines: LogLines) -> None:
    start()
    logging.getLogger("library").warning("bad %s", "\udcff")
    assert messages(log_lines) == ["bad ?"]


def test_console_line_has_the_same_fields(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure(LOG_FORMAT="console")
    log.notice("test.happened", number=1, text="two words", nothing=None, keys=["a", "b"])
    fields = "number=1 text='two words' nothing=None keys=['a', 'b']"
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d\.\d{{6}}Z \[notice +\] test\.happened +{re.escape(fields)}\n",
        log_lines.text,
    )


def test_console_line_of_a_request_has_a_plain_status(start: Start, log_lines: LogLines) -> None:
    start(LOG_FORMAT="console").post("/authorization-code-flow/refresh-tokens", data={"x": "y"})
    wait_until(lambda: "request.refused" in log_lines.text)
    assert " status=400 " in log_lines.text


def test_console_stack_has_one_frame_per_line_and_no_message(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure(LOG_FORMAT="console")
    _log_exception(logging.getLogger("library"))
    first, *places = log_lines.text.splitlines()
    assert "error_type=ValueError" in first
    assert re.fullmatch(r"  \S+test_logs\.py:\d+ fail", places[-1])
    assert TOLD not in log_lines.text


def test_libraries_do_not_control_a_terminal(
    configure: Callable[..., None], log_lines: LogLines
) -> None:
    configure(LOG_FORMAT="console", LOG_LEVEL="trace")
    messages = ["\x1b]0;owned\x07", "a\nb", "\x9b2J", "\u202eb", "\udcff", "a", "b"]
    for level, message in zip(LEVELS, messages, strict=True):
        logging.getLogger("library").log(LOG_LEVELS[level], message)
    lines = [line for line in log_lines.text.splitlines() if "library.logged" in line]
    assert [re.search(r"\[(\w+)", line)[1] for line in lines] == LEVELS  # type: ignore[index]
    assert all(map(str.isprintable, lines))


def test_format_before_settings_are_read_depends_on_the_terminal(
    log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure()
    log.error("test.happened")
    assert len(log_lines.of("test.happened")) == 1
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    logs.configure()
    log.error("for.a.person")
    assert "[error" in log_lines.text


def test_format_is_json_if_stdout_is_closed(
    configure: Callable[..., None], log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stdout in (closed, broken, none):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stdout())
            configure()
        log.info(f"{stdout.__name__}.happened")
        assert log_lines.of(f"{stdout.__name__}.happened")
