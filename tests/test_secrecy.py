"""No secret reaches a log, span, metric, local error or stderr.

Each test uses unique secrets, collects everything that the service writes, at trace level and with
tracing on, and searches it for each secret in each common encoding.
"""

import base64
import hashlib
import io
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any, NoReturn, Protocol, Self
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import httpx
import msgspec
import pytest
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

from service import cli, logs
from service import settings as service_settings
from service.app import create_app
from service.grants import GRANTS
from service.sealing import Sealer
from simulator import pkce
from simulator.accounts import Accounts, RegisteredApp
from simulator.app import create_app as create_simulator
from simulator.faults import Fault, RateLimit
from simulator.server import running as running_simulator
from tests.conftest import LogLines
from tests.evidence import Evidence
from tests.fakes import HeldTransport
from tests.otlp import receiving
from tests.running import CLIENT_ID, environment, free_port, minimal_environ, running, wait_until
from tests.simulator.requests import REDIRECT_URI, minted_code, minted_refresh_token
from tests.volley import volley

CLIENT_SECRET = "s3cr3t/of+the&client=Zq7"
SECRET_KEY = "key that seals: Wn4/+&=%-now"
PREVIOUS_KEY = "key that sealed: Uj2/+&=%-then"
VERIFIER = "verifier-of-the-client_0123456789.abcdefghij~KLMNOP"
CODE = "AQcode/that+never&reached=Spotify%hjk5-Lo2"
ACCESS_TOKEN = "BQaccess/token+that&opens=doors%vbn7-Wq9"
REFRESH_TOKEN = "AQrefresh/one+for&the=other%rty3-Xc8"
PROXY_PASSWORD = "pass/of+the&proxy=Hd4-Mn1"
BASIC = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()

ROUTES = tuple(grant.path for grant in GRANTS)
RETRIEVE_CLIENT, RETRIEVE_CODE, REFRESH_CODE, RETRIEVE_PKCE, REFRESH_PKCE = ROUTES

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"

PAUSE: dict[str, object] = {"kind": "ratelimit", "retry_after": 600}
FAULTS: list[dict[str, object]] = [
    {"kind": kind.__struct_config__.tag, **({"seconds": 9} if kind.__name__ == "Delay" else {})}
    for kind in Fault.__subclasses__()
    if kind is not RateLimit
]


def static_secrets() -> Evidence:
    evidence = Evidence()
    evidence.add(CLIENT_SECRET, "client secret")
    evidence.add(BASIC, "Basic header")
    evidence.add(SECRET_KEY, "secret key")
    evidence.add(PREVIOUS_KEY, "previous secret key")
    evidence.add(VERIFIER, "verifier")
    evidence.add(CODE, "code")
    evidence.add(ACCESS_TOKEN, "access token")
    evidence.add(REFRESH_TOKEN, "refresh token")
    evidence.add(PROXY_PASSWORD, "password of the proxy")
    return evidence


