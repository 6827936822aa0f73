import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.responses import SpotifyError, TokenAnswer
from service.errors import (
    ErrorBody,
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
    media_type,
)

URLENCODED = "application/x-www-form-urlencoded"
JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=limit"

AnyForm = type[msgspec.Struct]
Fields = Mapping[str, str]

FORMS: list[AnyForm] = [
    ClientCredentialsForm,
    AuthorizationCodeForm,
    PKCEAuthorizationCodeForm,
    RefreshForm,
    PKCERefreshForm,
]
FULL: dict[AnyForm, dict[str, str]] = {
    ClientCredentialsForm: {"grant_type": "client_credentials"},
    AuthorizationCodeForm: {
        "code": "AQ+c/o=d&e é😀",
        "redirect_uri": "https://app.example/?a=b&c=d",
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
KNOWN = [(form, name) for form in FORMS for name in form.__struct_fields__]

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
ENCODERS = pytest.mark.parametrize(
    ("content_type", "encode"),
    [(URLENCODED, urlencoded), (JSON, as_json), (MULTIPART, multipart)],
    ids=["urlencoded", "json", "multipart"],
)


def as_dict(form: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(form)


@ENCODERS
@pytest.mark.parametrize("form", FORMS)
def test_every_field_of_every_form_arrives(
    form: AnyForm, content_type: str, encode: Encode
) -> None:
    assert as_dict(decode(content_type, encode(FULL[form]), form)) == FULL[form]


@ENCODERS
@pytest.mark.parametrize("form", FORMS)
def test_required_fields_are_enough(form: AnyForm, content_type: str, encode: Encode) -> None:
    needed = {name: FULL[form][name] for known, name in REQUIRED if known is form}
    decoded = as_dict(decode(content_type, encode(needed), form))
    optional = dict.fromkeys(set(form.__struct_fields__) - set(needed))
    assert decoded == needed | optional


@ENCODERS
@pytest.mark.parametrize(("form", "name"), REQUIRED)
def test_a_required_field_that_is_missing_or_empty_is_named(
    form: AnyForm, name: str, content_type: str, encode: Encode
) -> None:
    others = {key: text for key, text in FULL[form].items() if key != name}
    for fields in (others, others | {name: ""}):
        with pytest.raises(MissingField) as refusal:
            decode(content_type, encode(fields), form)
        assert str(refusal.value) == f"Value of type 'String' required for key '{name}'."


def test_the_first_of_several_missing_fields_is_named() -> None:
    with pytest.raises(MissingField, match="'code'"):
        decode(URLENCODED, b"", PKCEAuthorizationCodeForm)


@ENCODERS
def test_an_empty_redirect_uri_arrives_empty(content_type: str, encode: Encode) -> None:
    fields = {"code": "c", "redirect_uri": ""}
    decoded = decode(content_type, encode(fields), AuthorizationCodeForm)
    assert not decoded.redirect_uri


@pytest.mark.parametrize("value", ["1", "true", "[]", "{}", '["x"]', '{"a": "b"}', "null", "1e5"])
@pytest.mark.parametrize(("form", "name"), REQUIRED)
def test_a_required_field_that_is_no_string_is_named(form: AnyForm, name: str, value: str) -> None:
    body = as_json(FULL[form] | {name: "HERE"}).replace(b'"HERE"', value.encode())
    with pytest.raises(MissingField, match=f"'{name}'"):
        decode(JSON, body, form)


@pytest.mark.parametrize("value", ["1", "true", "[]", '{"a": "b"}'])
def test_a_redirect_uri_that_is_no_string_is_named(value: str) -> None:
    body = f'{{"code": "c", "redirect_uri": {value}}}'.encode()
    with pytest.raises(MissingField, match="'redirect_uri'"):
        decode(JSON, body, AuthorizationCodeForm)


def test_a_redirect_uri_of_null_counts_as_missing() -> None:
    body = b'{"code": "c", "redirect_uri": null}'
    assert decode(JSON, body, AuthorizationCodeForm).redirect_uri is None


@pytest.mark.parametrize(("form", "name"), REQUIRED)
def test_a_file_is_no_text_field(form: AnyForm, name: str) -> None:
    others = {key: text for key, text in FULL[form].items() if key != name}
    body = part(name, b"text", filename="a.txt") + multipart(others)
    with pytest.raises(MissingField, match=f"'{name}'"):
        decode(MULTIPART, body, form)


@ENCODERS
@pytest.mark.parametrize(("form", "name"), KNOWN)
def test_a_repeated_field_is_named(
    form: AnyForm, name: str, content_type: str, encode: Encode
) -> None:
    first = encode({name: "first"})
    second = encode(FULL[form] | {name: "second"})
    body = {
        URLENCODED: first + b"&" + second,
        JSON: first[:-1] + b"," + second[1:],
        MULTIPART: first.removesuffix(b"--limit--\r\n") + second,
    }[content_type]
    with pytest.raises(InvalidField) as refusal:
        decode(content_type, body, form)
    assert str(refusal.value) == f"The value for key '{name}' is repeated."


@ENCODERS
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"caf\xe9", b"\xc0\xaf"])
@pytest.mark.parametrize(("form", "name"), KNOWN)
def test_a_field_that_is_not_utf_8_is_named(
    form: AnyForm, name: str, bad: bytes, content_type: str, encode: Encode
) -> None:
    body = encode(FULL[form] | {name: "HERE"}).replace(b"HERE", bad)
    with pytest.raises(InvalidField) as refusal:
        decode(content_type, body, form)
    assert str(refusal.value) == f"The value for key '{name}' is not UTF-8 text."


@pytest.mark.parametrize("bad", ["%FF", "%ed%A0%80", "x%C3"])
def test_percent_encoded_bytes_that_are_not_utf_8_are_refused(bad: str) -> None:
    with pytest.raises(InvalidField, match="'code' is not UTF-8"):
        decode(URLENCODED, f"code={bad}".encode(), AuthorizationCodeForm)


def test_a_lone_surrogate_in_json_is_refused_and_a_pair_is_not() -> None:
    with pytest.raises(InvalidField, match="'code' is not UTF-8"):
        decode(JSON, rb'{"code": "\ud83d"}', AuthorizationCodeForm)
    assert decode(JSON, rb'{"code": "\ud83d\ude00"}', AuthorizationCodeForm).code == "😀"


@ENCODERS
def test_a_field_of_another_flow_is_ignored_repeated_and_not_utf_8_as_it_may_be(
    content_type: str, encode: Encode
) -> None:
    body = encode({"refresh_token": "r", "code": "HERE", "redirect_uri": ""})
    body = body.replace(b"HERE", b"\xff").replace(b"redirect_uri", b"code")
    assert decode(content_type, body, RefreshForm) == RefreshForm("r")


UNKNOWN = [
    "1", "-1.5e300", "1e999", "true", "null", "[]", '[{"a": [[]]}]', '{"code": "x", "code": "y"}',
    '"text"', r'"\ud800"', "[" * 100 + "]" * 100, "9" * 4000,
]  # fmt: skip


@pytest.mark.parametrize("value", UNKNOWN, ids=lambda value: value[:12])
@pytest.mark.parametrize("name", ["other", "grant_types", "Code", "", "refresh_token "])
def test_an_unknown_field_of_json_is_ignored_whatever_it_holds(name: str, value: str) -> None:
    body = f'{{"refresh_token": "r", "{name}": {value}}}'.encode()
    assert decode(JSON, body, RefreshForm) == RefreshForm("r")


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 500 + "]" * 500], ids=["digits", "depth"])
def test_an_unknown_field_of_json_is_ignored_however_large_it_is(value: str) -> None:
    body = f'{{"refresh_token": "r", "other": {value}}}'.encode()
    assert len(body) < BODY_LIMIT
    assert decode(JSON, body, RefreshForm) == RefreshForm("r")


