"""The rules for bodies, on the pure function `decode`; test_routes.py has each once over HTTP."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.errors import (
    InvalidField,
    MalformedBody,
    MissingField,
    ServiceError,
    UnsupportedMediaType,
)
from service.forms import (
    BODY_LIMIT,
    AuthorizationCodeForm,
    ClientCredentialsForm,
    PKCEAuthorizationCodeForm,
    PKCERefreshForm,
    RefreshForm,
    decode,
    is_supported,
)

URLENCODED = "application/x-www-form-urlencoded"
JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=limit"

AnyForm = type[msgspec.Struct]
Fields = Mapping[str, str]

FULL: dict[AnyForm, dict[str, str]] = {
    ClientCredentialsForm: {"grant_type": "client_credentials"},
    AuthorizationCodeForm: {
        "code": "AQ+c/o=d&e é😀",
        "redirect_uri": "https://app.example/?a=b&c=d",
        "code_verifier": "veri-fier._~",
        "grant_type": "authorization_code",
    },
    PKCEAuthorizationCodeForm: {
        "code": "AQcode",
        "code_verifier": "veri-fier._~",
        "redirect_uri": "app-scheme://callback",
        "grant_type": "authorization_code",
    },
    RefreshForm: {"refresh_token": "se-al_ed", "grant_type": "refresh_token"},
    PKCERefreshForm: {"refresh_token": "se-al_ed", "grant_type": "refresh token", "method": "PKCE"},
}
REQUIRED = [
    (AuthorizationCodeForm, "code"),
    (PKCEAuthorizationCodeForm, "code"),
    (PKCEAuthorizationCodeForm, "code_verifier"),
    (RefreshForm, "refresh_token"),
    (PKCERefreshForm, "refresh_token"),
]
OPTIONAL = [
    (AuthorizationCodeForm, "redirect_uri"),
    (AuthorizationCodeForm, "code_verifier"),
    (PKCEAuthorizationCodeForm, "redirect_uri"),
]

quick = settings(deadline=None, derandomize=True, max_examples=100)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters='\r\n"\0\\'), max_size=9
)


def part(name: str, value: bytes, filename: str = "") -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    head = f'--limit\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def urlencoded(fields: Fields) -> bytes:
    return urlencode(fields).encode()


def as_json(fields: Fields) -> bytes:
    return json.dumps(fields).encode()


def multipart(fields: Fields) -> bytes:
    return b"".join(part(name, text.encode()) for name, text in fields.items()) + b"--limit--\r\n"


Encode = Callable[[Fields], bytes]
in_each_media_type = pytest.mark.parametrize(
    ("content_type", "encode"),
    [(URLENCODED, urlencoded), (JSON, as_json), (MULTIPART, multipart)],
    ids=["urlencoded", "json", "multipart"],
)
for_each_required_field = pytest.mark.parametrize(("form", "name"), REQUIRED)


def as_dict(form: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(form)


# Fields --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FULL)
def test_every_field_is_decoded(form: AnyForm) -> None:
    assert as_dict(decode(URLENCODED, urlencoded(FULL[form]), form)) == FULL[form]


@pytest.mark.parametrize("form", FULL)
def test_required_fields_are_enough(form: AnyForm) -> None:
    needed = {name: FULL[form][name] for found, name in REQUIRED if found is form}
    optional = dict.fromkeys(set(form.__struct_fields__) - set(needed))
    assert as_dict(decode(URLENCODED, urlencoded(needed), form)) == needed | optional


@for_each_required_field
def test_missing_or_empty_field_is_named(form: AnyForm, name: str) -> None:
    others = {key: text for key, text in FULL[form].items() if key != name}
    for fields in (others, others | {name: ""}):
        with pytest.raises(MissingField) as refusal:
            decode(URLENCODED, urlencoded(fields), form)
        assert str(refusal.value) == f"Value of type 'String' required for key '{name}'."


def test_first_of_several_missing_fields_is_named() -> None:
    with pytest.raises(MissingField, match="'code'"):
        decode(URLENCODED, b"", PKCEAuthorizationCodeForm)


@pytest.mark.parametrize(("form", "name"), [*REQUIRED, *OPTIONAL])
def test_json_value_that_is_not_a_string_is_named(form: AnyForm, name: str) -> None:
    values: list[object] = [1, 0.5, True, [], {"a": "b"}]
    for value in values:
        with pytest.raises(MissingField, match=f"'{name}'"):
            decode(JSON, json.dumps({**FULL[form], name: value}).encode(), form)


def test_null_is_a_missing_field() -> None:
    with pytest.raises(MissingField, match="'code'"):
        decode(JSON, b'{"code": null}', AuthorizationCodeForm)
    body = b'{"code": "c", "redirect_uri": null, "code_verifier": null}'
    assert decode(JSON, body, AuthorizationCodeForm) == AuthorizationCodeForm("c")


def test_file_is_a_missing_field() -> None:
    body = part("refresh_token", b"text", filename="a.txt") + multipart({"grant_type": "x"})
    with pytest.raises(MissingField, match="'refresh_token'"):
        decode(MULTIPART, body, RefreshForm)


@in_each_media_type
def test_repeated_field_is_named(content_type: str, encode: Encode) -> None:
    for name in FULL[PKCEAuthorizationCodeForm]:
        first = encode({name: "first"})
        second = encode(FULL[PKCEAuthorizationCodeForm] | {name: "second"})
        body = {
            URLENCODED: first + b"&" + second,
            JSON: first[:-1] + b"," + second[1:],
            MULTIPART: first.removesuffix(b"--limit--\r\n") + second,
        }[content_type]
        with pytest.raises(InvalidField) as refusal:
            decode(content_type, body, PKCEAuthorizationCodeForm)
        assert str(refusal.value) == f"The value for key '{name}' is repeated."


@in_each_media_type
def test_field_that_is_not_utf_8_is_named(content_type: str, encode: Encode) -> None:
    for name in FULL[RefreshForm]:
        for bad in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"caf\xe9", b"\xc0\xaf"):
            body = encode(FULL[RefreshForm] | {name: "HERE"}).replace(b"HERE", bad)
            with pytest.raises(InvalidField) as refusal:
                decode(content_type, body, RefreshForm)
            assert str(refusal.value) == f"The value for key '{name}' is not UTF-8 text."


def test_percent_encoded_bytes_must_be_utf_8() -> None:
    with pytest.raises(InvalidField, match="'code' is not UTF-8"):
        decode(URLENCODED, b"code=x%ed%A0%80", AuthorizationCodeForm)


def test_lone_surrogate_in_json_is_refused_and_a_pair_is_decoded() -> None:
    with pytest.raises(InvalidField, match="'code' is not UTF-8"):
        decode(JSON, rb'{"code": "\ud83d"}', AuthorizationCodeForm)
    assert decode(JSON, rb'{"code": "\ud83d\ude00"}', AuthorizationCodeForm).code == "😀"


def test_percent_signs_and_plus_are_decoded_as_in_the_url_standard() -> None:
    body = b"refresh%5Ftoken=a+b%20c%2Bd%zz%&&=&x"
    assert decode(URLENCODED, body, RefreshForm).refresh_token == "a b c+d%zz%"


@in_each_media_type
def test_any_text_is_decoded(content_type: str, encode: Encode) -> None:
    @quick
    @given(texts.filter(bool), texts.filter(bool), texts)
    @example("+", "%2B%", "&=;")
    @example("\r\n--limit", " ", "\0")
    def survives(code: str, verifier: str, uri: str) -> None:
        fields = {"code": code, "code_verifier": verifier, "redirect_uri": uri}
        if content_type == MULTIPART and any("\n--limit" in text for text in fields.values()):
            return  # a boundary is chosen so that it does not occur
        decoded = decode(content_type, encode(fields), PKCEAuthorizationCodeForm)
        assert as_dict(decoded) == fields | {"grant_type": None}

    survives()


# Ignored fields ------------------------------------------------------------------------------


@in_each_media_type
def test_fields_of_other_forms_are_ignored(content_type: str, encode: Encode) -> None:
    body = encode({"refresh_token": "r", "code": "HERE", "redirect_uri": ""})
    body = body.replace(b"HERE", b"\xff").replace(b"redirect_uri", b"code")
    assert decode(content_type, body, RefreshForm) == RefreshForm("r")


@in_each_media_type
def test_unknown_fields_are_ignored(content_type: str, encode: Encode) -> None:
    @quick
    @given(st.dictionaries(names, texts, max_size=6))
    def ignored(others: dict[str, str]) -> None:
        fields = {key: text for key, text in others.items() if key not in FULL[RefreshForm]}
        if any("\n--limit" in text for text in fields.values()):
            return
        decoded = decode(content_type, encode(fields | {"refresh_token": "r"}), RefreshForm)
        assert decoded == RefreshForm("r")

    ignored()


def test_json_values_of_unused_fields_may_be_anything() -> None:
    for value in (
        *(
            "-1.5e300",
            "1e999",
            "true",
            "null",
            '"text"',
            '[{"a": [[]]}]',
            '{"code": "x", "code": 1}',
        ),
        *("9" * 5000, "[" * 500 + "]" * 500),
    ):
        body = f'{{"refresh_token": "r", "grant_type": {value}, "method": {value}, "x": {value}}}'
        assert len(body) < BODY_LIMIT
        assert decode(JSON, body.encode(), PKCERefreshForm).refresh_token == "r"


def test_lone_surrogate_in_an_unknown_field_is_ignored() -> None:
    body = rb'{"refresh_token": "r", "other": "\ud800", "\ud800": 1}'
    assert decode(JSON, body, RefreshForm) == RefreshForm("r")


def test_grant_type_and_method_may_be_files() -> None:
    files = part("grant_type", b"\xff", "a.bin") + part("method", b"\xff", "b.bin")
    body = files + multipart({"refresh_token": "r"})
    assert decode(MULTIPART, body, PKCERefreshForm).refresh_token == "r"


# Bodies and media types ----------------------------------------------------------------------

NO_OBJECTS = [
    *(b"", b"{", b"[]", b'"x"', b"null", b"{'code': 1}", b'{"code"}', b'{"a":1} x', b"NaN"),
    *(b"\xff\xfe{\0}\0", b"[" * 500),
]


@pytest.mark.parametrize("body", NO_OBJECTS, ids=lambda body: repr(body[:12]))
def test_body_that_is_not_a_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody, match=r"^The body is not (valid JSON|a JSON object)\.$"):
        decode(JSON, body, RefreshForm)


def test_json_nested_too_deeply_is_malformed() -> None:
    """RFC 8259, section 9, lets a parser set a limit on the depth."""
    body = b'{"refresh_token": "r", "other": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    with pytest.raises(MalformedBody, match="nested too deeply"):
        decode(JSON, body, RefreshForm)


@pytest.mark.parametrize(
    "body", [b"", b"refresh_token=x", b"--limit\r\n\r\n", part("refresh_token", b"x") + b"--limi"]
)
def test_incomplete_multipart_is_refused(body: bytes) -> None:
    with pytest.raises((MalformedBody, MissingField)):
        decode(MULTIPART, body, RefreshForm)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_multipart_without_a_boundary_is_malformed(content_type: str) -> None:
    with pytest.raises(MalformedBody, match="not valid multipart"):
        decode(content_type, multipart({"refresh_token": "x"}), RefreshForm)


@pytest.mark.parametrize(
    "content_type",
    [
        "APPLICATION/X-WWW-FORM-URLENCODED",
        " application/x-www-form-urlencoded ; charset=iso-8859-1; x=y",
        "application/x-www-form-urlencoded;",
    ],
)
def test_letter_case_and_parameters_of_a_media_type_are_ignored(content_type: str) -> None:
    assert is_supported(content_type)
    assert decode(content_type, "refresh_token=é".encode(), RefreshForm).refresh_token == "é"


@pytest.mark.parametrize(
    "content_type",
    [
        *("", ";", "text/plain", "application/jsonp", "application/json+x", "application / json"),
        *("application/x-www-form-urlencoded, application/json", "multipart/mixed; boundary=limit"),
    ],
)
def test_other_media_types_are_unsupported(content_type: str) -> None:
    assert not is_supported(content_type)
    with pytest.raises(UnsupportedMediaType, match=r"^Unsupported Media Type$"):
        decode(content_type, b"refresh_token=x", RefreshForm)


# Any bytes -----------------------------------------------------------------------------------

TYPES = [URLENCODED, JSON, MULTIPART, f"{JSON}; charset=utf-16", "multipart/form-data"]
SCRAPS = [
    b"--limit", b"\r\n", b"--", b"\r\n\r\n", b"Content-Disposition: form-data", b"Content-Type: a",
    b'; name="code"', b"; name*=utf-8''code", b"; name=", b"; filename=x", b"; charset=nonsense",
    b"\xff", b"x", b"code=", b"&", b"%", b"%f", b"\xef\xbb\xbf", b",", b"{", b'{"code":', b'"',
    b"[", b"]", b"}", b"\\u", b"\\ud800", b"null", b"NaN", b"1e9",
]  # fmt: skip
bodies = st.one_of(
    st.binary(max_size=300), st.lists(st.sampled_from(SCRAPS), max_size=30).map(b"".join)
)


@settings(quick, max_examples=300)
@given(st.sampled_from(TYPES), bodies, st.sampled_from(list(FULL)))
def test_any_bytes_decode_or_raise_a_local_error(
    content_type: str, body: bytes, form: AnyForm
) -> None:
    try:
        decoded: object = decode(content_type, body, form)
    except ServiceError as error:
        decoded = error
    if isinstance(decoded, ServiceError):
        assert decoded.status == 400
        assert decoded.reason.startswith(("Value of type", "The value for key", "The body is not"))
    else:
        assert isinstance(decoded, form)


@quick
@given(st.text(st.characters(max_codepoint=255), max_size=60))
@example("boundary")
@example('boundary="\xff"')
@example("boundary*=nonsense''x")
@example("boundary*=utf-8''%ff")
@example("boundary=" + "x" * 300)
@example('boundary="a\\')
def test_any_parameters_of_a_media_type_raise_a_local_error(parameters: str) -> None:
    for kind in ("multipart/form-data", JSON, URLENCODED):
        with pytest.raises((MissingField, MalformedBody)):
            decode(f"{kind};{parameters}", b"", RefreshForm)


def test_errors_repeat_nothing_of_the_body() -> None:
    secret = "AQsecret"
    for content_type, body in (
        (URLENCODED, f"{secret}&code={secret}&code={secret}"),
        (URLENCODED, f"code={secret}%ff"),
        (JSON, f'{{"code": ["{secret}"], "{secret}": 1}}'),
        (JSON, f'["{secret}"]'),
        (JSON, f"{secret}"),
        (f"multipart/form-data; boundary={secret}", secret),
    ):
        with pytest.raises(ServiceError) as refusal:
            decode(content_type, body.encode(), AuthorizationCodeForm)
        assert secret not in str(refusal.value) + repr(refusal.value) + refusal.value.reason
        assert secret not in quote(repr(refusal.value.__cause__))


def test_repr_shows_no_values() -> None:
    assert repr(RefreshForm("se-al_ed")) == "RefreshForm(…)"
