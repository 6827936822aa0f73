import base64
import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from service.errors import ServiceError, UndecryptableToken
from service.sealing import NONCE_BYTES, TAG_BYTES, Opened, Sealer, fingerprint

KEY = "golden-secret-key-0123456789"
SEALER = Sealer(KEY)
TOKEN = "AQ-token_that/has+a=bit&of everything é€😀"

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))[
    "vectors"
]

quick = settings(deadline=None, derandomize=True, max_examples=100)
# Settings come from an environment, which holds no lone surrogates after settings.load().
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=600)


def bits(sealed: str) -> bytes:
    return base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))


def text_of(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def padded(sealed: str) -> str:
    return sealed + "=" * (-len(sealed) % 4)


def assert_refused(sealed: str, sealer: Sealer = SEALER) -> None:
    with pytest.raises(ServiceError) as refusal:
        sealer.open(sealed)
    assert type(refusal.value) is UndecryptableToken
    assert str(refusal.value) == "could not decrypt refresh token"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["plaintext"][:12])
def test_tokens_of_the_original_server_open(vector: dict[str, str]) -> None:
    opened = Sealer(vector["secret_key"]).open(vector["ciphertext"])
    assert opened == Opened(vector["plaintext"], stale=False)


def test_the_vectors_cover_every_length_modulo_3() -> None:
    """The original can't open its own where that is 3 mod 4 in base64: ours must."""
    assert {len(bits(vector["ciphertext"])) % 3 for vector in VECTORS} == {0, 1, 2}


@quick
@given(texts, texts)
def test_any_text_opens_as_it_was_sealed_under_any_key(token: str, key: str) -> None:
    sealer = Sealer(key)
    assert sealer.open(sealer.seal(token)) == Opened(token, stale=False)


def test_tokens_of_every_length_open_padded_and_unpadded_in_either_alphabet() -> None:
    for length in range(601):
        token = "x" * length
        sealed = SEALER.seal(token)
        other = sealed.replace("-", "+").replace("_", "/")
        for text in (sealed, padded(sealed), other, padded(other)):
            assert SEALER.open(text).token == token


@quick
@given(texts, st.data())
def test_the_two_alphabets_may_be_mixed(token: str, data: st.DataObject) -> None:
    sealed = SEALER.seal(token)
    swap = {"-": "+", "_": "/"}
    mixed = "".join(swap.get(c, c) if data.draw(st.booleans()) else c for c in sealed[:40])
    assert SEALER.open(mixed + sealed[40:]).token == token


def test_a_sealed_token_is_url_safe_and_unpadded() -> None:
    for length in range(9):
        assert re.fullmatch(r"[A-Za-z0-9_-]+", SEALER.seal("é" * length))


def test_a_sealed_token_is_nonce_ciphertext_and_tag() -> None:
    for length in (0, 1, 600):
        assert len(bits(SEALER.seal("x" * length))) == NONCE_BYTES + length + TAG_BYTES


def test_no_two_seals_are_equal() -> None:
    seals = [SEALER.seal(TOKEN) for _ in range(1000)]
    assert len(set(seals)) == 1000
    assert len({bits(sealed)[:NONCE_BYTES] for sealed in seals}) == 1000


def test_the_token_cannot_be_read_from_what_is_sealed() -> None:
    sealed = SEALER.seal(TOKEN)
    assert TOKEN.encode() not in bits(sealed)
    assert bits(SEALER.seal("A" * 64))[NONCE_BYTES:-TAG_BYTES] != b"A" * 64


