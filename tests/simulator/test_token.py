import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator.requests import (
    CHALLENGE,
    CLIENT,
    PUBLIC,
    REDIRECT_URI,
    VERIFIER,
    basic,
    minted_code,
    minted_refresh_token,
    post_token,
    refresh,
    refused,
    swap,
)

CREDENTIALS = {"grant_type": "client_credentials"}
BASIC = basic("simulator-client-id:simulator-client-secret")


def test_client_credentials_give_an_access_token_only(client: httpx.Client) -> None:
    by_form = post_token(client, CREDENTIALS | CLIENT).json()
    by_header = post_token(client, CREDENTIALS, BASIC).json()
    for tokens in (by_form, by_header):
        assert tokens["access_token"].startswith("BQ")
        assert tokens == {
            "access_token": tokens["access_token"],
            "token_type": "Bearer",
            "expires_in": 3600,
        }
    assert by_form["access_token"] != by_header["access_token"]


def test_client_credentials_need_the_right_client(client: httpx.Client) -> None:
    for form, description in [
        ({}, "Invalid client"),
        ({"client_id": "other", "client_secret": "simulator-client-secret"}, "Invalid client"),
        (PUBLIC, "Invalid client secret"),
        (PUBLIC | {"client_secret": "wrong"}, "Invalid client secret"),
        (PUBLIC | {"client_secret": "wröng"}, "Invalid client secret"),
    ]:
        assert refused(post_token(client, CREDENTIALS | form)) == (
            400,
            "invalid_client",
            description,
        )


def test_basic_header_that_is_wrong_or_broken_is_refused(client: httpx.Client) -> None:
    for header, description in [
        (basic("simulator-client-id:wrong"), "Invalid client secret"),
        (basic("simulator-client-id"), "Invalid client secret"),
        (basic("other:simulator-client-secret"), "Invalid client"),
        ({"Authorization": "Basic !!"}, "Invalid client"),
        ({"Authorization": "Basic /w=="}, "Invalid client"),
        ({"Authorization": "Bearer BQ"}, "Invalid client"),
    ]:
        response = client.post("/api/token", data=CREDENTIALS, headers=header)
        assert refused(response) == (400, "invalid_client", description)


def test_every_response_has_the_headers_of_spotifys_edge(client: httpx.Client) -> None:
    good = post_token(client, CREDENTIALS | CLIENT)
    bad = post_token(client, {})
    for response in (good, bad):
        assert response.headers["content-type"] == "application/json"
        assert response.headers["set-cookie"].startswith("sp_tr=")
        assert response.headers["server"] == "envoy"
        for name in (
            "strict-transport-security",
            "via",
            "alt-svc",
            "vary",
            "sp-trace-id",
            "x-envoy-upstream-service-time",
        ):
            assert name in response.headers


def test_other_grant_types_are_refused(client: httpx.Client) -> None:
    for grant_type in [{}, {"grant_type": "password"}, {"grant_type": ""}]:
        assert refused(post_token(client, grant_type | CLIENT)) == (
            400,
            "unsupported_grant_type",
            "grant_type must be client_credentials, authorization_code or refresh_token",
        )


def test_fields_of_a_grant_are_required(client: httpx.Client) -> None:
    for form, missing in [
        ({"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI}, "code"),
        ({"grant_type": "authorization_code", "code": "", "redirect_uri": REDIRECT_URI}, "code"),
        ({"grant_type": "authorization_code", "code": "AQ"}, "redirect_uri"),
        ({"grant_type": "refresh_token"}, "refresh_token"),
    ]:
        assert refused(post_token(client, form | CLIENT)) == (
            400,
            "invalid_request",
            f"{missing} must be supplied",
        )


def test_repeated_parameter_is_refused_by_the_token_endpoint(client: httpx.Client) -> None:
    response = client.post(
        "/api/token",
        content="grant_type=refresh_token&grant_type=client_credentials",
        headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
    )
    assert refused(response) == (400, "invalid_request", "grant_type must not be repeated")


def test_only_urlencoded_forms_are_accepted(client: httpx.Client) -> None:
    response = client.post("/api/token", json=CREDENTIALS | CLIENT)
    status, error, description = refused(response)
    assert (status, error) == (415, "invalid_request")
    assert description == "Content-Type must be application/x-www-form-urlencoded"


def test_only_post_is_accepted(client: httpx.Client) -> None:
    response = client.get("/api/token")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


def test_invalid_utf_8_is_refused_as_a_wrong_value(client: httpx.Client) -> None:
    response = client.post(
        "/api/token",
        content=b"grant_type=\xff\xfe%ff%zz&\x00",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code == 400


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["grant_type", "code", "redirect_uri", "client_id", "refresh_token"]),
        st.sampled_from(["authorization_code", "refresh_token", "simulator-client-id"])
        | st.text(alphabet='AQ%&=+:/\\"\0\n é\N{PILE OF POO}', max_size=8),
        min_size=1,  # httpx gives an empty form no Content-Type
    )
)
def test_any_form_gets_a_valid_error(shared_client: httpx.Client, form: dict[str, str]) -> None:
    status, _, description = refused(post_token(shared_client, form))
    assert status == 400
    assert description


def test_oversized_body_is_refused(client: httpx.Client) -> None:
    assert client.post("/api/token", content=b"x" * (2**20 + 1)).status_code == 413


def test_plain_code_can_be_used_once(client: httpx.Client) -> None:
    code = minted_code(client, scope="user-read-email streaming")
    first = swap(client, code)
    assert first.status_code == 200
    tokens = first.json()
    assert set(tokens) == {"access_token", "token_type", "scope", "expires_in", "refresh_token"}
    assert tokens["scope"] == "user-read-email streaming"
    assert tokens["refresh_token"].startswith("AQ")
    assert refused(swap(client, code)) == (400, "invalid_grant", "Invalid authorization code")


