import gzip
import json
import socket
import time
import zlib
from typing import Any

import httpx
import pytest

from tests.flows import queue_faults
from tests.running import wait_until
from tests.simulator.requests import (
    CLIENT,
    PUBLIC,
    REDIRECT_URI,
    VERIFIER,
    minted_code,
    post_token,
    refresh,
    refused,
    swap,
)

GOOD = {"grant_type": "client_credentials"} | CLIENT
KINDS = {
    "answer",
    "badheader",
    "bomb",
    "close",
    "delay",
    "garbage",
    "gzip",
    "html",
    "huge",
    "notobject",
    "ratelimit",
    "redirect",
    "reset",
    "silence",
    "slow",
    "spotify",
    "status",
    "truncated",
}


def recorded(client: httpx.Client) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = client.get("/admin/requests").json()
    return entries


def connect(client: httpx.Client) -> socket.socket:
    """Send a valid request over a new socket, to see the raw response."""
    url = client.base_url
    line = socket.create_connection((url.host, url.port or 80), timeout=5)
    body = str(httpx.QueryParams(GOOD)).encode()
    line.sendall(
        b"POST /api/token HTTP/1.1\r\nHost: simulator\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    return line


def read_to_the_end(line: socket.socket) -> bytes:
    pieces = []
    while piece := line.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_status_responds_as_a_proxy_would(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "status"}, {"kind": "status", "status": 418, "body": "tea"})
    first, second = post_token(client, GOOD), post_token(client, GOOD)
    assert (first.status_code, first.headers["content-type"]) == (503, "text/plain")
    assert first.text.startswith("upstream connect error")
    assert (second.status_code, second.text) == (418, "tea")


def test_status_without_a_body_has_none(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "status", "status": 204})
    response = post_token(client, GOOD)
    assert (response.status_code, response.content) == (204, b"")


def test_delay_responds_normally_after_a_while(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "delay", "seconds": 0.2})
    begin = time.monotonic()
    assert post_token(client, GOOD).status_code == 200
    assert time.monotonic() - begin >= 0.2


def test_no_token_is_issued_to_a_client_that_disconnects_during_a_delay(
    client: httpx.Client,
) -> None:
    code = minted_code(client)
    queue_faults(client, {"kind": "delay", "seconds": 3600})
    form = CLIENT | {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
    with pytest.raises(httpx.ReadTimeout):
        client.post("/api/token", data=form, timeout=0.1)
    wait_until(lambda: bool(recorded(client)))
    assert recorded(client)[0]["status"] is None
    assert swap(client, code).status_code == 200


def test_reset_resets_the_connection_without_a_byte(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "reset"})
    with connect(client) as line, pytest.raises(ConnectionResetError):
        line.recv(1)


def test_close_closes_the_connection_without_a_byte(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "close"})
    with connect(client) as line:
        assert read_to_the_end(line) == b""


def test_silence_lasts_until_the_client_disconnects(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "silence"})
    with connect(client) as line:
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
    wait_until(lambda: bool(recorded(client)))
    assert recorded(client)[0]["fault"] == "silence"
    assert post_token(client, GOOD).status_code == 200


def test_truncated_promises_more_than_it_sends(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "truncated"})
    with connect(client) as line:
        head, _, body = read_to_the_end(line).partition(b"\r\n\r\n")
    promised = next(part for part in head.lower().split(b"\r\n") if b"content-length" in part)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert 0 < len(body) < int(promised.partition(b":")[2])


def test_garbage_is_not_json_despite_its_content_type(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "garbage"})
    response = post_token(client, GOOD)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_notobject_is_an_array(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "notobject"})
    response = post_token(client, GOOD)
    assert response.status_code == 200
    assert isinstance(response.json(), list)


def test_gzip_compresses_the_normal_response(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "gzip"})
    with client.stream("POST", "/api/token", data=GOOD) as response:
        raw = b"".join(response.iter_raw())
    assert response.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(raw))["token_type"] == "Bearer"


def test_bomb_is_small_on_the_wire_and_large_decompressed(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "bomb"})
    with client.stream("POST", "/api/token", data=GOOD) as response:
        raw = b"".join(response.iter_raw())
    assert len(raw) < 2**18
    packed = zlib.decompressobj(wbits=31)
    size = 0
    while piece := packed.decompress(raw, 2**20):
        size, raw = size + len(piece), packed.unconsumed_tail
    assert size == 64 * 2**20


def test_html_is_a_page(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "html"})
    response = post_token(client, GOOD)
    assert response.status_code == 503
    assert response.headers["content-type"].startswith("text/html")


def test_huge_is_a_json_object_of_exactly_its_size(client: httpx.Client) -> None:
    for size in [16, 100_000, 2**21]:
        queue_faults(client, {"kind": "huge", "size": size})
        response = post_token(client, GOOD)
        assert len(response.content) == size
        assert set(response.json()) == {"padding"}


