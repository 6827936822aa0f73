import httpx

from simulator.record import Entry, Record
from tests.simulator.requests import (
    CHALLENGE,
    CLIENT,
    REDIRECT_URI,
    minted_code,
    minted_refresh_token,
    post_token,
    refresh,
    swap,
)

GOOD = {"grant_type": "client_credentials"} | CLIENT
AT_THE_START = {
    "rotation": "spotify",
    "expires_in": 3600,
    "code_lifetime": 600,
    "refresh_token_lifetime": 15811200,
}


def test_healthz_is_ok(client: httpx.Client) -> None:
    assert client.get("/healthz").status_code == 200


def test_request_is_recorded_unchanged(client: httpx.Client) -> None:
    client.post(
        "/api/token?a=1&b",
        content="grant_type=client_credentials&empty=&twice=1&twice=%C3%A9",
        headers=[
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-Mixed-Case", "One"),
            ("x-mixed-case", "two"),
        ],
    )
    (entry,) = client.get("/admin/requests").json()
    assert (entry["method"], entry["path"], entry["query"]) == ("POST", "/api/token", "a=1&b")
    assert entry["http_version"] == "1.1"
    assert [pair for pair in entry["headers"] if pair[0].lower() == "x-mixed-case"] == [
        ["X-Mixed-Case", "One"],
        ["x-mixed-case", "two"],
    ]
    assert entry["body"] == "grant_type=client_credentials&empty=&twice=1&twice=%C3%A9"
    assert entry["form"] == [
        ["grant_type", "client_credentials"],
        ["empty", ""],
        ["twice", "1"],
        ["twice", "é"],
    ]
    assert (entry["status"], entry["fault"]) == (400, None)


def test_connection_reuse_shows_as_the_same_client_port(
    client: httpx.Client, simulator_url: str
) -> None:
    post_token(client, GOOD)
    post_token(client, GOOD)
    with httpx.Client(base_url=simulator_url, trust_env=False) as other:
        post_token(other, GOOD)
    first, second, third = (entry["client_port"] for entry in client.get("/admin/requests").json())
    assert first == second
    assert second != third


def test_forwarding_headers_do_not_change_the_recorded_client(client: httpx.Client) -> None:
    post_token(client, GOOD)
    post_token(client, GOOD, {"X-Forwarded-For": "192.0.2.1"})
    first, second = client.get("/admin/requests").json()
    assert first["client_port"] == second["client_port"]


def test_wrong_methods_and_bodies_are_recorded_too(client: httpx.Client) -> None:
    client.get("/api/token")
    client.put("/api/token", content=b"\xff")
    client.get("/trap")
    entries = client.get("/admin/requests").json()
    assert [(entry["method"], entry["status"]) for entry in entries] == [
        ("GET", 405),
        ("PUT", 405),
        ("GET", 200),
    ]
    assert entries[1]["body"] == "\N{REPLACEMENT CHARACTER}"
    assert entries[1]["form"] == []


def test_record_keeps_the_last_thousand_requests() -> None:
    record = Record()
    for number in range(1003):
        record.add(Entry("GET", "/trap", str(number), "1.1", [], "", [], None))
    queries = [entry.query for entry in record.entries()]
    assert queries == [str(number) for number in range(3, 1003)]


def test_record_can_be_cleared(client: httpx.Client) -> None:
    post_token(client, GOOD)
    assert client.delete("/admin/requests").status_code == 204
    assert client.get("/admin/requests").json() == []


def test_settings_can_be_read_and_changed_one_by_one(client: httpx.Client) -> None:
    assert client.get("/admin/settings").json() == AT_THE_START
    response = client.patch("/admin/settings", json={"rotation": "on"})
    assert response.json() == AT_THE_START | {"rotation": "on"}
    response = client.patch("/admin/settings", json={"expires_in": 60})
    assert response.json() == AT_THE_START | {"rotation": "on", "expires_in": 60}


def test_invalid_admin_requests_are_refused_with_a_reason(client: httpx.Client) -> None:
    for path, content in [
        ("/admin/settings", {"rotation": "sometimes"}),
        ("/admin/settings", {"rotation": None}),
        ("/admin/settings", {"expires_in": -1}),
        ("/admin/settings", {"expire_in": 1}),
        ("/admin/settings", []),
        ("/admin/codes", {}),
        ("/admin/codes", {"redirect_uri": "http://localhost/"}),
        ("/admin/codes", {"redirect_uri": REDIRECT_URI, "code_challenge": "short"}),
        ("/admin/codes", {"redirect_uri": REDIRECT_URI, "code_challenge": CHALLENGE + "\n"}),
        ("/admin/refresh-tokens", {"pkce": "yes"}),
        ("/admin/codes", {"redirect_uri": REDIRECT_URI, "scope": "streaming everything"}),
        ("/admin/codes", {"redirect_uri": REDIRECT_URI, "user": "dave"}),
        ("/admin/refresh-tokens", {"pkce": True, "user": "dave"}),
        ("/admin/clock", {"seconds": -1}),
        ("/admin/clock", {}),
    ]:
        method = "PATCH" if path == "/admin/settings" else "POST"
        response = client.request(method, path, json=content)
        assert response.status_code == 400
        assert " " in response.json()["detail"]


def test_reset_restores_the_initial_state(client: httpx.Client) -> None:
    code, token = minted_code(client), minted_refresh_token(client, pkce=False)
    client.patch("/admin/settings", json={"rotation": "same", "expires_in": 1})
    client.post("/admin/faults", json={"kind": "close", "times": 0})
    client.put("/admin/users", json=[{"id": "eve", "display_name": "Eve", "email": ""}])
    client.post("/admin/clock", json={"seconds": 60})
    assert client.post("/admin/reset").status_code == 204
    assert client.get("/admin/settings").json() == AT_THE_START
    assert client.get("/admin/faults").json() == []
    assert client.get("/admin/requests").json() == []
    assert [user["id"] for user in client.get("/admin/users").json()] == ["alice", "bob", "carol"]
    assert client.post("/admin/clock", json={"seconds": 0}).json() == {"ahead": 0}
    assert swap(client, code).status_code == 400
    assert refresh(client, token).status_code == 400


DEEP = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"kind":"status"}'


def test_unreadable_body_is_refused_with_a_reason(client: httpx.Client) -> None:
    for method, path, body, problem in [
        ("PATCH", "settings", b'{"rotation":"\xff"}', "The body is not UTF-8 text"),
        ("POST", "codes", b'{"redirect_uri":"\xff"}', "The body is not UTF-8 text"),
        ("POST", "faults", DEEP, "The body is nested too deeply"),
        ("PUT", "users", b'[{"id":"\xff"}]', "The users are not UTF-8 text"),
        ("PUT", "users", b"[", "The users are not JSON: Input data was truncated"),
    ]:
        response = client.request(method, f"/admin/{path}", content=body)
        assert (response.status_code, response.json()["detail"]) == (400, problem)