class Run:
    """One start of the service with tracing on, and everything that it wrote."""

    def __init__(
        self,
        log_lines: LogLines,
        capsys: pytest.CaptureFixture[str],
        simulator_url: str,
        transport: httpx.AsyncBaseTransport | None = None,
        **changes: str,
    ) -> None:
        self._log_lines, self._capsys = log_lines, capsys
        self._metrics_port = free_port()
        self._environ = environment(
            f"{simulator_url}/api/token",
            CLIENT_SECRET=CLIENT_SECRET,
            SECRET_KEY=SECRET_KEY,
            SECRET_KEYS_PREVIOUS=PREVIOUS_KEY,
            **{
                "LOG_LEVEL": "trace",
                "LOG_FORMAT": "json",
                "METRICS_PORT": str(self._metrics_port),
                **changes,
            },
        )
        self._transport = transport
        self.evidence = static_secrets()
        self.sealer = Sealer(SECRET_KEY)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            variables, self._spans = stack.enter_context(receiving())
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for name, value in variables.items():
                patch.setenv(name, value)
            settings = service_settings.load(self._environ)
            logs.configure(settings)
            self.app = create_app(settings, transport=self._transport)
            url = stack.enter_context(running(self.app, self._environ))
            self.address = (str(urlsplit(url).hostname), urlsplit(url).port)
            self.client = stack.enter_context(
                httpx.Client(base_url=url, trust_env=False, timeout=20)
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self.scrape = self.metrics()
        out, err = self._log_lines.new_text(), self._capsys.readouterr().err
        as_json = self._environ["LOG_FORMAT"] == "json"
        self.lines = [json.loads(line) for line in out.splitlines()] if as_json else []
        self.spans = [MessageToDict(span) for span in self._spans]
        seen = self.evidence.seen
        seen += [("log", json.dumps(line, ensure_ascii=False)) for line in self.lines]
        seen += [("log as written", out), ("stderr", err), ("metrics", self.scrape)]
        seen += [("span", json.dumps(span, ensure_ascii=False)) for span in self.spans]

    def add(self, secret: str, what: str) -> str:
        return self.evidence.add(secret, what)

    def metrics(self) -> str:
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        return httpx.get(url, trust_env=False).raise_for_status().text

    def release(self, held: HeldTransport, requests: int) -> None:
        """Release the calls once this many requests are in flight."""
        wait_until(lambda: f"requests_in_flight {requests}.0\n" in self.metrics())
        held.release()

    def post(self, path: str, form: Mapping[str, str], **more: Any) -> httpx.Response:  # noqa: ANN401
        return self.send("POST", path, data=dict(form), **more)

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401
        """Send a request; add the response to the evidence if it is a local error."""
        response = self.client.request(method, path, **more)
        with suppress(ValueError, AttributeError):
            if response.json().get("error") is True:
                self.evidence.seen.append(("local error", response.text + repr(response.headers)))
        return response

    def raw(self, text: bytes) -> bytes:
        """Send bytes over a connection of their own; return the response."""
        with socket.create_connection(self.address, timeout=5) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        self.evidence.seen.append(("local error", received.decode("latin-1")))
        return received

    def sealed(self, token: str, what: str) -> str:
        return self.add(self.sealer.seal(self.add(token, what)), f"sealed {what}")


@pytest.fixture(scope="module")
def accounts() -> Iterator[httpx.Client]:
    """Return a client of a simulator that knows the secret of these tests."""
    app = RegisteredApp(CLIENT_ID, CLIENT_SECRET)
    with (
        running_simulator(create_simulator(Accounts(app))) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=10) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def _capture_all_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let OpenTelemetry capture all headers, as a careless operator might."""
    for message in ("REQUEST", "RESPONSE"):
        monkeypatch.setenv(f"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_{message}", ".*")


@pytest.fixture(autouse=True)
def _drop_log_lines_of_the_client() -> Iterator[None]:
    """Keep the log lines of the test's own HTTP client out of the service's log."""
    here = threading.get_ident()
    names = ("httpx", "httpcore.connection", "httpcore.http11")

    def not_ours(record: logging.LogRecord) -> bool:
        return record.thread != here

    for name in names:
        logging.getLogger(name).addFilter(not_ours)
    yield
    for name in names:
        logging.getLogger(name).removeFilter(not_ours)


StartRun = Callable[..., Run]


@pytest.fixture
def start_run(
    accounts: httpx.Client,
    capsys: pytest.CaptureFixture[str],
    log_lines: LogLines,
) -> StartRun:
    accounts.post("/admin/reset").raise_for_status()

    def started(transport: httpx.AsyncBaseTransport | None = None, **changes: str) -> Run:
        return Run(log_lines, capsys, str(accounts.base_url), transport, **changes)

    return started


def assert_kept(run: Run, *, at_least: int) -> None:
    """Check that nothing leaked from a run that wrote spans and metrics."""
    assert len(run.spans) >= at_least
    assert "spotify_api_server_requests_total{" in run.scrape
    assert run.evidence.leaks() == set()


def note_tokens(run: Run, response: httpx.Response) -> None:
    """Add the tokens of a success to the secrets."""
    assert response.status_code == 200, response.text
    tokens = response.json()
    run.add(tokens["access_token"], "access token")
    if sealed := tokens.get("refresh_token"):
        run.add(sealed, "sealed refresh token")
        run.add(run.sealer.open(sealed).token, "refresh token")


def succeed(run: Run, accounts: httpx.Client) -> None:
    """Make successful requests: each flow, each media type, a token of the previous key."""
    for path in ROUTES:
        note_tokens(run, run.post(path, form_for(path, run, accounts)))
    token = run.add(minted_refresh_token(accounts, pkce=False), "refresh token")
    stale = run.add(Sealer(PREVIOUS_KEY).seal(token), "stale sealed token")
    note_tokens(run, run.send("POST", REFRESH_CODE, json={"refresh_token": stale}))
    sealed = form_for(REFRESH_PKCE, run, accounts)["refresh_token"]
    files = {"refresh_token": (None, sealed.encode())}
    note_tokens(run, run.send("POST", REFRESH_PKCE, files=files))


def every_field(run: Run) -> dict[str, str]:
    """Return a form for any flow in which every value is a secret."""
    sealed = run.sealed(REFRESH_TOKEN, "refresh token")
    return {
        "code": CODE,
        "code_verifier": VERIFIER,
        "refresh_token": sealed,
        "redirect_uri": f"https://app.example/{quote(CODE)}",
        "grant_type": ACCESS_TOKEN,
        "method": REFRESH_TOKEN,
        "client_secret": CLIENT_SECRET,
    }


def send_bad_bodies(run: Run, path: str) -> None:
    """Send bodies with secrets that are refused."""
    form = every_field(run)
    whole, as_json = urlencode(form), json.dumps(form)
    twice = f"{whole}&{whole}"
    statuses = set()
    for content_type, body in (
        ("text/plain", whole),
        (f"text/{quote(ACCESS_TOKEN)}", whole),
        (f"{URLENCODED}; charset={quote(ACCESS_TOKEN)}", twice),
        (URLENCODED, whole + "&" + whole.replace("=", "=%FF")),
        (URLENCODED, whole.replace("code=", "_code=").replace("token=", "_token=")),
        (URLENCODED, twice * 60),
        ("application/json", whole),
        ("application/json", as_json[:-1]),
        ("application/json", f"[{as_json}]"),
        ("application/json", json.dumps(CODE)),
        ("application/json", json.dumps({name: [value] for name, value in form.items()})),
        ("application/json", f"{as_json[:-1]}, {as_json[1:]}"),
        (MULTIPART, whole),
        (f"multipart/form-data; boundary={quote(CODE)}", whole),
        (MULTIPART, f'--x\r\nContent-Disposition: form-data; name="{CODE}"\r\n\r\n{CODE}\r\n--x'),
        (MULTIPART, f"--x\r\n{CODE}\r\n\r\n{CODE}\r\n--x--\r\n"),
    ):
        response = run.send("POST", path, content=body, headers={"Content-Type": content_type})
        statuses.add(response.status_code)
    assert statuses >= {400, 413, 415}


def send_broken_tokens(run: Run) -> None:
    """Send refresh tokens that cannot be opened."""
    sealed = run.sealed(REFRESH_TOKEN, "refresh token")
    foreign = run.add(Sealer(CODE).seal(REFRESH_TOKEN), "token of a foreign key")
    broken = (sealed[:-4], sealed + " ", sealed[::-1], "é" + sealed, foreign, REFRESH_TOKEN)
    for path in (REFRESH_CODE, REFRESH_PKCE):
        for token in broken:
            response = run.post(path, {"refresh_token": token})
            assert response.json()["reason"] == "could not decrypt refresh token"


def send_in_wrong_places(run: Run) -> None:
    """Send secrets in paths, queries and headers."""
    form = every_field(run)
    carriers = ("Authorization", "Cookie", "User-Agent", "Referer", "X-Forwarded-For", "Origin")
    headers = dict.fromkeys((*carriers, "Baggage", "X-Token"), f"Basic {CODE} {ACCESS_TOKEN}")
    headers |= {"Traceparent": f"00-{CODE}-{CODE}-01", "Accept": f"text/{quote(CODE)}"}
    query = urlencode(form)
    for path in ROUTES:
        refused = run.send("POST", f"{path}?{query}", headers=headers, content=b"")
        assert refused.status_code == 415
        assert run.send("POST", f"{path}/{quote(CODE, safe='')}?{query}").status_code == 404
        for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
            response = run.send(method, f"{path}?{query}", headers=headers)
            assert response.status_code == (204 if method == "OPTIONS" else 405)
    assert run.send("GET", f"/{quote(CODE, safe='')}", headers=headers).status_code == 404
    for probe in ("/", "/healthz", "/readyz"):
        response = run.send("GET", f"{probe}?{query}", headers=headers)
        assert response.status_code == 200
        assert CODE not in response.text + repr(response.headers)


def send_invalid_http(run: Run) -> None:
    """Send secrets in requests that are incomplete, late or not HTTP."""
    head = f"POST {REFRESH_PKCE}?{CODE} HTTP/1.1\r\nHost: x\r\nX-Token: {CODE}\r\n"
    form = f"Content-Type: {URLENCODED}\r\n"
    for text in (
        f"{CODE}\r\n\r\n",
        f"POST /{CODE} HTTP/{CODE}\r\n\r\n",
        f"{CODE} / HTTP/1.1\r\n\r\n",
        f"{head}{CODE}\r\n\r\n",
        f"{head}{CODE} : {CODE}\r\n\r\n",
        f"{head}Content-Length: {CODE}\r\n\r\n",
        f"{head}{form}Transfer-Encoding: chunked\r\n\r\n{CODE}\r\n",
        f"{head}X-Long: {CODE * 1000}\r\n\r\n",
        f"{head}{form}Content-Length: 1000\r\n\r\nrefresh_token={CODE}",
    ):
        run.raw(text.encode())
    with socket.create_connection(run.address, timeout=5) as late:
        late.sendall(f"{head}{form}Content-Length: 1000\r\n\r\nrefresh_token={CODE}".encode())
        assert b" 408 " in late.recv(65536)


def form_for(path: str, run: Run, accounts: httpx.Client) -> dict[str, str]:
    """Return a form that `path` accepts, its secrets added to those of the run."""
    if path == RETRIEVE_CLIENT:
        return {"grant_type": "client_credentials"}
    if path in {REFRESH_CODE, REFRESH_PKCE}:
        token = minted_refresh_token(accounts, pkce=path == REFRESH_PKCE)
        return {"refresh_token": run.sealed(token, "refresh token")}
    form = {"redirect_uri": REDIRECT_URI}
    if path == RETRIEVE_CODE:
        return form | {"code": run.add(minted_code(accounts), "code")}
    code = minted_code(accounts, code_challenge=pkce.challenge_of(VERIFIER))
    return form | {"code": run.add(code, "code"), "code_verifier": VERIFIER}


def echoes() -> list[dict[str, object]]:
    """Return responses of a Spotify that repeats every secret."""
    everything = [CLIENT_SECRET, CODE, VERIFIER, ACCESS_TOKEN, REFRESH_TOKEN]
    text = " ".join(everything)
    bodies: list[tuple[int, object]] = [
        (400, {"error": CODE, "error_description": text}),
        (401, {"error": {"status": 401, "message": text}}),
        (429, text),
        (503, {text: text}),
        (307, {"access_token": ACCESS_TOKEN}),
        (200, {"refresh_token": everything}),
        (200, {"refresh_token": 1, "access_token": ACCESS_TOKEN}),
        (200, everything),
        (204, {"refresh_token": REFRESH_TOKEN}),
    ]
    headers = [["Location", f"/trap?{quote(text)}"], ["X-Echo", text], ["Content-Type", text]]
    return [
        {"kind": "answer", "status": status, "headers": headers, "body": json.dumps(body)}
        for status, body in bodies
    ]


def test_no_secret_leaks_from_successes_and_refusals(
    start_run: StartRun, accounts: httpx.Client
) -> None:
    with start_run() as run:
        succeed(run, accounts)
        send_bad_bodies(run, REFRESH_PKCE)
        send_broken_tokens(run)
        send_in_wrong_places(run)
    assert_kept(run, at_least=80)
    assert run.lines


def test_no_secret_leaks_from_invalid_http(start_run: StartRun) -> None:
    with start_run(REQUEST_TIMEOUT="0.5") as run:
        send_invalid_http(run)
    assert_kept(run, at_least=1)
    assert run.lines


def test_no_secret_leaks_from_upstream_failures(
    start_run: StartRun, accounts: httpx.Client
) -> None:
    """The pause comes last: after it, Spotify is not called."""
    cases = [(RETRIEVE_CODE, fault) for fault in echoes()]
    cases += [(REFRESH_PKCE, fault) for fault in (*FAULTS, *echoes(), PAUSE)]
    statuses = set()
    with start_run(UPSTREAM_TIMEOUT="1") as run:
        for path, fault in cases:
            form = form_for(path, run, accounts)
            accounts.post("/admin/faults", json=fault).raise_for_status()
            response = run.post(path, form)
            statuses.add(response.status_code)
            if response.is_success and "access_token" in response.text:
                note_tokens(run, response)
            accounts.delete("/admin/faults").raise_for_status()
        throttled = run.post(REFRESH_PKCE, form_for(REFRESH_PKCE, run, accounts))
        assert throttled.json()["reason"].startswith("Spotify wants fewer requests")
    assert statuses >= {400, 401, 429, 502, 503, 504}
    assert_kept(run, at_least=2 * len(cases))


def test_no_secret_leaks_into_a_console_log(start_run: StartRun, accounts: httpx.Client) -> None:
    with start_run(LOG_FORMAT="console") as run:
        succeed(run, accounts)
        send_bad_bodies(run, REFRESH_PKCE)
        send_broken_tokens(run)
        for fault in echoes():
            form = form_for(REFRESH_PKCE, run, accounts)
            accounts.post("/admin/faults", json=fault).raise_for_status()
            run.post(REFRESH_PKCE, form)
    assert_kept(run, at_least=50)
    assert "[warning" in dict(run.evidence.seen)["log as written"]


def exploding(kind: type[Exception], *, in_body: bool = False) -> httpx.MockTransport:
    """Return a transport that raises an exception with every secret in its text, note and cause."""

    def explode(text: str) -> NoReturn:
        error = kind(text)
        error.add_note(text)
        raise error from LookupError(text)

    class Body(httpx.AsyncByteStream):
        def __init__(self, text: str) -> None:
            self._text = text

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield json.dumps({"access_token": ACCESS_TOKEN, "echo": self._text}).encode()
            explode(self._text)

    def respond(request: httpx.Request) -> httpx.Response:
        text = f"{request.headers.raw!r} {request.read().decode()} {ACCESS_TOKEN} {SECRET_KEY}"
        if in_body:
            return httpx.Response(200, stream=Body(text))
        explode(text)

    return httpx.MockTransport(respond)


@pytest.mark.parametrize(
    ("kind", "in_body", "status"),
    [
        (RuntimeError, False, 500),
        (OSError, True, 500),
        (httpx.ReadError, True, 502),
        (httpx.ReadTimeout, False, 504),
    ],
)
def test_no_secret_leaks_from_exceptions(
    start_run: StartRun,
    accounts: httpx.Client,
    kind: type[Exception],
    status: int,
    *,
    in_body: bool,
) -> None:
    with start_run(exploding(kind, in_body=in_body)) as run:
        for path in ROUTES:
            assert run.post(path, form_for(path, run, accounts)).status_code == status
    assert_kept(run, at_least=2 * len(ROUTES))
    lines = [line for line in run.lines if line["event"] in {"request.failed", "upstream.failed"}]
    assert len(lines) == len(ROUTES)


def test_no_secret_leaks_from_exceptions_into_a_console_log(
    start_run: StartRun, accounts: httpx.Client
) -> None:
    run = start_run(exploding(RuntimeError), LOG_FORMAT="console")
    with run:
        assert run.post(REFRESH_CODE, form_for(REFRESH_CODE, run, accounts)).status_code == 500
    assert_kept(run, at_least=2)
    assert "error_type=RuntimeError" in dict(run.evidence.seen)["log as written"]


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [(RETRIEVE_CLIENT, RuntimeError, 500), (REFRESH_PKCE, httpx.ReadError, 502)],
)
def test_no_secret_leaks_from_shared_failures(
    start_run: StartRun, accounts: httpx.Client, path: str, kind: type[Exception], status: int
) -> None:
    callers = 3
    held = HeldTransport(exploding(kind))
    with start_run(held) as run:
        forms = [form_for(path, run, accounts)] * callers
        shots = volley(run.client, path, forms, lambda: run.release(held, callers))
        assert [shot.status for shot in shots] == [status] * callers
        run.evidence.seen += [("local error", repr(shot)) for shot in shots]
    assert_kept(run, at_least=callers + 1)
    assert len([line for line in run.lines if line.get("shared")]) == callers - 1


def test_no_secret_leaks_from_shared_and_cached_responses(
    start_run: StartRun, accounts: httpx.Client
) -> None:
    tokens: dict[str, object] = {"access_token": ACCESS_TOKEN, "expires_in": 3600}
    refresh_token = {"refresh_token": REFRESH_TOKEN}

    def respond(request: httpx.Request) -> httpx.Response:
        is_refresh = b"refresh_token" in request.read()
        return httpx.Response(200, json=tokens | refresh_token if is_refresh else tokens)

    held = HeldTransport(httpx.MockTransport(respond))
    with start_run(held) as run:
        forms = [form_for(REFRESH_PKCE, run, accounts)] * 3
        for shot in volley(run.client, REFRESH_PKCE, forms, lambda: run.release(held, 3)):
            run.add(shot.json()["refresh_token"], "sealed refresh token")
        for _ in range(2):
            run.post(RETRIEVE_CLIENT, form_for(RETRIEVE_CLIENT, run, accounts))
    assert_kept(run, at_least=5)
    marks = {name for line in run.lines for name in ("shared", "cached") if line.get(name)}
    assert marks == {"shared", "cached"}


def test_no_secret_leaks_from_settings_under_the_wrong_name(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    log_lines: LogLines,
) -> None:
    evidence = static_secrets()
    for setting in msgspec.structs.fields(service_settings.Settings):
        monkeypatch.delenv(setting.name.upper(), raising=False)
    for name in ("PORT", "LOG_LEVEL", "SPOTIFY_TOKEN_URL", "DRAIN_SECONDS", "CORS_ALLOW_ORIGINS"):
        monkeypatch.setenv(name, f"{CLIENT_SECRET} {SECRET_KEY}")
    monkeypatch.setenv("CLIENT_SECRET_FILE", f"/nowhere/{CLIENT_SECRET}")
    assert cli.main([]) == cli.EX_CONFIG
    out, err = log_lines.new_text(), capsys.readouterr().err
    assert "PORT" in out
    evidence.seen += [("log", json.dumps(json.loads(out), ensure_ascii=False)), ("stderr", err)]
    monkeypatch.setenv("LOG_FORMAT", "console")
    assert cli.main([]) == cli.EX_CONFIG
    out, err = log_lines.new_text(), capsys.readouterr().err
    assert "PORT" in err
    evidence.seen += [("stdout", out), ("stderr", err)]
    assert evidence.leaks() == set()


class RunCommand(Protocol):
    def __call__(
        self, evidence: Evidence, *arguments: str, stdin: str = "", **environ: str
    ) -> object: ...


@pytest.fixture
def run_command(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    log_lines: LogLines,
) -> RunCommand:
    """Return a function that runs a command, keeps its output and returns its exit status."""

    def run_command(evidence: Evidence, *arguments: str, stdin: str = "", **environ: str) -> object:
        with monkeypatch.context() as patch:
            for name in os.environ:
                if name not in minimal_environ({}) and not name.startswith("PYTEST"):
                    patch.delenv(name)
            for name, value in environ.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["service", *arguments])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            try:
                status: object = cli.main(arguments)
            except SystemExit as end:
                status = end.code
        out, err = log_lines.new_text(), capsys.readouterr().err
        evidence.seen += [("stdout", out), ("stderr", err)]
        return status

    return run_command


def secret_environment(token_url: str, **changes: str) -> dict[str, str]:
    keys = {"SECRET_KEY": SECRET_KEY, "SECRET_KEYS_PREVIOUS": PREVIOUS_KEY}
    return (
        environment(token_url, CLIENT_SECRET=CLIENT_SECRET, UPSTREAM_TIMEOUT="1", **keys) | changes
    )


def test_keys_shows_no_token_and_no_key(run_command: RunCommand) -> None:
    evidence = static_secrets()
    sealed = [Sealer(key).seal(REFRESH_TOKEN) for key in (SECRET_KEY, PREVIOUS_KEY, "foreign")]
    for token in sealed:
        evidence.add(token, "sealed refresh token")
    for key in (SECRET_KEY, PREVIOUS_KEY):
        evidence.add(hashlib.sha256(key.encode()).hexdigest(), "AES key")
    environ = secret_environment("http://127.0.0.1:1/")
    lines = "\n".join([*sealed, REFRESH_TOKEN, SECRET_KEY, sealed[0][:-1], f"{sealed[0]} {CODE}"])
    for arguments in (["keys"], ["keys", "--json"]):
        assert run_command(evidence, *arguments, stdin=lines, **environ) == 0
    for argument in (sealed[0], f"--{SECRET_KEY}", REFRESH_TOKEN):
        for arguments in (["keys", argument], [argument], ["check", argument]):
            assert run_command(evidence, *arguments, **environ) == 2
    environ["SECRET_KEY_FILE"] = f"/nowhere/{CLIENT_SECRET}"
    assert run_command(evidence, "keys", stdin=lines, **environ) == 78
    assert evidence.leaks() == set()


def test_seal_shows_no_token_and_no_key(run_command: RunCommand) -> None:
    evidence = static_secrets()
    environ = secret_environment("http://127.0.0.1:1/")
    assert run_command(evidence, "seal", stdin=f"{REFRESH_TOKEN}\n{CODE}\n", **environ) == 0
    for line in (f'"{REFRESH_TOKEN}"', f"{REFRESH_TOKEN} {CODE}", REFRESH_TOKEN * 1000):
        assert run_command(evidence, "seal", stdin=f"{line}\n", **environ) == 1
    assert run_command(evidence, "seal", REFRESH_TOKEN, **environ) == 2
    assert evidence.leaks() == set()


def test_check_shows_no_secret_even_under_a_wrong_name(run_command: RunCommand) -> None:
    evidence = static_secrets()
    for changes in (
        {},
        {"CLIENT_ID": CLIENT_SECRET, "CLIENT_SECRET": SECRET_KEY, "SECRET_KEY": CLIENT_SECRET},
        {"REDIRECT_URI": CLIENT_SECRET, "ALLOWED_REDIRECT_URIS": f"{SECRET_KEY},{REFRESH_TOKEN}"},
        {"REDIRECT_URI": f"https://{quote(CODE)}:{quote(CODE)}@app.example/?{quote(CODE)}"},
        {"HOST": SECRET_KEY, "LOG_LEVEL": CLIENT_SECRET, "LOG_FORMAT": PREVIOUS_KEY},
        {"SPOTIFY_TOKEN_URL": f"https://x:{quote(CODE)}@example.com/", "PORT": CODE},
        {"RATE_LIMIT_STORAGE": f"redis://:{quote(CODE)}@a/", "RATE_LIMIT": SECRET_KEY},
        {"RATE_LIMIT_STORAGE": f"http://:{quote(CODE)}@a/", "TRUSTED_PROXIES": CLIENT_SECRET},
        {"UPSTREAM_PROXY": f"http://{quote(CODE)}:{quote(CODE)}@a:1/"},
        {"UPSTREAM_PROXY": f"http://{quote(CODE)}:{quote(CODE)}@a/", "HTTPS_PROXY": SECRET_KEY},
        {"SECRET_KEY": f'"{SECRET_KEY}"', "CLIENT_SECERT": CLIENT_SECRET},
        {"CLIENT_SECRET_FILE": f"/nowhere/{CLIENT_SECRET}"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_PROPAGATORS": CODE},
        {"OTEL_EXPORTER_OTLP_HEADERS": f"key={SECRET_KEY}"},
    ):
        environ = secret_environment("http://127.0.0.1:1/", **changes)
        assert run_command(evidence, "check", **environ) in {0, 78}
    assert evidence.leaks() == set()


def test_check_upstream_shows_nothing_of_spotifys_response(
    accounts: httpx.Client, run_command: RunCommand
) -> None:
    evidence = static_secrets()
    environ = secret_environment(f"{accounts.base_url}/api/token")
    assert run_command(evidence, "check", "--upstream", **environ) == 0
    for fault in echoes():
        accounts.post("/admin/faults", json=fault).raise_for_status()
        run_command(evidence, "check", "--upstream", **environ)
    assert evidence.leaks() == set()


def test_code_in_a_query_is_never_written(start_run: StartRun, accounts: httpx.Client) -> None:
    """A login may redirect to a path of the service by mistake: the query is in no log or span."""
    with start_run() as run:
        query = urlencode({"code": CODE, "state": VERIFIER, "error": REFRESH_TOKEN})
        for path in ("/", "/docs", "/callback", f"/callback/{quote(CODE, safe='')}"):
            for method in ("GET", "HEAD", "POST", "OPTIONS"):
                response = run.send(method, f"{path}?{query}")
                run.evidence.seen.append(("response", response.text + repr(response.headers)))
        succeed(run, accounts)
    assert_kept(run, at_least=16)


def test_password_of_the_proxy_is_never_written(start_run: StartRun) -> None:
    proxy = f"http://me:{quote(PROXY_PASSWORD, safe='')}@127.0.0.1:{free_port()}"
    with start_run(UPSTREAM_PROXY=proxy) as run:
        form = {"grant_type": "client_credentials"}
        assert run.post(RETRIEVE_CLIENT, form).status_code == 502
    assert_kept(run, at_least=2)


@pytest.mark.parametrize(
    "disguise",
    [
        str,
        repr,
        quote,
        quote_plus,
        json.dumps,
        lambda text: text[:15] + "…",
        lambda text: "…" + text[-15:],
        lambda text: text.encode().hex(),
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.b64encode(f"x:{text}".encode()).decode(),
        lambda text: base64.urlsafe_b64encode(f"id:{text}:".encode()).decode(),
        lambda text: base64.b64encode(f"1{text}".encode()).decode().rstrip("="),
    ],
)
def test_search_finds_a_secret_in_any_encoding(disguise: Callable[[str], str]) -> None:
    for secret, what in static_secrets().secrets.items():
        evidence = static_secrets()
        evidence.seen.append(("log", f"before {disguise(secret)} after"))
        assert (what, "log") in evidence.leaks()


def test_search_finds_nothing_else() -> None:
    evidence = static_secrets()
    evidence.seen.append(("log", '{"event": "token.refreshed", "status": 200}'))
    assert evidence.leaks() == set()


def test_search_finds_secrets_in_every_place(start_run: StartRun, accounts: httpx.Client) -> None:
    """Plant secrets in a log, on stderr, in a span, metric and response: each one is found."""

    class Planting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
            from opentelemetry import trace  # noqa: PLC0415

            logs.log.error("planted", note=CODE)
            logging.getLogger("somebody").warning("token %s", ACCESS_TOKEN)
            sys.stderr.write(VERIFIER)
            span = trace.get_current_span()
            span.set_attribute("planted", REFRESH_TOKEN)
            return httpx.Response(400, json={"error": True, "reason": BASIC})

    with start_run(Planting(), LOG_LEVEL="info") as run:
        run.app.state.metrics.gauge("planted", REFRESH_TOKEN, lambda: 0)
        run.post(RETRIEVE_CLIENT, form_for(RETRIEVE_CLIENT, run, accounts))
    leaks = run.evidence.leaks()
    assert leaks == {
        ("code", "log"),
        ("code", "log as written"),
        ("access token", "log"),
        ("access token", "log as written"),
        ("verifier", "stderr"),
        ("refresh token", "span"),
        ("refresh token", "metrics"),
        ("Basic header", "local error"),
        ("client secret", "local error"),
    }