def test_ratelimit_has_retry_after(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "ratelimit"}, {"kind": "ratelimit", "retry_after": 30})
    first, second = post_token(client, GOOD), post_token(client, GOOD)
    assert (first.status_code, first.headers["retry-after"]) == (429, "7")
    assert second.headers["retry-after"] == "30"


def test_spotify_refusals_have_spotifys_form(client: httpx.Client) -> None:
    for name, status, error, description in [
        ("invalid_grant", 400, "invalid_grant", "Invalid refresh token"),
        ("revoked", 400, "invalid_grant", "Refresh token revoked"),
        ("expired", 400, "invalid_grant", "Refresh token expired"),
        ("invalid_code", 400, "invalid_grant", "Invalid authorization code"),
        ("code_expired", 400, "invalid_grant", "Authorization code expired"),
        ("wrong_redirect_uri", 400, "invalid_grant", "Invalid redirect URI"),
        ("wrong_verifier", 400, "invalid_grant", "code_verifier was incorrect"),
        ("invalid_client", 400, "invalid_client", "Invalid client"),
        ("wrong_secret", 400, "invalid_client", "Invalid client secret"),
    ]:
        queue_faults(client, {"kind": "spotify", "error": name})
        assert refused(post_token(client, GOOD)) == (status, error, description)
        assert refused(refresh(client, f"fault-spotify-{name}")) == (status, error, description)
        assert post_token(client, GOOD).status_code == 200


def test_spotify_failures_have_spotifys_form(client: httpx.Client) -> None:
    limited = refresh(client, "fault-spotify-rate_limited")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert limited.json()["error"] == {"status": 429, "message": "API rate limit exceeded"}
    broken = refresh(client, "fault-spotify-server_error")
    assert (broken.status_code, broken.json()) == (500, {"error": "server_error"})
    away = refresh(client, "fault-spotify-unavailable")
    assert (away.status_code, away.headers["content-type"]) == (503, "text/plain")
    assert away.text.startswith("upstream connect error or disconnect/reset before headers.")


def test_unknown_spotify_error_is_refused_with_the_list(client: httpx.Client) -> None:
    status, error, description = refused(refresh(client, "fault-spotify-teapot"))
    assert (status, error) == (400, "invalid_request")
    assert "the errors are invalid_grant, revoked, expired," in description


def test_redirect_leads_to_the_trap_which_records(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "redirect"})
    response = client.post("/api/token", data=GOOD, follow_redirects=True)
    assert response.json() == {"trapped": True}
    first, second = recorded(client)
    assert (first["status"], first["fault"]) == (307, "redirect")
    assert second["path"] == "/trap"
    assert second["form"] == first["form"]


def test_redirect_leads_anywhere(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "redirect", "url": "https://elsewhere.example/"})
    assert post_token(client, GOOD).headers["location"] == "https://elsewhere.example/"


def test_slow_sends_the_body_byte_by_byte(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "slow", "interval": 0.001})
    with client.stream("POST", "/api/token", data=GOOD) as response:
        pieces = list(response.iter_raw())
    assert len(pieces) > 20
    assert json.loads(b"".join(pieces))["token_type"] == "Bearer"


def test_badheader_is_refused_by_a_strict_reader(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "badheader"})
    with pytest.raises(httpx.RemoteProtocolError):
        post_token(client, GOOD)


def test_answer_is_sent_byte_for_byte(client: httpx.Client) -> None:
    headers = [["Content-Type", "text/x-odd"], ["X-Twice", "a"], ["X-Twice", "é"]]
    queue_faults(
        client, {"kind": "answer", "status": 599, "headers": headers, "body_base64": "AP8="}
    )
    response = post_token(client, GOOD)
    assert (response.status_code, response.content) == (599, b"\x00\xff")
    assert response.headers.get_list("x-twice") == ["a", "é"]
    assert set(response.headers) == {"date", "content-type", "x-twice", "content-length"}


def test_faults_do_not_leak_the_normal_response(client: httpx.Client) -> None:
    code = minted_code(client)
    queue_faults(client, {"kind": "status"})
    assert swap(client, code).status_code == 503
    assert swap(client, code).status_code == 200


def test_faults_are_applied_in_order_and_count(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "status", "status": 500, "times": 2}, {"kind": "html"})
    assert [post_token(client, GOOD).status_code for _ in range(4)] == [500, 500, 503, 200]


def test_fault_with_zero_times_lasts_until_cleared(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "status", "times": 0})
    assert [post_token(client, GOOD).status_code for _ in range(3)] == [503, 503, 503]
    assert client.delete("/admin/faults").status_code == 204
    assert post_token(client, GOOD).status_code == 200


def test_queued_faults_can_be_read(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "ratelimit", "times": 3})
    post_token(client, GOOD)
    waiting = client.get("/admin/faults").json()
    assert waiting == [{"kind": "ratelimit", "retry_after": 7, "times": 2}]


