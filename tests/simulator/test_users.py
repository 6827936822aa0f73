"""Users from consent to the last refresh; granting and revoking access."""

from typing import Any

import httpx

from tests.simulator.consent import ALLOW, PLAIN, arrival, decide
from tests.simulator.requests import CLIENT, REDIRECT_URI, minted_code, refresh, refused, swap

HALF_A_YEAR = 183 * 24 * 3600


def logged_in(client: httpx.Client, **form: str) -> dict[str, Any]:
    """Log in; return the tokens."""
    code = arrival(decide(client, PLAIN | {"scope": "user-read-email"}, ALLOW | form))["code"]
    tokens: dict[str, Any] = swap(client, code).raise_for_status().json()
    return tokens


def me(client: httpx.Client, tokens: dict[str, Any]) -> str:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return str(client.get("/v1/me", headers=headers).raise_for_status().json()["id"])


def test_tokens_belong_to_the_consenting_user_after_refreshes(
    client: httpx.Client,
) -> None:
    client.patch("/admin/settings", json={"rotation": "on"})
    for user, form in (("alice", {}), ("bob", {"user": "bob"})):
        tokens = logged_in(client, **form)
        assert me(client, tokens) == user
        for _ in range(2):
            tokens = refresh(client, tokens["refresh_token"]).json()
            assert (me(client, tokens), tokens["scope"]) == (user, "user-read-email")


def test_admin_can_issue_codes_and_refresh_tokens_for_a_user(client: httpx.Client) -> None:
    for order in [{}, {"user": "bob"}]:
        tokens = swap(client, minted_code(client, **order)).json()
        assert me(client, tokens) == order.get("user", "alice")
        minted = client.post("/admin/refresh-tokens", json={"pkce": False} | order).json()
        tokens = refresh(client, minted["refresh_token"]).json()
        assert me(client, tokens) == order.get("user", "alice")


def test_users_can_be_replaced(client: httpx.Client) -> None:
    alice = logged_in(client)
    eve = {"id": "eve", "display_name": "Eve", "email": "eve@example.com"}
    assert client.put("/admin/users", json=[eve]).status_code == 200
    assert me(client, logged_in(client)) == "eve"
    assert me(client, alice) == "alice"
    assert decide(client, PLAIN, ALLOW | {"user": "alice"}).status_code == 400


def test_invalid_users_are_refused_and_change_nothing(client: httpx.Client) -> None:
    for content, words in [
        ("[]", "length >= 1"),
        ("eve", "The users are not JSON"),
        ('[{"id": "a b", "display_name": "", "email": ""}]', "regex"),
        ('[{"id": "a", "display_name": "", "email": "", "country": "Sweden"}]', "regex"),
        ('[{"id": "a", "display_name": "", "email": "", "product": "gold"}]', "gold"),
        ('[{"id": "a", "display_name": "", "email": "", "age": 7}]', "age"),
        (
            '[{"id":"a","display_name":"","email":""},{"id":"a","display_name":"","email":""}]',
            "There is more than one user a",
        ),
    ]:
        response = client.put("/admin/users", content=content)
        assert response.status_code == 400
        assert words in response.json()["detail"]
        assert [user["id"] for user in client.get("/admin/users").json()] == [
            "alice",
            "bob",
            "carol",
        ]


def test_revoked_access_invalidates_codes_and_tokens_until_a_new_login(
    client: httpx.Client,
) -> None:
    alice, bob, code = logged_in(client), logged_in(client, user="bob"), minted_code(client)
    response = client.delete("/admin/users/alice/access")
    assert (response.status_code, response.json()) == (200, {"revoked": 1})
    assert refused(refresh(client, alice["refresh_token"])) == (
        400,
        "invalid_grant",
        "Refresh token revoked",
    )
    assert refused(swap(client, code)) == (400, "invalid_grant", "Invalid authorization code")
    assert me(client, alice) == "alice"
    assert refresh(client, bob["refresh_token"]).status_code == 200
    assert refresh(client, logged_in(client)["refresh_token"]).status_code == 200


def test_access_of_an_unknown_user_cannot_be_revoked(client: httpx.Client) -> None:
    response = client.delete("/admin/users/dave/access")
    assert response.status_code == 404
    assert response.json()["detail"] == "There is no user dave"


def test_clock_can_advance_until_tokens_and_codes_expire(client: httpx.Client) -> None:
    tokens, code = logged_in(client), minted_code(client)
    assert client.post("/admin/clock", json={"seconds": HALF_A_YEAR - 60}).status_code == 200
    assert refused(swap(client, code))[2] == "Authorization code expired"
    assert refresh(client, tokens["refresh_token"]).status_code == 200
    assert client.post("/admin/clock", json={"seconds": 60}).json() == {"ahead": HALF_A_YEAR}
    assert refused(refresh(client, tokens["refresh_token"])) == (
        400,
        "invalid_grant",
        "Refresh token expired",
    )


def test_lifetime_of_refresh_tokens_can_be_set(client: httpx.Client) -> None:
    tokens = logged_in(client)
    client.patch("/admin/settings", json={"refresh_token_lifetime": 0})
    assert refused(refresh(client, tokens["refresh_token"]))[2] == "Refresh token expired"


def test_code_for_the_default_user_needs_only_client_and_redirect_uri(
    client: httpx.Client,
) -> None:
    code = client.post("/admin/codes", json={"redirect_uri": REDIRECT_URI}).json()["code"]
    assert swap(client, code, **CLIENT).status_code == 200