def test_json_deeper_than_python_reads_is_refused_in_words() -> None:
    """RFC 8259, section 9, lets a parser set a limit on the depth."""
    body = b'{"refresh_token": "r", "other": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    with pytest.raises(MalformedBody, match="nested too deeply"):
        decode(JSON, body, RefreshForm)


@pytest.mark.parametrize("value", [v for v in UNKNOWN if "ud800" not in v], ids=lambda v: v[:12])
def test_grant_type_and_method_take_any_value(value: str) -> None:
    body = f'{{"refresh_token": "r", "grant_type": {value}, "method": {value}}}'.encode()
    assert decode(JSON, body, PKCERefreshForm).refresh_token == "r"


def test_grant_type_and_method_take_a_file() -> None:
    files = part("grant_type", b"\xff", "a.bin") + part("method", b"\xff", "b.bin")
    body = files + multipart({"refresh_token": "r"})
    assert decode(MULTIPART, body, PKCERefreshForm).refresh_token == "r"


@ENCODERS
def test_any_text_survives_any_encoding(content_type: str, encode: Encode) -> None:
    @quick
    @given(texts.filter(bool), texts.filter(bool), texts)
    @example("+", "%2B%", "&=;")
    @example("\r\n--limit", " ", "\0")
    def survives(code: str, verifier: str, uri: str) -> None:
        fields = {"code": code, "code_verifier": verifier, "redirect_uri": uri}
        if content_type == MULTIPART and any("\n--limit" in text for text in fields.values()):
            return  # a boundary is chosen so that it doesn't occur
        decoded = decode(content_type, encode(fields), PKCEAuthorizationCodeForm)
        assert as_dict(decoded) == fields | {"grant_type": None}

    survives()


