import pytest

from simulator import pkce
from simulator.accounts import Accounts, AccountsError, Client, RegisteredApp, Settings
from tests.simulator.requests import CHALLENGE, REDIRECT_URI, VERIFIER

CLIENT = Client("simulator-client-id", "simulator-client-secret")


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_challenge_is_that_of_the_rfcs_example() -> None:
    assert pkce.challenge_of(VERIFIER) == CHALLENGE
    assert pkce.is_challenge(CHALLENGE)
    assert pkce.proves(VERIFIER, CHALLENGE)


def test_code_expires_after_ten_minutes() -> None:
    clock = Clock()
    accounts = Accounts(clock=clock)
    early, late = accounts.issue_code(REDIRECT_URI), accounts.issue_code(REDIRECT_URI)
    clock.now += 599
    assert accounts.exchange_code(CLIENT, early, REDIRECT_URI, None).refresh_token
    clock.now += 1
    with pytest.raises(AccountsError, match="Authorization code expired"):
        accounts.exchange_code(CLIENT, late, REDIRECT_URI, None)


def test_code_survives_a_refused_exchange() -> None:
    accounts = Accounts()
    code = accounts.issue_code(REDIRECT_URI, challenge=CHALLENGE)
    with pytest.raises(AccountsError, match="code_verifier was incorrect"):
        accounts.exchange_code(CLIENT, code, REDIRECT_URI, "a" * 43)
    assert accounts.exchange_code(CLIENT, code, REDIRECT_URI, VERIFIER).token_type == "Bearer"


def test_app_and_settings_are_configurable() -> None:
    app = RegisteredApp("id", "secret", ("https://app.example/",))
    accounts = Accounts(app, Settings(expires_in=7))
    assert accounts.grant_client_credentials(Client("id", "secret")).expires_in == 7
    assert accounts.allows("https://app.example/")
    assert not accounts.allows("https://other.example/")


def test_reset_restores_the_configured_settings() -> None:
    accounts = Accounts(settings=Settings(rotation="same"))
    accounts.settings = Settings(rotation="on")
    accounts.reset()
    assert accounts.settings == Settings(rotation="same")


def test_refresh_token_expires_half_a_year_after_consent() -> None:
    clock = Clock()
    accounts = Accounts(settings=Settings(rotation="on"), clock=clock)
    code = accounts.issue_code(REDIRECT_URI)
    token = accounts.exchange_code(CLIENT, code, REDIRECT_URI, None).refresh_token
    for days in (100, 82):
        clock.now += days * 24 * 3600
        token = accounts.refresh(CLIENT, str(token)).refresh_token
    clock.now += 24 * 3600
    with pytest.raises(AccountsError, match="Refresh token expired"):
        accounts.refresh(CLIENT, str(token))


def test_number_of_stored_access_tokens_is_bounded() -> None:
    accounts = Accounts()
    first = accounts.grant_client_credentials(CLIENT).access_token
    assert accounts.access(first)
    for _ in range(10_000):
        accounts.grant_client_credentials(CLIENT)
    assert accounts.access(first) is None