def test_plain_code_needs_an_authenticated_client(client: httpx.Client) -> None:
    code = minted_code(client)
    response = swap(client, code, **PUBLIC)
    assert refused(response) == (400, "invalid_client", "Invalid client secret")
    response = swap(client, code, **PUBLIC, code_verifier=VERIFIER)
    assert refused(response) == (400, "invalid_client", "Invalid client secret")


def test_verifier_for_a_code_without_challenge_is_wrong(client: httpx.Client) -> None:
    response = swap(client, minted_code(client), **CLIENT, code_verifier=VERIFIER)
    assert refused(response) == (400, "invalid_grant", "code_verifier was incorrect")


def test_code_belongs_to_its_redirect_uri(client: httpx.Client) -> None:
    response = swap(client, minted_code(client), **CLIENT, redirect_uri=REDIRECT_URI + "/")
    assert refused(response) == (400, "invalid_grant", "Invalid redirect URI")


def test_unknown_code_is_refused(client: httpx.Client) -> None:
    assert refused(swap(client, "AQnot")) == (400, "invalid_grant", "Invalid authorization code")


def test_code_expires(client: httpx.Client) -> None:
    code = minted_code(client)
    client.patch("/admin/settings", json={"code_lifetime": 0}).raise_for_status()
    assert refused(swap(client, code)) == (400, "invalid_grant", "Authorization code expired")


def test_pkce_code_needs_no_secret_but_its_verifier(client: httpx.Client) -> None:
    for who in [PUBLIC, CLIENT]:
        code = minted_code(client, code_challenge=CHALLENGE)
        assert refused(swap(client, code, **who)) == (
            400,
            "invalid_request",
            "code_verifier must be supplied",
        )
        assert swap(client, code, **who, code_verifier=VERIFIER).status_code == 200


def test_pkce_code_requires_the_right_client(client: httpx.Client) -> None:
    code = minted_code(client, code_challenge=CHALLENGE)
    response = swap(client, code, client_id="other", code_verifier=VERIFIER)
    assert refused(response) == (400, "invalid_client", "Invalid client")
    response = swap(client, code, **PUBLIC, client_secret="wrong", code_verifier=VERIFIER)
    assert refused(response) == (400, "invalid_client", "Invalid client secret")


def test_wrong_verifier_is_refused(client: httpx.Client) -> None:
    for verifier in ["a" * 43, "short", VERIFIER + "!", "a" * 129, VERIFIER + "\n"]:
        code = minted_code(client, code_challenge=CHALLENGE)
        response = swap(client, code, **PUBLIC, code_verifier=verifier)
        assert refused(response) == (400, "invalid_grant", "code_verifier was incorrect")


def test_plain_refresh_token_stays_valid_and_is_not_returned(client: httpx.Client) -> None:
    token = minted_refresh_token(client, pkce=False, scope="streaming")
    for _ in range(2):
        tokens = refresh(client, token).json()
        assert set(tokens) == {"access_token", "token_type", "scope", "expires_in"}
        assert tokens["scope"] == "streaming"


def test_plain_refresh_token_needs_an_authenticated_client(client: httpx.Client) -> None:
    token = minted_refresh_token(client, pkce=False)
    response = refresh(client, token, **PUBLIC)
    assert refused(response) == (400, "invalid_client", "Invalid client secret")


def test_pkce_refresh_token_is_replaced_by_each_refresh(client: httpx.Client) -> None:
    first = minted_refresh_token(client, pkce=True, scope="streaming")
    second = refresh(client, first, **PUBLIC).json()["refresh_token"]
    assert refused(refresh(client, first, **PUBLIC)) == (
        400,
        "invalid_grant",
        "Refresh token revoked",
    )
    by_header = {"grant_type": "refresh_token", "refresh_token": second}
    tokens = post_token(client, by_header, BASIC).json()
    assert tokens["refresh_token"] not in {first, second}
    assert tokens["scope"] == "streaming"


def test_tokens_from_a_pkce_code_rotate_and_those_from_a_plain_code_do_not(
    client: httpx.Client,
) -> None:
    pkce_code = minted_code(client, code_challenge=CHALLENGE)
    from_pkce = swap(client, pkce_code, **CLIENT, code_verifier=VERIFIER).json()["refresh_token"]
    from_plain = swap(client, minted_code(client)).json()["refresh_token"]
    assert "refresh_token" in refresh(client, from_pkce, **PUBLIC).json()
    assert "refresh_token" not in refresh(client, from_plain).json()


def test_unknown_refresh_token_is_refused(client: httpx.Client) -> None:
    assert refused(refresh(client, "AQnot")) == (400, "invalid_grant", "Invalid refresh token")


def test_rotation_can_be_set_for_all_tokens(client: httpx.Client) -> None:
    for pkce in [True, False]:
        token = minted_refresh_token(client, pkce=pkce)
        client.patch("/admin/settings", json={"rotation": "same"}).raise_for_status()
        assert refresh(client, token).json()["refresh_token"] == token
        client.patch("/admin/settings", json={"rotation": "off"}).raise_for_status()
        assert "refresh_token" not in refresh(client, token).json()
        client.patch("/admin/settings", json={"rotation": "on"}).raise_for_status()
        assert refresh(client, token).json()["refresh_token"] != token
        assert refresh(client, token).status_code == 400


def test_lifetime_of_access_tokens_can_be_set(client: httpx.Client) -> None:
    client.patch("/admin/settings", json={"expires_in": 5}).raise_for_status()
    assert post_token(client, CREDENTIALS | CLIENT).json()["expires_in"] == 5
