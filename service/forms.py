"""Request forms: one Struct for each body, and strict decoding of the three media types.

Unknown fields are ignored with any content.
"""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Request
from msgspec import Meta
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from service.errors import (
    ClientGone,
    InvalidField,
    MalformedBody,
    MissingField,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)

BODY_LIMIT = 16 * 1024
"""Bytes; a body of this length or more is refused."""

AnyRequest = Request[Any, Any, Any]
Text = Annotated[str, Meta(min_length=1)]


class _Fields(msgspec.Struct, frozen=True):
    """A form whose repr shows no values."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class ClientCredentialsForm(_Fields, frozen=True):
    """A request for the app access token (RFC 6749, section 4.4)."""

    grant_type: Any = None


class AuthorizationCodeForm(_Fields, frozen=True):
    """An authorization code (RFC 6749, section 4.1.3), with a verifier if the client used one."""

    code: Text
    redirect_uri: str | None = None
    code_verifier: str | None = None
    grant_type: Any = None


class PKCEAuthorizationCodeForm(_Fields, frozen=True):
    """An authorization code with its verifier (RFC 7636, section 4.5)."""

    code: Text
    code_verifier: Text
    redirect_uri: str | None = None
    grant_type: Any = None


class RefreshForm(_Fields, frozen=True):
    """A sealed refresh token (RFC 6749, section 6)."""

    refresh_token: Text
    grant_type: Any = None


class PKCERefreshForm(_Fields, frozen=True):
    """A sealed refresh token that was retrieved with PKCE (RFC 6749, section 6)."""

    refresh_token: Text
    grant_type: Any = None
    method: Any = None


class OAuthForm(_Fields, frozen=True):
    """A request to the OAuth endpoint (RFC 6749): the fields of all grants, and the client id."""

    grant_type: str | None = None
    code: str | None = None
    redirect_uri: str | None = None
    code_verifier: str | None = None
    refresh_token: str | None = None
    client_id: str | None = None


Form = TypeVar("Form", bound=msgspec.Struct)


async def read_form(request: AnyRequest, form: type[Form], *, seconds: float) -> Form:
    """Read the body of `request` into `form`, within `seconds`.

    Requests with unacceptable headers are refused before the body is read. Raises
    UnsupportedMediaType, PayloadTooLarge, RequestTimeout, ClientGone, and what `decode` raises.
    """
    headers = request.scope["headers"]
    content_types = [value for name, value in headers if name == b"content-type"]
    if len(content_types) > 1:
        raise MalformedBody("The Content-Type is repeated.")
    content_type = content_types[0].decode("latin-1") if content_types else ""
    fields = dict(headers)
    if not is_supported(content_type) or b"content-encoding" in fields:
        raise UnsupportedMediaType
    if (length := fields.get(b"content-length", b"")).isdigit() and int(length) >= BODY_LIMIT:
        raise PayloadTooLarge
    try:
        async with asyncio.timeout(seconds):
            body = await _read_body(request)
    except TimeoutError:
        raise RequestTimeout from None
    return decode(content_type, body, form)


async def _read_body(request: AnyRequest) -> bytes:
    """Read a body, no further than BODY_LIMIT."""
    body = b""
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientGone
        body += message["body"]
        if len(body) >= BODY_LIMIT:
            raise PayloadTooLarge
        if not message["more_body"]:
            return body


def decode(content_type: str, body: bytes, form: type[Form]) -> Form:
    """Decode `body`, of media type `content_type`, into `form`.

    Raises UnsupportedMediaType, MalformedBody, InvalidField (a field is repeated, or not UTF-8) or
    MissingField (missing, empty or not a string). `body` is shorter than BODY_LIMIT.
    """
    fields: dict[str, object] = {}
    for name, value in _pairs(content_type, body):
        if name not in form.__struct_fields__:
            continue
        if name in fields:
            raise InvalidField(name, "is repeated")
        fields[name] = _text(name, value)
    return convert(fields, form)


def convert(fields: Mapping[str, object], form: type[Form]) -> Form:
    """Return `fields` as `form`, or raise MissingField for the first that does not fit."""
    try:
        return msgspec.convert(fields, form)
    except msgspec.ValidationError:
        raise MissingField(_misfit(fields, form)) from None


def media_type(content_type: str) -> str:
    """Return the media type alone, in lower case (RFC 9110, section 8.3.1)."""
    return content_type.partition(";")[0].strip().lower()


def is_supported(content_type: str) -> bool:
    """Return whether the media type is supported."""
    return media_type(content_type) in _PARSERS


def _text(name: str, value: object) -> object:
    """Decode a string strictly; other values (JSON's numbers, files) stay as they are."""
    try:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, str):
            value.encode()  # finds the lone surrogates that JSON can hide in a string
    except UnicodeError:
        raise InvalidField(name, "is not UTF-8 text") from None
    return value


def _misfit(fields: Mapping[str, object], form: type[msgspec.Struct]) -> str:
    """Return the name of the first field that does not fit `form`."""
    for field in msgspec.structs.fields(form):
        value = fields.get(field.name)
        if field.required and not value:
            return field.name
        if value is not None and field.type is not Any and not isinstance(value, str):
            return field.name
    raise AssertionError


def _pairs(content_type: str, body: bytes) -> Iterable[tuple[str, object]]:
    parse = _PARSERS.get(media_type(content_type))
    if parse is None:
        raise UnsupportedMediaType
    return parse(content_type, body)


def _urlencoded(_content_type: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    """Split as the WHATWG URL standard does (section 5.1), leaving the values as bytes.

    NOTE: not parse_qsl(), which decodes before the name of the field is known.
    """
    for pair in filter(None, body.replace(b"+", b" ").split(b"&")):
        name, _, value = pair.partition(b"=")
        yield unquote_to_bytes(name).decode(errors="replace"), unquote_to_bytes(value)


class _Members(tuple[tuple[str, object], ...]):
    """The members of a JSON object, repeated ones included."""

    __slots__ = ()


def _number(_digits: str) -> int:
    """Ignore a number: no field is one, and Python refuses very long ones."""
    return 0


def _json(_content_type: str, body: bytes) -> Iterable[tuple[str, object]]:
    # surrogateescape carries bytes that are not UTF-8 to _text(), which knows their field.
    text = body.decode(errors="surrogateescape")
    try:
        members = json.loads(text, object_pairs_hook=_Members, parse_int=_number)
    except RecursionError:
        raise MalformedBody("The body is not valid JSON, or nested too deeply.") from None
    except ValueError:
        raise MalformedBody("The body is not valid JSON.") from None
    if not isinstance(members, _Members):
        raise MalformedBody("The body is not a JSON object.")
    return members


def _multipart(content_type: str, body: bytes) -> Iterator[tuple[str, object]]:
    """Read text fields (RFC 7578); files are rejected under any name."""
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    content = bytearray()
    segment: MultipartSegment | None = None
    try:
        with PushMultipartParser(boundary) as parser:
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    segment, content = event, bytearray()
                elif event:
                    content += event
                elif segment is not None:
                    yield segment.name, None if segment.filename else bytes(content)
    except (MultipartError, ValueError, LookupError):
        raise MalformedBody("The body is not valid multipart/form-data.") from None


_PARSERS = {
    "application/x-www-form-urlencoded": _urlencoded,
    "application/json": _json,
    "multipart/form-data": _multipart,
}
MEDIA_TYPES = tuple(_PARSERS)
"""The supported media types of bodies."""
