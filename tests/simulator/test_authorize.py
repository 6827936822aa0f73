from html.parser import HTMLParser

import httpx

from simulator.accounts import Accounts, RegisteredApp
from simulator.app import create_app
from simulator.server import running
from tests.simulator.consent import ALLOW, PLAIN, arrival, decide
from tests.simulator.requests import CHALLENGE, CLIENT, PUBLIC, REDIRECT_URI, VERIFIER, swap

PKCE = PLAIN | {"code_challenge_method": "S256", "code_challenge": CHALLENGE}


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_requests_consent_and_posts_to_itself(client: httpx.Client) -> None:
    response = client.get("/authorize", params=PLAIN | {"scope": "streaming user-read-email"})
    page = Elements(response.text)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert ("html", {"lang": "en"}) in page.found
    assert ("form", {"method": "post"}) in page.found
    buttons = [attributes for tag, attributes in page.found if tag == "button"]
    assert [(button["name"], button["value"]) for button in buttons] == [
        ("decision", "allow"),
        ("decision", "deny"),
    ]
    for words in ("Agree", "Cancel", "simulator-client-id", "streaming", "user-read-email"):
        assert words in page.text
    assert "See your email address" in page.text


def test_page_lists_users_with_the_first_selected(client: httpx.Client) -> None:
    page = Elements(client.get("/authorize", params=PLAIN).text)
    radio = {"type": "radio", "name": "user"}
    assert [attributes for tag, attributes in page.found if tag == "input"] == [
        radio | {"value": "alice", "checked": None},
        radio | {"value": "bob"},
        radio | {"value": "carol"},
    ]
    assert "Log in as" in page.text
    assert "Bob bob@example.com · free · DE" in page.text
    assert "Carol carol@example.com · premium · US · not on the app’s user list" in page.text
    tags = [tag for tag, _ in page.found]
    assert tags.count("label") == 3
    assert tags.count("fieldset") == tags.count("legend") == 1


def test_page_runs_no_script_and_escapes_what_it_shows(client: httpx.Client) -> None:
    name = "<script>alert(1)</script> \"'&"
    client.put("/admin/users", json=[{"id": "a", "display_name": name, "email": "<b>"}])
    response = client.get("/authorize", params=PLAIN)
    page = Elements(response.text)
    assert not {"script", "b"} & {tag for tag, _ in page.found}
    assert name in page.text
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' https:" in policy
    assert "unsafe" not in policy


def test_page_escapes_the_apps_id() -> None:
    accounts = Accounts(RegisteredApp(client_id='<b>"&'))
    with running(create_app(accounts)) as url:
        response = httpx.get(f"{url}/authorize", params=PLAIN | {"client_id": '<b>"&'})
    page = Elements(response.text)
    assert "b" not in {tag for tag, _ in page.found}
    assert '<b>"&' in page.text


def test_agreeing_returns_a_code_and_the_state(client: httpx.Client) -> None:
    brought = arrival(decide(client, PLAIN | {"state": "a b&c", "scope": "streaming"}))
    assert set(brought) == {"code", "state"}
    assert brought["code"].startswith("AQ")
    assert brought["state"] == "a b&c"
    assert swap(client, brought["code"]).json()["scope"] == "streaming"


def test_challenge_binds_the_code(client: httpx.Client) -> None:
    code = arrival(decide(client, PKCE))["code"]
    assert swap(client, code, **CLIENT).status_code == 400
    assert swap(client, code, **PUBLIC, code_verifier=VERIFIER).status_code == 200


def test_redirect_uri_keeps_its_query(client: httpx.Client) -> None:
    response = decide(client, PLAIN | {"redirect_uri": REDIRECT_URI + "?tenant=%2F1"})
    assert response.headers["location"].startswith(REDIRECT_URI + "?tenant=%2F1&code=AQ")


def test_cancelling_returns_access_denied_and_the_state(client: httpx.Client) -> None:
    response = decide(client, PLAIN | {"state": "s"}, {"decision": "deny"})
    assert arrival(response) == {"error": "access_denied", "state": "s"}


