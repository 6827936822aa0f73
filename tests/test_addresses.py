"""Which client a request is counted for."""

import pytest

from service.rate_limit import HOPS, Clients, network

PROXIES = ("10.0.0.0/8", "fd00::/8")


def found(peer: str, *lines: str, trusted: tuple[str, ...] = PROXIES) -> str:
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in lines]
    scope = {"client": (peer, 1234), "headers": [(b"host", b"x"), *headers]}
    return str(Clients(trusted).address(scope))


def test_without_trusted_proxies_it_is_the_peer_whatever_the_header_says() -> None:
    assert found("192.0.2.1", "203.0.113.9", trusted=()) == "192.0.2.1"


def test_a_peer_that_is_no_proxy_is_the_client_itself() -> None:
    assert found("192.0.2.1", "203.0.113.9") == "192.0.2.1"


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9, 10.1.1.1,\t10.2.2.2 "], "203.0.113.9"),
        (["6.6.6.6", "203.0.113.9, 10.1.1.1", "10.2.2.2"], "203.0.113.9"),
        (["2001:db8::7, fd00::1"], "2001:db8::7"),
        (["10.3.3.3, 10.1.1.1"], "10.3.3.3"),
        ([], "10.0.0.1"),
    ],
    ids=["one", "made-up", "chain", "lines", "IPv6", "only-proxies", "none"],
)
def test_behind_proxies_it_is_the_last_address_that_is_none_of_them(
    lines: list[str], client: str
) -> None:
    assert found("10.0.0.1", *lines) == client


@pytest.mark.parametrize(
    ("entry", "client"),
    [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
    ],
)
def test_an_entry_may_have_a_port_or_be_a_mapped_address(entry: str, client: str) -> None:
    assert found("10.0.0.1", entry) == client


def test_a_proxy_of_ipv4_is_trusted_on_a_socket_of_both_versions() -> None:
    assert found("::ffff:10.0.0.1", "203.0.113.9") == "203.0.113.9"
    assert found("::ffff:192.0.2.1", "203.0.113.9") == "192.0.2.1"


@pytest.mark.parametrize(
    "garbage",
    [
        "unknown",
        "",
        "_hidden",
        "203.0.113.9.1",
        "203.0.113.9:port",
        "[::1",
        "é",
        "1" * 9000,
        "::1:x",
    ],
)
def test_an_entry_that_is_no_address_ends_the_search_at_the_proxy_that_wrote_it(
    garbage: str,
) -> None:
    assert found("10.0.0.1", f"203.0.113.9, {garbage}, 10.9.9.9") == "10.9.9.9"
    assert found("10.0.0.1", f"203.0.113.9, {garbage}") == "10.0.0.1"


def test_no_more_entries_are_looked_at_than_a_chain_can_have() -> None:
    assert found("10.0.0.1", "203.0.113.9" + ", 10.1.1.1" * HOPS) == "10.1.1.1"
    assert found("10.0.0.1", "203.0.113.9" + ", 10.1.1.1" * (HOPS - 1)) == "203.0.113.9"
    assert found("10.0.0.1", *["10.1.1.1"] * 5000) == "10.1.1.1"


def test_a_peer_without_an_address_is_not_known() -> None:
    for client in (None, ("/run/socket", 0), ("", 0)):
        assert Clients(PROXIES).address({"client": client, "headers": []}) is None
    assert network(None) == b""


def test_an_ipv6_network_of_64_bits_counts_as_one_client_and_ipv4_by_address() -> None:
    def counted(peer: str) -> bytes:
        return network(Clients().address({"client": (peer, 1), "headers": []}))

    assert counted("2001:db8:0:1::1") == counted("2001:db8:0:1:ffff:ffff:ffff:ffff")
    assert counted("2001:db8:0:1::1") != counted("2001:db8:0:2::1")
    assert counted("fe80::1%eth0") == counted("fe80::2")
    assert counted("192.0.2.1") != counted("192.0.2.2")
    assert counted("192.0.2.1") == counted("::ffff:192.0.2.1")
