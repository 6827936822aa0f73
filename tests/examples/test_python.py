"""examples/python/spotify_swap.py against service and simulator."""

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
    LoginFailed,
    LoginNeeded,
    ServerRefused,
    Session,
    SpotifyRefused,
    Swap,
    Tokens,
    TryLater,
)

from tests.chaos.processes import Service, Simulator
from tests.examples.person import decide
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


def kept(store: FileStore) -> Tokens:
    tokens = store.load()
    assert tokens
    return tokens


def lasting(simulator: Simulator, seconds: int) -> None:
    changed = simulator.client.patch("/admin/settings", json={"expires_in": seconds})
    changed.raise_for_status()


def grants(simulator: Simulator) -> list[str]:
    return [dict(entry["form"])["grant_type"] for entry in simulator.requests()]


def test_nobody_is_logged_in_at_first(session: Session) -> None:
    with pytest.raises(LoginNeeded):
        session.access_token()


def test_a_login_gives_a_token_that_is_used_until_its_time_is_up(
    logged_in: Session, simulator: Simulator
) -> None:
    assert logged_in.access_token() == logged_in.access_token()
    assert grants(simulator) == ["authorization_code"]
    [entry] = simulator.requests()
    assert 43 <= len(dict(entry["form"])["code_verifier"]) <= 128  # RFC 7636 section 4.1


@pytest.mark.usefixtures("logged_in")
def test_tokens_are_kept_for_their_owner_alone_and_shown_to_nobody(
    store: FileStore, tmp_path: Path
) -> None:
    [file] = tmp_path.glob("tokens*")
    assert file.stat().st_mode & 0o777 == 0o600
    tokens = kept(store)
    assert tokens.access_token not in repr(tokens)
    assert tokens.refresh_token not in repr(tokens)


def test_the_next_start_of_the_app_needs_no_login(
    logged_in: Session, service: Service, store: FileStore
) -> None:
    assert Session(Swap(service.url), store).access_token() == logged_in.access_token()


def test_a_token_is_refreshed_before_its_end_with_the_newest_refresh_token(
    session: Session, app: App, simulator: Simulator, store: FileStore
) -> None:
    """Rotation: each refresh token is good for one refresh only."""
    lasting(simulator, 30)
    session.log_in(app, decide, 20)
    seen = [(session.access_token(), kept(store).refresh_token) for _ in range(3)]
    assert len(set(seen)) == 3
    assert grants(simulator) == ["authorization_code", *["refresh_token"] * 3]


def test_an_expired_token_is_refreshed(session: Session, app: App, simulator: Simulator) -> None:
    lasting(simulator, 0)
    session.log_in(app, decide, 20)
    lasting(simulator, 3600)
    assert session.access_token() == session.access_token()
    assert grants(simulator) == ["authorization_code", "refresh_token"]


def me(simulator: Simulator, token: str) -> int:
    """Call Spotify's API; return the status."""
    headers = {"Authorization": f"Bearer {token}"}
    return simulator.client.get("/v1/me", headers=headers).status_code


def test_a_token_that_the_api_rejects_is_refreshed_once(
    logged_in: Session, simulator: Simulator
) -> None:
    rejected = logged_in.access_token()
    assert me(simulator, rejected) == 200
    simulator.client.post("/admin/clock", json={"seconds": 3600})  # Spotify's clock, not ours
    assert me(simulator, logged_in.access_token()) == 401
    fresh = logged_in.access_token(rejected)
    assert fresh != rejected
    assert logged_in.access_token(rejected) == fresh
    assert me(simulator, fresh) == 200
    assert grants(simulator) == ["authorization_code", "refresh_token"]


def test_callers_at_the_same_time_share_one_refresh(
    logged_in: Session, service: Service, simulator: Simulator
) -> None:
    rejected = logged_in.access_token()
    simulator.befall({"kind": "delay", "seconds": 0.5})
    before = len(service.lines())
    with ThreadPoolExecutor(8) as callers:
        fresh = set(callers.map(logged_in.access_token, [rejected] * 8))
    assert len(fresh) == 1
    assert [line["event"] for line in service.lines()[before:]] == ["token.refreshed"]


def test_retry_after_is_honoured(session: Session, app: App, simulator: Simulator) -> None:
    lasting(simulator, 0)
    session.log_in(app, decide, 20)
    simulator.befall({"kind": "ratelimit", "retry_after": 2})
    with pytest.raises(TryLater) as later:
        session.access_token()
    assert later.value.retry_after == 2
    asked = len(simulator.requests())
    with pytest.raises(TryLater) as again:
        session.access_token()
    assert 0 < again.value.retry_after <= 2
    assert len(simulator.requests()) == asked
    time.sleep(again.value.retry_after)
    assert session.access_token()


