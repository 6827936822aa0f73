"""Test examples/python/spotify_swap.py against the service and the simulator."""

import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from spotify_swap import (
    App,
    FileStore,
    LoginFailedError,
    LoginRequiredError,
    RetryLaterError,
    ServerError,
    Session,
    SpotifyError,
    Swap,
    Tokens,
)

from tests.chaos.processes import Service, Simulator
from tests.examples.user import decide
from tests.running import CLIENT_ID


@pytest.fixture
def app(simulator: Simulator) -> App:
    return App(CLIENT_ID, "user-read-email", f"{simulator.url}/authorize")


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "tokens.json")


@pytest.fixture
def session(service: Service, store: FileStore) -> Session:
    return Session(Swap(service.url), store)


@pytest.fixture
def logged_in(session: Session, app: App) -> Session:
    session.log_in(app, decide, 20)
    return session


def stored(store: FileStore) -> Tokens:
    tokens = store.load()
    assert tokens
    return tokens


def set_lifetime(simulator: Simulator, seconds: int) -> None:
    changed = simulator.client.patch("/admin/settings", json={"expires_in": seconds})
    changed.raise_for_status()


def grants(simulator: Simulator) -> list[str]:
    return [dict(entry["form"])["grant_type"] for entry in simulator.requests()]


def test_new_session_requires_login(session: Session) -> None:
    with pytest.raises(LoginRequiredError):
        session.access_token()


def test_access_token_is_used_until_it_expires(logged_in: Session, simulator: Simulator) -> None:
    assert logged_in.access_token() == logged_in.access_token()
    assert grants(simulator) == ["authorization_code"]
    [entry] = simulator.requests()
    assert 43 <= len(dict(entry["form"])["code_verifier"]) <= 128  # RFC 7636 section 4.1


@pytest.mark.usefixtures("logged_in")
def test_only_the_owner_can_read_tokens_and_repr_hides_them(
    store: FileStore, tmp_path: Path
) -> None:
    [file] = tmp_path.glob("tokens*")
    assert file.stat().st_mode & 0o777 == 0o600
    tokens = stored(store)
    assert tokens.access_token not in repr(tokens)
    assert tokens.refresh_token not in repr(tokens)


def test_restart_needs_no_login(logged_in: Session, service: Service, store: FileStore) -> None:
    assert Session(Swap(service.url), store).access_token() == logged_in.access_token()


def test_refresh_before_expiry_uses_the_newest_refresh_token(
    session: Session, app: App, simulator: Simulator, store: FileStore
) -> None:
    """With rotation, a refresh token can be used once."""
    set_lifetime(simulator, 30)
    session.log_in(app, decide, 20)
    seen = [(session.access_token(), stored(store).refresh_token) for _ in range(3)]
    assert len(set(seen)) == 3
    assert grants(simulator) == ["authorization_code", *["refresh_token"] * 3]


def test_expired_token_is_refreshed(session: Session, app: App, simulator: Simulator) -> None:
    set_lifetime(simulator, 0)
    session.log_in(app, decide, 20)
    set_lifetime(simulator, 3600)
    assert session.access_token() == session.access_token()
    assert grants(simulator) == ["authorization_code", "refresh_token"]


def call_api(simulator: Simulator, token: str) -> int:
    """Call the Web API; return the status."""
    headers = {"Authorization": f"Bearer {token}"}
    return simulator.client.get("/v1/me", headers=headers).status_code


def test_rejected_token_is_refreshed_once(logged_in: Session, simulator: Simulator) -> None:
    rejected = logged_in.access_token()
    assert call_api(simulator, rejected) == 200
    simulator.client.post("/admin/clock", json={"seconds": 3600})  # the simulator's clock only
    assert call_api(simulator, logged_in.access_token()) == 401
    fresh = logged_in.access_token(rejected)
    assert fresh != rejected
    assert logged_in.access_token(rejected) == fresh
    assert call_api(simulator, fresh) == 200
    assert grants(simulator) == ["authorization_code", "refresh_token"]


def test_concurrent_callers_share_one_refresh(
    logged_in: Session, service: Service, simulator: Simulator
) -> None:
    rejected = logged_in.access_token()
    simulator.queue_faults({"kind": "delay", "seconds": 0.5})
    before = len(service.lines())
    with ThreadPoolExecutor(8) as callers:
        fresh = set(callers.map(logged_in.access_token, [rejected] * 8))
    assert len(fresh) == 1
    assert [line["event"] for line in service.lines()[before:]] == ["token.refreshed"]


def test_retry_after_is_respected(session: Session, app: App, simulator: Simulator) -> None:
    set_lifetime(simulator, 0)
    session.log_in(app, decide, 20)
    simulator.queue_faults({"kind": "ratelimit", "retry_after": 2})
    with pytest.raises(RetryLaterError) as first:
        session.access_token()
    assert first.value.retry_after == 2
    sent = len(simulator.requests())
    with pytest.raises(RetryLaterError) as second:
        session.access_token()
    assert 0 < second.value.retry_after <= 2
    assert len(simulator.requests()) == sent
    time.sleep(second.value.retry_after)
    assert session.access_token()


