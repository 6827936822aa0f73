import string

from hypothesis import given
from hypothesis import strategies as st

from simulator import redirects


def test_https_loopback_literals_and_custom_schemes_are_legal() -> None:
    for uri in [
        "https://app.example/callback",
        "https://app.example:8443/callback?tenant=1",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:8888/callback",
        "http://[::1]:8888/callback",
        "my-app://callback",
        "com.example.app:/callback",
    ]:
        assert redirects.is_legal(uri)


def test_all_else_is_not_legal() -> None:
    for uri in [
        "",
        "/callback",
        "app.example/callback",
        "https://",
        "https:/callback",
        "https://localhost/callback",
        "http://localhost:8888/callback",
        "http://LOCALHOST/callback",
        "http://app.example/callback",
        "http://127.0.0.1.app.example/callback",
        "http://127.0.0.1@app.example/callback",
        "http://127.0.0.2/callback",
        "http://[::2]/callback",
        "http://[::1/callback",
        "http://127.0.0.1:port/callback",
        "http://127.0.0.1:99999/callback",
        "https://app.example/callback#part",
        "https://app.example/call back",
        "https://app.example/callback\r\nX: y",
        "https://app.example/callback\n",
        "https://app.example\\@other.example/",
        "https://äpp.example/",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,a",
        "file:///etc/passwd",
    ]:
        assert not redirects.is_legal(uri)


@given(st.text(alphabet=string.punctuation + "https1.\té"))
def test_any_text_is_either_legal_or_not(text: str) -> None:
    assert redirects.is_legal(text) in {True, False}


def test_without_a_list_every_redirect_uri_is_registered() -> None:
    assert redirects.is_registered("https://app.example/", ())


def test_registered_redirect_uri_must_match_exactly() -> None:
    registered = ("https://app.example/callback",)
    assert redirects.is_registered("https://app.example/callback", registered)
    assert not redirects.is_registered("https://app.example/callback/", registered)
    assert not redirects.is_registered("https://app.example:443/callback", registered)


def test_loopback_uri_registered_without_port_matches_with_any() -> None:
    for host in ["127.0.0.1", "[::1]"]:
        registered = (f"http://{host}/callback",)
        assert redirects.is_registered(f"http://{host}:8888/callback", registered)
        assert not redirects.is_registered(f"http://{host}:8888/other", registered)


def test_loopback_uri_registered_with_port_matches_with_that_alone() -> None:
    registered = ("http://127.0.0.1:1/callback",)
    assert not redirects.is_registered("http://127.0.0.1:2/callback", registered)


def test_parameters_go_behind_those_a_uri_has() -> None:
    for uri, expected in [
        ("https://app.example/cb", "https://app.example/cb?code=a+%26b"),
        ("https://app.example/cb?x=%2F&y", "https://app.example/cb?x=%2F&y&code=a+%26b"),
        ("my-app://cb", "my-app://cb?code=a+%26b"),
        ("com.example.app:/cb", "com.example.app:/cb?code=a+%26b"),
    ]:
        assert redirects.with_parameters(uri, {"code": "a &b"}) == expected
