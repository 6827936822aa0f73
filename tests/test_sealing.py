import base64
import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from service.errors import ServiceError, UndecryptableToken
from service.sealing import NONCE_BYTES, TAG_BYTES, Opened, Sealer, fingerprint, key_names

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
    sealer, sealed = Sealer(vector["secret_key"]), vector["ciphertext"]
    for spelling in (sealed, padded(sealed), sealed.replace("-", "+").replace("_", "/")):
        assert sealer.open(spelling) == Opened(vector["plaintext"], stale=False)


def test_vectors_cover_every_length_modulo_3() -> None:
    """The original cannot open its own tokens whose length is 3 modulo 4 in base64."""
    assert {len(bits(vector["ciphertext"])) % 3 for vector in VECTORS} == {0, 1, 2}


@quick
@given(texts, texts)
def test_any_text_opens_under_any_key(token: str, key: str) -> None:
    sealer = Sealer(key)
    assert sealer.open(sealer.seal(token)) == Opened(token, stale=False)


def test_tokens_of_every_length_open_padded_and_unpadded_in_either_alphabet() -> None:
    for length in (*range(100), 599, 600):
        token = "x" * length
        sealed = SEALER.seal(token)
        other = sealed.replace("-", "+").replace("_", "/")
        for text in (sealed, padded(sealed), other, padded(other)):
            assert SEALER.open(text).token == token


@quick
@given(texts, st.data())
def test_alphabets_may_be_mixed(token: str, data: st.DataObject) -> None:
    sealed = SEALER.seal(token)
    swap = {"-": "+", "_": "/"}
    mixed = "".join(swap.get(c, c) if data.draw(st.booleans()) else c for c in sealed[:40])
    assert SEALER.open(mixed + sealed[40:]).token == token


def test_sealed_token_is_url_safe_and_unpadded() -> None:
    for length in range(9):
        assert re.fullmatch(r"[A-Za-z0-9_-]+", SEALER.seal("é" * length))


def test_sealed_token_is_nonce_ciphertext_and_tag() -> None:
    for length in (0, 1, 600):
        assert len(bits(SEALER.seal("x" * length))) == NONCE_BYTES + length + TAG_BYTES


def test_no_two_seals_are_equal() -> None:
    seals = [SEALER.seal(TOKEN) for _ in range(1000)]
    assert len(set(seals)) == 1000
    assert len({bits(sealed)[:NONCE_BYTES] for sealed in seals}) == 1000


def test_sealed_token_does_not_contain_the_token() -> None:
    sealed = SEALER.seal(TOKEN)
    assert TOKEN.encode() not in bits(sealed)
    assert bits(SEALER.seal("A" * 64))[NONCE_BYTES:-TAG_BYTES] != b"A" * 64


def test_flipped_bit_is_refused() -> None:
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


def test_white_space_anywhere_is_refused() -> None:
    sealed = padded(SEALER.seal("AB" * 8 + "A"))
    for space in (" ", "\n", "\r\n", "\t", "\0", "\v", "\x85", "\xa0", "\u2028"):
        for position in range(len(sealed) + 1):
            assert_refused(sealed[:position] + space + sealed[position:])


def test_character_of_neither_alphabet_anywhere_is_refused() -> None:
    sealed = SEALER.seal("AB" * 8)
    for character in "=.,~!%é€😀\ud800\uff21*&\x7f٣":
        for position in range(len(sealed)):
            assert_refused(sealed[:position] + character + sealed[position:])
            assert_refused(sealed[:position] + character + sealed[position + 1 :])


def test_padding_that_is_too_short_or_too_long_is_refused() -> None:
    for length in range(4):
        sealed = SEALER.seal("x" * length)
        right = -len(sealed) % 4
        for count in set(range(1, 9)) - {right}:
            assert_refused(sealed + "=" * count)
        assert SEALER.open(sealed + "=" * right).token == "x" * length


def test_text_that_was_never_sealed_is_refused() -> None:
    sealed = SEALER.seal(TOKEN)
    for text in ("", "=", "====", "A", "AA", "A" * 37, "A" * 38, "null", TOKEN, sealed * 2):
        assert_refused(text)


@quick
@given(st.text(max_size=60))
@example("A" * 64)
def test_any_text_is_refused(text: str) -> None:
    assert_refused(text)


@quick
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(raw: bytes) -> None:
    assert_refused(text_of(raw))


def test_sealed_bytes_that_are_not_utf_8_are_refused() -> None:
    cipher = AESGCM(hashlib.sha256(KEY.encode()).digest())
    for sealed, is_text in (("café".encode(), True), (b"caf\xe9", False)):
        text = text_of(bytes(NONCE_BYTES) + cipher.encrypt(bytes(NONCE_BYTES), sealed, None))
        if is_text:
            assert SEALER.open(text).token == "café"
        else:
            assert_refused(text)


@quick
@given(texts, texts)
def test_token_of_another_key_is_refused(key: str, other: str) -> None:
    assume(key != other)
    assert_refused(Sealer(key).seal(TOKEN), Sealer(other))


def test_tokens_of_previous_keys_are_stale() -> None:
    sealer = Sealer("new", ["old", "older"])
    for key in ("old", "older"):
        assert sealer.open(Sealer(key).seal(TOKEN)) == Opened(TOKEN, stale=True)
    assert_refused(Sealer("oldest").seal(TOKEN), sealer)


def test_only_the_current_key_seals() -> None:
    sealer = Sealer("new", ["old"])
    sealed = sealer.seal(TOKEN)
    assert sealer.open(sealed) == Opened(TOKEN, stale=False)
    assert Sealer("new").open(sealed).token == TOKEN
    assert_refused(sealed, Sealer("old"))


def test_key_that_is_both_current_and_previous_is_current() -> None:
    sealer = Sealer("same", ["same"])
    assert not sealer.open(sealer.seal(TOKEN)).stale


def test_previous_keys_may_come_from_a_generator() -> None:
    sealer = Sealer("new", (key for key in ["old"]))
    sealed = Sealer("old").seal(TOKEN)
    assert sealer.open(sealed).stale
    assert sealer.open(sealed).stale


def test_on_open_gets_the_position_of_the_key() -> None:
    opened: list[int] = []
    sealer = Sealer("new", ["old", "older"], opened.append)
    for key in ("new", "old", "old", "foreign"):
        with suppress(UndecryptableToken):
            sealer.open(Sealer(key).seal(TOKEN))
    assert opened == [0, 1, 1]


def test_fingerprint_is_an_hmac_under_the_aes_key() -> None:
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


def test_weak_key_has_no_fingerprint() -> None:
    """Guesses of such a key could be tested with it."""
    assert fingerprint("a" * 19) == ""
    assert fingerprint("a" * 20) != ""


def test_repr_shows_no_token() -> None:
    opened = Opened(TOKEN, stale=True)
    assert repr(opened) == str(opened) == f"{opened}" == "Opened(token=…, stale=True)"


def test_key_names_are_current_and_previous() -> None:
    names = [("current", fingerprint("a" * 20)), ("previous", ""), ("previous", "670247be")]
    assert key_names(["a" * 20, "weak", KEY]) == names