def test_any_flipped_bit_is_refused() -> None:
    raw = bits(SEALER.seal(TOKEN))
    for position in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[position // 8] ^= 1 << position % 8
        assert_refused(text_of(bytes(flipped)))


def test_any_truncation_is_refused() -> None:
    sealed = SEALER.seal(TOKEN)
    for length in range(len(sealed)):
        assert_refused(sealed[:length])
        assert_refused(sealed[length + 1 :])
        assert_refused(padded(sealed[:length]))


@pytest.mark.parametrize("space", [" ", "\n", "\r\n", "\t", "\0", "\v", "\x85", "\xa0", "\u2028"])
def test_white_space_anywhere_is_refused(space: str) -> None:
    sealed = padded(SEALER.seal("AB" * 8 + "A"))
    for position in range(len(sealed) + 1):
        assert_refused(sealed[:position] + space + sealed[position:])


@pytest.mark.parametrize("character", "=.,~!%é€😀\ud800\uff21*&\x7f")
def test_a_character_of_no_alphabet_anywhere_is_refused(character: str) -> None:
    sealed = SEALER.seal("AB" * 8)
    for position in range(len(sealed)):
        assert_refused(sealed[:position] + character + sealed[position:])
        assert_refused(sealed[:position] + character + sealed[position + 1 :])


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_padding_that_is_too_short_or_too_long_is_refused(length: int) -> None:
    sealed = SEALER.seal("x" * length)
    right = -len(sealed) % 4
    for count in set(range(1, 9)) - {right}:
        assert_refused(sealed + "=" * count)
    assert SEALER.open(sealed + "=" * right).token == "x" * length


@pytest.mark.parametrize("text", ["", "=", "====", "A", "AA", "A" * 37, "A" * 38, "null", TOKEN])
def test_what_was_never_sealed_is_refused(text: str) -> None:
    assert_refused(text)


@quick
@given(st.text(max_size=60))
@example("A" * 64)
def test_no_text_raises_anything_but_undecryptable(text: str) -> None:
    assert_refused(text)


@quick
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_undecryptable(raw: bytes) -> None:
    assert_refused(text_of(raw))


def test_what_is_sealed_but_not_utf_8_is_refused() -> None:
    class Latin(str):
        """A token that another program sealed."""

        __slots__ = ()

        def encode(self, *_: object) -> bytes:
            return super().encode("latin-1")

    assert_refused(SEALER.seal(Latin("caf\xe9")))


@quick
@given(texts, texts)
def test_the_token_of_another_key_is_refused(key: str, other: str) -> None:
    assume(key != other)
    assert_refused(Sealer(key).seal(TOKEN), Sealer(other))


def test_a_previous_key_opens_and_its_tokens_are_stale() -> None:
    opened: list[int] = []
    sealer = Sealer("new", ["old", "older"], opened.append)
    for key in ("old", "older"):
        assert sealer.open(Sealer(key).seal(TOKEN)) == Opened(TOKEN, stale=True)
    assert_refused(Sealer("oldest").seal(TOKEN), sealer)


def test_the_current_key_seals_and_its_tokens_are_not_stale() -> None:
    sealer = Sealer("new", ["old"])
    sealed = sealer.seal(TOKEN)
    assert sealer.open(sealed) == Opened(TOKEN, stale=False)
    assert Sealer("new").open(sealed).token == TOKEN
    assert_refused(sealed, Sealer("old"))


def test_a_key_that_is_both_current_and_previous_is_current() -> None:
    sealer = Sealer("same", ["same"])
    assert not sealer.open(sealer.seal(TOKEN)).stale


def test_a_sealer_takes_its_previous_keys_from_any_iterable_once() -> None:
    sealer = Sealer("new", (key for key in ["old"]))
    sealed = Sealer("old").seal(TOKEN)
    assert sealer.open(sealed).stale
    assert sealer.open(sealed).stale


def test_a_sealer_counts_what_each_key_opened_and_nothing_else() -> None:
    opened: list[int] = []
    sealer = Sealer("new", ["old", "older"], opened.append)
    for key in ("new", "old", "old", "foreign"):
        with suppress(UndecryptableToken):
            sealer.open(Sealer(key).seal(TOKEN))
    assert opened == [0, 1, 1]


def test_a_fingerprint_is_an_hmac_under_the_aes_key_and_no_part_of_it() -> None:
    """Computed with another library, so that it stays the same over versions."""
    aes_key = hashlib.sha256(b"golden-secret-key-0123456789").digest()
    mac = HMAC(aes_key, SHA256())
    mac.update(b"fingerprint")
    assert fingerprint("golden-secret-key-0123456789") == mac.finalize()[:4].hex() == "670247be"
    assert fingerprint("golden-secret-key-0123456789") not in aes_key.hex()


@quick
@given(st.text(min_size=20), st.text(min_size=20))
def test_fingerprints_distinguish_keys(key: str, other: str) -> None:
    assert re.fullmatch("[0-9a-f]{8}", fingerprint(key))
    assert (fingerprint(key) == fingerprint(other)) == (key == other)


def test_a_weak_key_has_no_fingerprint() -> None:
    """Guesses of such a key could be tested with it."""
    assert fingerprint("a" * 19) == ""
    assert fingerprint("a" * 20) != ""


def test_an_opened_token_does_not_show_itself() -> None:
    for shown in (repr, str, "{}".format, lambda opened: f"{opened}", lambda opened: f"{opened!r}"):
        assert shown(Opened(TOKEN, stale=True)) == "Opened(token=…, stale=True)"