def test_fewer_scopes_can_be_granted(client: httpx.Client) -> None:
    query = PLAIN | {"scope": "streaming user-read-email"}
    code = arrival(decide(client, query, ALLOW | {"scope": "user-read-email"}))["code"]
    assert swap(client, code).json()["scope"] == "user-read-email"


def test_invalid_decision_is_refused(client: httpx.Client) -> None:
    for form, words in [
        ({"user": "dave"}, "There is no user dave; there are alice, bob, carol"),
        (
            {"scope": "streaming user-top-read"},
            "scope must not contain more than the app requested",
        ),
    ]:
        response = decide(client, PLAIN | {"scope": "streaming"}, ALLOW | form)
        assert response.status_code == 400
        assert words in response.text


def test_repeated_user_is_refused(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    form = "decision=allow&user=alice&user=bob"
    response = client.post("/authorize", params=PLAIN, content=form, headers=headers)
    assert response.status_code == 400
    assert "user must not be repeated" in response.text


def test_unknown_scope_is_shown_on_the_page(client: httpx.Client) -> None:
    query = PLAIN | {"scope": "streaming user-read-birthdate <i>"}
    for response in (client.get("/authorize", params=query), decide(client, query)):
        assert response.status_code == 400
        assert "location" not in response.headers
        assert "INVALID_SCOPE: Illegal scope: user-read-birthdate &lt;i&gt;" in response.text


def test_unknown_decision_is_refused(client: httpx.Client) -> None:
    for form in [{}, {"decision": "perhaps"}]:
        response = decide(client, PLAIN, form)
        assert response.status_code == 400
        assert "decision must be allow or deny" in response.text


def test_unknown_app_is_not_redirected_to(client: httpx.Client) -> None:
    for change, words in [
        ({"client_id": "other"}, "INVALID_CLIENT: Invalid client"),
        ({"client_id": ""}, "INVALID_CLIENT: Invalid client"),
        ({"redirect_uri": ""}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"redirect_uri": "http://localhost/"}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"redirect_uri": "https://a.example/\r\nX: y"}, "INVALID_CLIENT: Invalid redirect URI"),
    ]:
        for response in (
            client.get("/authorize", params=PLAIN | change),
            decide(client, PLAIN | change),
        ):
            assert response.status_code == 400
            assert "location" not in response.headers
            assert words in response.text
            assert response.headers["content-type"] == "text/html; charset=utf-8"


def test_repeated_parameter_is_refused(client: httpx.Client) -> None:
    response = client.get("/authorize?client_id=a&client_id=%3Cb%3E")
    assert response.status_code == 400
    assert "client_id must not be repeated" in response.text


def test_errors_are_redirected_to_a_known_app(client: httpx.Client) -> None:
    for change, error in [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": ""}, "unsupported_response_type"),
        ({"code_challenge_method": "plain", "code_challenge": VERIFIER}, "invalid_request"),
        ({"code_challenge": CHALLENGE}, "invalid_request"),
        ({"code_challenge_method": "S256"}, "invalid_request"),
        ({"code_challenge_method": "S256", "code_challenge": "short"}, "invalid_request"),
    ]:
        query = PLAIN | {"state": "s"} | change
        for response in (client.get("/authorize", params=query), decide(client, query)):
            assert arrival(response) == {"error": error, "state": "s"}


def test_custom_scheme_is_allowed_as_target_of_the_form(client: httpx.Client) -> None:
    response = client.get("/authorize", params=PLAIN | {"redirect_uri": "my-app:/callback"})
    assert "form-action 'self' my-app:;" in response.headers["content-security-policy"]


def test_redirect_uris_can_be_limited_to_registered_ones() -> None:
    app = RegisteredApp(redirect_uris=("https://registered.example/",))
    with (
        running(create_app(Accounts(app))) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        assert decide(client, PLAIN).status_code == 400
        registered = PLAIN | {"redirect_uri": "https://registered.example/"}
        assert decide(client, registered).status_code == 303