@pytest.mark.parametrize(
    "fault", [{"kind": "ratelimit", "retry_after": 1}, {"kind": "status", "status": 503}]
)
def test_token_that_cannot_be_refreshed_is_used_until_it_expires(
    session: Session, app: App, simulator: Simulator, store: FileStore, fault: dict[str, object]
) -> None:
    set_lifetime(simulator, 30)
    session.log_in(app, decide, 20)
    simulator.queue_faults(fault)
    assert session.access_token() == stored(store).access_token
    time.sleep(1)  # until the service calls Spotify again, for the next test


def test_network_error_is_the_cause_and_keeps_the_login(store: FileStore) -> None:
    store.save(Tokens("BQ", "sealed", 0.0))
    with pytest.raises(RetryLaterError, match="Connection refused") as raised:
        Session(Swap("http://127.0.0.1:1"), store).access_token()
    assert isinstance(raised.value.__cause__, OSError)
    assert store.load()


@pytest.mark.parametrize("server", ["127.0.0.1:7000", "localhost:7000", "ftp://a", "https://", ""])
def test_server_url_without_scheme_is_rejected(server: str) -> None:
    with pytest.raises(ValueError, match="is not a URL such as https://"):
        Swap(server)


def test_invalid_grant_requires_login(
    logged_in: Session, app: App, simulator: Simulator, store: FileStore
) -> None:
    rejected = logged_in.access_token()
    simulator.reset()  # revokes all tokens
    with pytest.raises(LoginRequiredError) as raised:
        logged_in.access_token(rejected)
    assert isinstance(raised.value.__cause__, SpotifyError)
    assert store.load() is None
    logged_in.log_in(app, decide, 20)
    assert logged_in.access_token() != rejected


def test_undecryptable_refresh_token_requires_login(service: Service, store: FileStore) -> None:
    store.save(Tokens("BQ", "sealed-with-another-key", 0.0))
    with pytest.raises(LoginRequiredError) as raised:
        Session(Swap(service.url), store).access_token()
    assert isinstance(raised.value.__cause__, ServerError)


def test_server_errors_differ_from_spotify_errors(service: Service) -> None:
    swap = Swap(service.url)
    with pytest.raises(ServerError) as local:
        swap.retrieve("", "v" * 43, "http://127.0.0.1/callback")
    assert (local.value.status, "'code'" in local.value.reason) == (400, True)
    with pytest.raises(SpotifyError) as upstream:
        swap.retrieve("no-such-code", "v" * 43, "http://127.0.0.1/callback")
    assert (upstream.value.status, upstream.value.error) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, '{"error": "invalid_client"}', "invalid_client"),
        (401, '{"error": {"status": 401, "message": "No"}}', "unknown"),
        (403, "Forbidden", "unknown"),
        (400, '{"error": "true", "reason": "from Spotify"}', "true"),
    ],
)
def test_spotify_error_can_have_any_body(
    service: Service, simulator: Simulator, status: int, body: str, error: str
) -> None:
    simulator.queue_faults({"kind": "status", "status": status, "body": body})
    with pytest.raises(SpotifyError) as upstream:
        Swap(service.url).retrieve("a-code", "v" * 43, "http://127.0.0.1/callback")
    assert (upstream.value.status, upstream.value.error) == (status, error)


def test_code_is_sent_once(session: Session, app: App, simulator: Simulator) -> None:
    simulator.queue_faults({"kind": "status", "status": 503})
    with pytest.raises(RetryLaterError):
        session.log_in(app, decide, 20)
    assert grants(simulator) == ["authorization_code"]


def test_declined_login_fails(session: Session, app: App) -> None:
    with pytest.raises(LoginFailedError, match="access_denied"):
        session.log_in(app, lambda url: decide(url, "deny"), 20)


def test_unfinished_login_times_out(session: Session, app: App) -> None:
    with pytest.raises(LoginFailedError, match="not finished in time"):
        session.log_in(app, lambda _: None, 0.1)


def test_redirect_with_another_state_has_no_effect(session: Session, app: App) -> None:
    """Any page can send the browser to the callback, but without the state (RFC 6749, 10.12)."""
    rejected = threading.Event()

    def forge(url: str) -> None:
        [callback] = parse_qs(urlsplit(url).query)["redirect_uri"]
        try:
            urllib.request.urlopen(f"{callback}?code=stolen&state=guessed")  # noqa: S310 - loopback
        except urllib.error.HTTPError as response:
            response.close()
            rejected.set()
        decide(url)

    session.log_in(app, forge, 20)
    assert rejected.is_set()
    assert session.access_token()