@ENCODERS
def test_any_unknown_fields_leave_the_known_ones_alone(content_type: str, encode: Encode) -> None:
    @quick
    @given(st.dictionaries(names, texts, max_size=6))
    def leave(others: dict[str, str]) -> None:
        fields = {key: text for key, text in others.items() if key not in FULL[RefreshForm]}
        if any("\n--limit" in text for text in fields.values()):
            return
        decoded = decode(content_type, encode(fields | {"refresh_token": "r"}), RefreshForm)
        assert decoded == RefreshForm("r")

    leave()


def test_a_percent_sign_or_plus_is_read_as_browsers_write_them() -> None:
    body = b"refresh%5Ftoken=a+b%20c%2Bd%zz%&&=&x"
    assert decode(URLENCODED, body, RefreshForm).refresh_token == "a b c+d%zz%"


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


@settings(quick, max_examples=1000)
@given(st.sampled_from(TYPES), bodies, st.sampled_from(FORMS))
def test_no_bytes_raise_anything_but_our_own_errors(
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
@example("boundary=")
@example('boundary="\xff"')
@example("boundary*=nonsense''x")
@example("boundary*=utf-8''%ff")
@example("boundary=" + "x" * 300)
@example('boundary="a\\')
def test_no_parameters_of_a_media_type_raise_anything_but_our_own_errors(parameters: str) -> None:
    for kind in ("multipart/form-data", JSON, URLENCODED):
        content_type = f"{kind};{parameters}"
        assert is_supported(content_type)
        with pytest.raises((MissingField, MalformedBody)):
            decode(content_type, b"", RefreshForm)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"1", b"null", b"{'code': 1}", b'{"code"}', b'{"a":1} x', b"NaN",
     b"\xff\xfe{\0}\0", b"[" * 500],
)  # fmt: skip
def test_what_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody, match=r"^The body is not (valid JSON|a JSON object)\.$"):
        decode(JSON, body, RefreshForm)


@pytest.mark.parametrize(
    "body",
    [b"", b"refresh_token=x", b"--limit", b"--limit--", b"--limit\r\n\r\n", b"--other\r\n\r\n",
     part("refresh_token", b"x"), part("refresh_token", b"x") + b"--limi"],
)  # fmt: skip
def test_what_is_no_complete_multipart_is_refused(body: bytes) -> None:
    with pytest.raises((MalformedBody, MissingField)) as refusal:
        decode(MULTIPART, body, RefreshForm)
    assert refusal.value.status == 400


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_multipart_without_a_boundary_is_malformed(content_type: str) -> None:
    with pytest.raises(MalformedBody, match="not valid multipart"):
        decode(content_type, multipart({"refresh_token": "x"}), RefreshForm)


@pytest.mark.parametrize(
    "content_type",
    [
        "APPLICATION/X-WWW-FORM-URLENCODED",
        "Application/X-Www-Form-Urlencoded;charset=UTF-8",
        " application/x-www-form-urlencoded ; charset=iso-8859-1; x=y",
        "application/x-www-form-urlencoded;",
    ],
)
def test_letter_case_and_parameters_of_a_media_type_do_not_matter(content_type: str) -> None:
    assert is_supported(content_type)
    assert media_type(content_type) == URLENCODED
    assert decode(content_type, "refresh_token=é".encode(), RefreshForm).refresh_token == "é"


@pytest.mark.parametrize(
    "content_type",
    ["", ";", "text/plain", "application/xml", "application/jsonp", "application/json+x",
     "application/x-www-form-urlencoded, application/json", "multipart/mixed; boundary=limit",
     "application/x-www-form-urlencodedx", "application / json", "text/json"],
)  # fmt: skip
def test_another_media_type_is_unsupported(content_type: str) -> None:
    assert not is_supported(content_type)
    with pytest.raises(UnsupportedMediaType, match=r"^Unsupported Media Type$"):
        decode(content_type, b"refresh_token=x", RefreshForm)


def test_a_refusal_repeats_nothing_of_the_body() -> None:
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


def test_the_json_schema_of_every_form_and_answer_can_be_generated() -> None:
    types: list[type] = [*FORMS, TokenAnswer, SpotifyError, ErrorBody]
    references, components = msgspec.json.schema_components(types)
    assert len(list(references)) == len(types)
    assert set(components) == {kind.__name__ for kind in types}
    for form in FORMS:
        schema = components[form.__name__]
        assert schema["type"] == "object"
        assert set(schema["properties"]) == set(form.__struct_fields__)
        required = {name for known, name in REQUIRED if known is form}
        assert set(schema.get("required", ())) == required
        for name in required:
            expected = {"type": "string", "minLength": 1}
            assert expected.items() <= schema["properties"][name].items()
    answer = components["TokenAnswer"]["properties"]
    assert answer["expires_in"]["type"] == "integer"
    assert answer["access_token"]["type"] == "string"