def test_single_fault_needs_no_list(client: httpx.Client) -> None:
    response = client.post("/admin/faults", json={"kind": "close"})
    assert (response.status_code, response.json()) == (201, [{"kind": "close", "times": 1}])


def test_every_kind_can_be_queued_by_name(client: httpx.Client) -> None:
    queue_faults(client, *[{"kind": kind} for kind in sorted(KINDS)])
    assert [fault["kind"] for fault in client.get("/admin/faults").json()] == sorted(KINDS)


def test_invalid_fault_is_refused_with_a_reason(client: httpx.Client) -> None:
    for spec, words in [
        ("{", "The body is not JSON"),
        ("", "The body is not JSON"),
        ("3", "Expected `object | array`"),
        ('{"kind": "flood"}', "Invalid value 'flood' - at `$.kind`"),
        ("{}", "missing required field `kind`"),
        ('[{"kind": "close"}, {"kind": "delay", "seconds": -1}]', "at `$[1].seconds`"),
        ('{"kind": "delay", "seconds": "long"}', "at `$.seconds`"),
        ('{"kind": "close", "time": 2}', "unknown field `time`"),
        ('{"kind": "close", "times": -1}', "at `$.times`"),
        ('{"kind": "status", "status": 100}', "at `$.status`"),
        ('{"kind": "status", "content_type": "a\\r\\nb: c"}', "at `$.content_type`"),
        ('{"kind": "redirect", "url": "/a\\n"}', "at `$.url`"),
        ('{"kind": "huge", "size": 1}', "at `$.size`"),
        ('{"kind": "answer", "body": "a", "body_base64": "YQ=="}', "not both"),
        ('{"kind": "answer", "body_base64": "?"}', "body_base64"),
        ('{"kind": "answer", "headers": [["a b", "c"]]}', "not a valid header name"),
        ('{"kind": "answer", "headers": [["a", "b\\nc"]]}', "characters that are not allowed"),
        ('{"kind": "answer", "headers": [["Content-Length", "9"]]}', "set by the server"),
    ]:
        response = client.post("/admin/faults", content=spec)
        assert response.status_code == 400
        assert words in response.json()["detail"]
        assert client.get("/admin/faults").json() == []


def test_code_or_refresh_token_can_name_a_fault(client: httpx.Client) -> None:
    for value, status in [
        ("fault-status", 503),
        ("fault-status-502", 502),
        ("fault-html-504", 504),
        ("fault-ratelimit-9", 429),
        ("fault-redirect-/elsewhere-now", 307),
        ("fault-answer-299", 299),
    ]:
        assert swap(client, value).status_code == status
        assert refresh(client, value).status_code == status
        assert [entry["fault"] for entry in recorded(client)[-2:]] == [value.split("-")[1]] * 2


def test_value_can_name_a_reset(client: httpx.Client) -> None:
    with pytest.raises(httpx.ReadError):
        swap(client, "fault-reset")


def test_value_that_names_a_fault_is_otherwise_valid(client: httpx.Client) -> None:
    by_code = swap(client, "fault-delay-0.01")
    by_pkce = swap(client, "fault-gzip", **PUBLIC, code_verifier=VERIFIER)
    by_token = refresh(client, "fault-slow-0", **PUBLIC)
    for response in (by_code, by_pkce, by_token):
        assert response.status_code == 200
        assert "refresh_token" in response.json()


def test_value_that_names_a_fault_does_not_authenticate_a_client(client: httpx.Client) -> None:
    response = swap(client, "fault-delay-0", **PUBLIC)
    assert refused(response) == (400, "invalid_client", "Invalid client secret")


def test_value_that_names_a_fault_does_not_allow_a_redirect_uri(client: httpx.Client) -> None:
    response = swap(client, "fault-delay-0", redirect_uri="http://localhost/x")
    assert refused(response) == (400, "invalid_grant", "Invalid redirect URI")


def test_value_takes_precedence_over_the_queue(client: httpx.Client) -> None:
    queue_faults(client, {"kind": "status", "status": 500})
    assert swap(client, "fault-status-502").status_code == 502
    assert post_token(client, GOOD).status_code == 500


def test_value_that_names_an_unknown_fault_is_refused_with_a_reason(client: httpx.Client) -> None:
    for value, words in [
        ("fault-", "'' is not a kind of fault; the kinds are answer, badheader"),
        ("fault-flood", "'flood' is not a kind of fault"),
        ("fault-status-x", "fault-status does not accept 'x'"),
        ("fault-status-99", "fault-status does not accept '99'"),
        ("fault-delay--1", "fault-delay does not accept '-1'"),
        ("fault-delay-nan", "fault-delay does not accept 'nan'"),
        ("fault-delay-inf", "fault-delay does not accept 'inf'"),
        ("fault-reset-3", "fault-reset takes no value"),
    ]:
        status, error, description = refused(swap(client, value))
        assert (status, error) == (400, "invalid_request")
        assert words in description
