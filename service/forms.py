"""What apps send: one Struct per body, and strict decoding from the three media types.

The Structs are the documentation of the bodies too. A field that none of them knows is ignored,
with whatever it holds.
"""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Annotated, Any, NoReturn, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Meta
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from service.errors import InvalidField, MalformedBody, MissingField, UnsupportedMediaType

BODY_LIMIT = 16 * 1024
"""Bytes; a body of this length or more is refused."""

Code = Annotated[
    str,
    Meta(
        min_length=1,
        description="The authorization code that came to the redirect URI; it is good for one use.",
        examples=["NApCCg-BkWtQ"],
    ),
]
CodeVerifier = Annotated[
    str,
    Meta(
        min_length=1,
        description="The verifier whose challenge was sent when the code was asked for.",
        examples=["dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"],
    ),
]
RedirectURI = Annotated[
    str | None,
    Meta(
        description="The redirect URI with which the code was asked for. Empty counts as missing: "
        "then the server's own REDIRECT_URI is used, if it has one.",
        examples=["my-app://callback"],
    ),
]
SealedToken = Annotated[
    str,
    Meta(
        min_length=1,
        description="The sealed refresh token of the last answer that had one.",
        examples=["2qP0y1pZr8WbT5mJcN3uXkVd7hLg6sEaQfRz4wYtBvIoUxCnMjKl9A"],
    ),
]
Ignored = Annotated[
    Any,
    Meta(
        description="Accepted with any value and ignored: the path says which grant it is.",
    ),
]


class _Fields(msgspec.Struct, frozen=True):
    """Fields that don't show what they hold."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class ClientCredentialsForm(_Fields, frozen=True):
    """A request for the app's own access token (RFC 6749, section 4.4)."""

    grant_type: Ignored = None


class AuthorizationCodeForm(_Fields, frozen=True):
    """A code for tokens (RFC 6749, section 4.1.3)."""

    code: Code
    redirect_uri: RedirectURI = None
    grant_type: Ignored = None


class PKCEAuthorizationCodeForm(_Fields, frozen=True):
    """A code with its verifier for tokens (RFC 7636, section 4.5)."""

    code: Code
    code_verifier: CodeVerifier
    redirect_uri: RedirectURI = None
    grant_type: Ignored = None


class RefreshForm(_Fields, frozen=True):
    """A sealed refresh token for a new access token (RFC 6749, section 6)."""

    refresh_token: SealedToken
    grant_type: Ignored = None


class PKCERefreshForm(_Fields, frozen=True):
    """A sealed refresh token that was retrieved with PKCE, for new tokens (RFC 6749, section 6)."""

    refresh_token: SealedToken
    grant_type: Ignored = None
    method: Ignored = None


Form = TypeVar("Form", bound=msgspec.Struct)


def decode(content_type: str, body: bytes, form: type[Form]) -> Form:
    """Read `body` as `content_type` says into `form`.

    Raises UnsupportedMediaType, MalformedBody, InvalidField (a field repeated, or not UTF-8) or
    MissingField (missing, empty or not a string). `body` is under BODY_LIMIT.
    """
    fields: dict[str, object] = {}
    for name, value in _pairs(content_type, body):
        if name not in form.__struct_fields__:
            continue
        if name in fields:
            raise InvalidField(name, "is repeated")
        fields[name] = _text(name, value)
    try:
        return msgspec.convert(fields, form)
    except msgspec.ValidationError:
        _raise_missing(fields, form)


@lru_cache(maxsize=64)
def media_type(content_type: str) -> str:
    """Return the media type alone, in lower case (RFC 9110, section 8.3.1)."""
    return content_type.partition(";")[0].strip().lower()


def is_supported(content_type: str) -> bool:
    """Tell whether a body of this type can be decoded at all."""
    return media_type(content_type) in _PARSERS


def _text(name: str, value: object) -> object:
    """Decode a text value strictly; what isn't text (JSON's numbers, files) stays as it is."""
    try:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, str):
            value.encode()  # finds the lone surrogates that JSON can hide in a string
    except UnicodeError:
        raise InvalidField(name, "is not UTF-8 text") from None
    return value


def _raise_missing(fields: dict[str, object], form: type[msgspec.Struct]) -> NoReturn:
    """Name the first field that keeps `fields` from being a `form`."""
    for field in msgspec.structs.fields(form):
        value = fields.get(field.encode_name)
        if field.required and not (isinstance(value, str) and value):
            raise MissingField(field.encode_name)
    raise MissingField("redirect_uri")


def _pairs(content_type: str, body: bytes) -> Iterable[tuple[str, object]]:
    parse = _PARSERS.get(media_type(content_type))
    if parse is None:
        raise UnsupportedMediaType
    return parse(content_type, body)


def _urlencoded(_content_type: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    """Split as the WHATWG URL standard does (section 5.1), leaving the values as bytes.

    The standard library's parse_qsl decodes before the field is known, and so can't name it.
    """
    unquote = unquote_to_bytes if b"%" in body else bytes
    for pair in body.replace(b"+", b" ").split(b"&"):
        name, _, value = pair.partition(b"=")
        yield unquote(name).decode(errors="replace"), unquote(value)


class _Members(tuple[tuple[str, object], ...]):
    """The members of a JSON object, repeated ones included."""

    __slots__ = ()


def _number(_digits: str) -> int:
    """Leave a number unread: no field of ours is one, and Python refuses very long ones."""
    return 0


def _json(_content_type: str, body: bytes) -> Iterable[tuple[str, object]]:
    # surrogateescape carries bytes that aren't UTF-8 to _text(), which knows their field.
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
    """Read text fields (RFC 7578). A file is no text, under whatever name it comes."""
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
"""Those of the bodies that can be decoded."""