@pytest.mark.parametrize(
    "fault", [{"kind": "ratelimit", "retry_after": 1}, {"kind": "status", "status": 503}]
)
def test_what_is_left_of_a_token_is_used_while_it_cannot_be_refreshed(
    session: Session, app: App, simulator: Simulator, store: FileStore, fault: dict[str, object]
) -> None:
    lasting(simulator, 30)
    session.log_in(app, decide, 20)
    simulator.befall(fault)
    assert session.access_token() == kept(store).access_token
    time.sleep(1)  # else the next test meets a service that still waits for Spotify


def test_a_server_that_cannot_be_reached_costs_no_login(store: FileStore) -> None:
    store.save(Tokens("BQ", "sealed", 0.0))
    with pytest.raises(TryLater):
        Session(Swap("http://127.0.0.1:1"), store).access_token()
    assert store.load()


def test_an_invalid_grant_needs_a_new_login(
    logged_in: Session, app: App, simulator: Simulator, store: FileStore
) -> None:
    rejected = logged_in.access_token()
    simulator.reset()  # which forgets all it issued
    with pytest.raises(LoginNeeded) as needed:
        logged_in.access_token(rejected)
    assert isinstance(needed.value.__cause__, SpotifyRefused)
    assert store.load() is None
    logged_in.log_in(app, decide, 20)
    assert logged_in.access_token() != rejected


def test_a_refresh_token_that_does_not_open_needs_a_new_login(
    service: Service, store: FileStore
) -> None:
    store.save(Tokens("BQ", "sealed-by-somebody-else", 0.0))
    with pytest.raises(LoginNeeded) as needed:
        Session(Swap(service.url), store).access_token()
    assert isinstance(needed.value.__cause__, ServerRefused)


def test_errors_of_the_server_and_of_spotify_are_told_apart(service: Service) -> None:
    swap = Swap(service.url)
    with pytest.raises(ServerRefused) as ours:
        swap.retrieve("", "v" * 43, "http://127.0.0.1/callback")
    assert (ours.value.status, "'code'" in ours.value.reason) == (400, True)
    with pytest.raises(SpotifyRefused) as theirs:
        swap.retrieve("no-such-code", "v" * 43, "http://127.0.0.1/callback")
    assert (theirs.value.status, theirs.value.error) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, '{"error": "invalid_client"}', "invalid_client"),
        (401, '{"error": {"status": 401, "message": "No"}}', "unknown"),
        (403, "Forbidden", "unknown"),
        (400, '{"error": "true", "reason": "not ours"}', "true"),
    ],
)
def test_an_error_of_spotifys_may_have_any_form(
    service: Service, simulator: Simulator, status: int, body: str, error: str
) -> None:
    simulator.befall({"kind": "status", "status": status, "body": body})
    with pytest.raises(SpotifyRefused) as theirs:
        Swap(service.url).retrieve("a-code", "v" * 43, "http://127.0.0.1/callback")
    assert (theirs.value.status, theirs.value.error) == (status, error)


def test_a_code_is_tried_once(session: Session, app: App, simulator: Simulator) -> None:
    simulator.befall({"kind": "status", "status": 503})
    with pytest.raises(TryLater):
        session.log_in(app, decide, 20)
    assert grants(simulator) == ["authorization_code"]


def test_a_person_who_says_no_is_not_logged_in(session: Session, app: App) -> None:
    with pytest.raises(LoginFailed, match="access_denied"):
        session.log_in(app, lambda url: decide(url, "deny"), 20)


def test_a_person_who_never_comes_back_is_not_waited_for_for_ever(
    session: Session, app: App
) -> None:
    with pytest.raises(LoginFailed, match="nobody"):
        session.log_in(app, lambda _: None, 0.1)


def test_a_forged_answer_changes_nothing(session: Session, app: App) -> None:
    """RFC 6749 section 10.12: a page can send the browser to the callback, but knows no state."""
    refused = threading.Event()

    def forge(url: str) -> None:
        [callback] = parse_qs(urlsplit(url).query)["redirect_uri"]
        try:
            urllib.request.urlopen(f"{callback}?code=stolen&state=guessed")  # noqa: S310 - loopback
        except urllib.error.HTTPError as answer:
            answer.close()
            refused.set()
        decide(url)

    session.log_in(app, forge, 20)
    assert refused.is_set()
    assert session.access_token()
