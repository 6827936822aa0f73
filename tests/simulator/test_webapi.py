"""/v1, called as an app calls the Web API after a login."""

import httpx

from tests.simulator.requests import CLIENT, minted_code, post_token, swap


def granted(client: httpx.Client, **order: str) -> dict[str, str]:
    """Return the Authorization header of a user who has logged in."""
    token = swap(client, minted_code(client, **order)).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def error(response: httpx.Response) -> tuple[int, str]:
    [(name, message)] = response.json().items()
    assert name == "error"
    assert set(message) == {"status", "message"}
    assert message["status"] == response.status_code
    return response.status_code, message["message"]


def test_me_is_the_user_of_the_token(client: httpx.Client) -> None:
    scope = "user-read-email user-read-private"
    response = client.get("/v1/me", headers=granted(client, user="bob", scope=scope))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "country": "DE",
        "display_name": "Bob",
        "email": "bob@example.com",
        "explicit_content": {"filter_enabled": False, "filter_locked": False},
        "external_urls": {"spotify": "https://open.spotify.com/user/bob"},
        "followers": {"href": None, "total": 0},
        "href": "https://api.spotify.com/v1/users/bob",
        "id": "bob",
        "images": [],
        "product": "free",
        "type": "user",
        "uri": "spotify:user:bob",
    }


def test_profile_fields_follow_the_scope(client: httpx.Client) -> None:
    for scope, seen in [
        ("", set()),
        ("user-read-email", {"email"}),
        ("user-read-private", {"country", "product", "explicit_content"}),
    ]:
        profile = client.get("/v1/me/", headers=granted(client, scope=scope)).json()
        assert {"email", "country", "product", "explicit_content"} & set(profile) == seen
        assert profile["display_name"] == "Alice"


def test_saved_tracks_need_their_scope(client: httpx.Client) -> None:
    refused = client.get("/v1/me/tracks", headers=granted(client, scope="user-read-email"))
    assert error(refused) == (403, "Insufficient client scope")
    response = client.get("/v1/me/tracks", headers=granted(client, scope="user-library-read"))
    assert (response.status_code, response.json()["items"], response.json()["total"]) == (
        200,
        [],
        0,
    )


def test_unregistered_user_gets_tokens_but_403_from_the_web_api(
    client: httpx.Client,
) -> None:
    response = client.get("/v1/me", headers=granted(client, user="carol"))
    assert response.status_code == 403
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text == (
        "The user is not registered for this application."
        " Please check your settings on https://developer.spotify.com/dashboard."
    )


def test_access_token_expires(client: httpx.Client) -> None:
    headers = granted(client)
    client.post("/admin/clock", json={"seconds": 3599})
    assert client.get("/v1/me", headers=headers).status_code == 200
    client.post("/admin/clock", json={"seconds": 1})
    assert error(client.get("/v1/me", headers=headers)) == (401, "The access token expired")


def test_app_access_token_has_no_user(client: httpx.Client) -> None:
    token = post_token(client, {"grant_type": "client_credentials"} | CLIENT).json()["access_token"]
    response = client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert error(response) == (401, "Unauthorized.")


def test_web_api_requires_a_valid_token(client: httpx.Client) -> None:
    for headers, expected in [
        ({}, (401, "No token provided")),
        ({"Authorization": "Bearer"}, (400, "Only valid bearer authentication supported")),
        ({"Authorization": "Basic eA=="}, (400, "Only valid bearer authentication supported")),
        ({"Authorization": "Bearer BQnever"}, (401, "Invalid access token")),
    ]:
        assert error(client.get("/v1/me", headers=headers)) == expected


def test_other_web_api_paths_are_404(client: httpx.Client) -> None:
    headers = granted(client)
    assert error(client.get("/v1/tracks/1", headers=headers)) == (404, "Service not found")
    assert error(client.post("/v1/me", headers=headers)) == (405, "Method not allowed")


def test_other_origins_may_call_the_web_api(client: httpx.Client) -> None:
    """Browsers send a preflight first, as the request has an Authorization header."""
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    preflight = client.options("/v1/me", headers=asked)
    assert preflight.status_code == 204
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    responses = (
        client.get("/v1/me"),
        client.get("/v1/me", headers=granted(client)),
        client.get("/v1/me", headers=granted(client, user="carol")),
    )
    for response in (preflight, *responses):
        assert response.headers["access-control-allow-origin"] == "*"
