"""Properties that hold for any bytes, by module: functions that raise AssertionError otherwise.

Each takes one input as a fuzzer makes it. The comment above each says what the bytes mean; `SEEDS`
are inputs to begin with, `WORDS` what a mutation may put in.
"""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import httpx
import msgspec

from service import forms, responses
from service import settings as service_settings
from service.errors import (
    NO_STORE,
    MissingRedirectURI,
    ServiceError,
    UndecryptableToken,
    UpstreamFailed,
)
from service.grants import GRANTS, Context, TokenRequest
from service.responses import EncodedResponse, TokenResponse
from service.sealing import NONCE_BYTES, TAG_BYTES, Opened, Sealer
from service.settings import Secret, Settings, SettingsError
from service.upstream import Spotify, Transport
from tests.running import environment

KEY = "golden-secret-key-0123456789"
SEALER = Sealer(KEY)
TOKEN = "AQ-what-Spotify-calls-the-refresh-token"
OWN = Opened("AQ-the-caller's-own-refresh-token", stale=False)
VECTORS = json.loads(Path("tests/vectors.json").read_text(encoding="utf-8"))["vectors"]

# Forms: a line with the media type, then a body --------------------------------------------------

_GRANTS: Final = {grant.form: grant for grant in GRANTS}
_FIELDS = sorted({name for form in _GRANTS for name in form.__struct_fields__})
_REASONS = {
    "Unsupported Media Type",
    "The body is not valid JSON.",
    "The body is not valid JSON, or nested too deeply.",
    "The body is not a JSON object.",
    "The body is not valid multipart/form-data.",
    *(f"Value of type 'String' required for key '{name}'." for name in _FIELDS),
    *(f"The value for key '{name}' is repeated." for name in _FIELDS),
    *(f"The value for key '{name}' is not UTF-8 text." for name in _FIELDS),
}


def form(data: bytes) -> None:
    """Check that a body is refused with a fixed reason, or read as another reader reads it."""
    head, _, body = data.partition(b"\n")
    content_type, body = head.decode("latin-1"), body[: forms.BODY_LIMIT - 1]
    for kind in _GRANTS:
        try:
            decoded = forms.decode(content_type, body, kind)
        except ServiceError as error:
            refusal = error
        else:
            _check_form(forms.media_type(content_type), body, decoded)
            _check_grant(decoded)
            continue
        assert refusal.reason in _REASONS
        assert refusal.status == (400 if forms.is_supported(content_type) else 415)


def _check_form(media_type: str, body: bytes, decoded: msgspec.Struct) -> None:
    read = _READERS[media_type](body)
    for field in msgspec.structs.fields(decoded):
        value = getattr(decoded, field.name)
        if field.name in {"grant_type", "method"} or value is None:
            continue  # accepted with any value, or not there
        assert value or not field.required
        assert read(field.name, value)


def _check_grant(form: msgspec.Struct) -> None:
    try:
        request = _GRANTS[type(form)].build(form, _CONTEXT)
    except (MissingRedirectURI, UndecryptableToken):
        return
    check_request(request, SETTINGS)


def _read_urlencoded(body: bytes) -> Callable[[str, str], bool]:
    pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    return lambda name, value: (name, value.encode().decode("latin-1")) in pairs


def _read_json(body: bytes) -> Callable[[str, str], bool]:
    try:
        members = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return lambda _, __: True  # stricter than the service about ignored fields, such as NaN
    return lambda name, value: bool(members.get(name) == value)


def _read_multipart(body: bytes) -> Callable[[str, str], bool]:
    return lambda _, value: value.encode() in body


_READERS = {
    "application/x-www-form-urlencoded": _read_urlencoded,
    "application/json": _read_json,
    "multipart/form-data": _read_multipart,
}

# Tokens: the text of a sealed token --------------------------------------------------------------

_SEALED = {vector["ciphertext"]: vector["plaintext"] for vector in VECTORS}
_ALPHABETS = re.compile(r"[A-Za-z0-9+/_-]*={0,3}")


def token(data: bytes) -> None:
    """Check that only what was sealed opens, and that any text can be sealed."""
    text = data.decode(errors="surrogateescape")
    try:
        opened = SEALER.open(text)
    except UndecryptableToken:
        pass
    else:
        assert _ALPHABETS.fullmatch(text)
        bare = text.rstrip("=").replace("+", "-").replace("/", "_")
        # The last character of base64 may have unused bits.
        assert {opened.token} == {known for raw, known in _SEALED.items() if raw[:-1] == bare[:-1]}
    if text.isprintable():
        _check_seal(text)


def _check_seal(text: str) -> None:
    sealed = SEALER.seal(text)
    assert SEALER.open(sealed) == Opened(text, stale=False)
    assert len(sealed) == -(-(NONCE_BYTES + len(text.encode()) + TAG_BYTES) * 8 // 6)
    assert len(text) < 8 or text not in sealed  # shorter ones may occur by chance


# Responses: Spotify's header lines, an empty line, its body -------------------------------------

_NEVER_FORWARDED = {
    *("connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding"),
    *("upgrade", "content-encoding", "set-cookie", "set-cookie2", "strict-transport-security"),
    *("alt-svc", "server", "date", "via", "nel", "report-to", "x-sendfile", "location", "refresh"),
    *("clear-site-data", "link", "service-worker-allowed", "content-disposition"),
}
_DEFAULT_TYPES = {
    (b"content-type", b"application/octet-stream"),
    (b"content-type", b"application/json"),
}
_SET_HERE = {b"cache-control", b"pragma", b"x-content-type-options", b"content-length"}


def response(data: bytes) -> None:
    """Check that a success is Spotify's failure, or has no refresh token that is not sealed."""
    head, _, body = data.partition(b"\n\n")
    headers = [(n, v) for n, _, v in (line.partition(b": ") for line in head.split(b"\n"))]
    error = TokenResponse(400, headers, body)
    _check_forwarded(error)
    assert error.error_code in {*responses.ERROR_CODES, "other", None}
    for fallback in (None, OWN):
        try:
            encoded = responses.seal(TokenResponse(200, headers, body), fallback, SEALER)
        except UpstreamFailed:
            continue
        check_success(body, encoded.body, fallback)


def _check_forwarded(upstream: TokenResponse) -> None:
    encoded = responses.forward(upstream)
    assert (encoded.status, encoded.body) == (upstream.status, upstream.body)
    _check_headers(upstream, encoded)
    encoded = responses.forward_as_oauth(upstream)
    assert encoded.status == upstream.status
    assert isinstance(msgspec.json.decode(encoded.body)["error"], str)
    _check_headers(upstream, encoded)


def _check_headers(upstream: TokenResponse, encoded: EncodedResponse) -> None:
    received = {(name.lower(), value) for name, value in upstream.headers}
    nominated = {
        option.strip().decode("latin-1")
        for name, value in received
        if name == b"connection"
        for option in value.lower().split(b",")
    }
    sent = encoded.headers
    ours = [(name.encode(), value.encode()) for name, value in NO_STORE]
    assert set(sent) >= set(ours)
    names = [name for name, _ in sent]
    assert all(names.count(name) == 1 for name, _ in ours)
    for name, value in sent:
        if name in _SET_HERE or (name, value) in _DEFAULT_TYPES:
            continue
        assert (name, value) in received
        assert name.decode("latin-1") not in _NEVER_FORWARDED | nominated
        assert not name.startswith((b"access-control-", b"x-accel-"))


def check_success(received: bytes, sent: bytes, fallback: Opened | None) -> None:
    """Fail if `sent` is not the contract's response for the success `received`."""
    members = strict_json(sent)
    assert isinstance(members, list)
    names = [name for name, _ in members]
    assert len(set(names)) == len(names)
    before, after = dict(strict_json(received)), dict(members)
    ours = {"refresh_token", "expiration_date"}
    # Members of one name are one to any client: the last.
    assert {n: v for n, v in after.items() if n not in ours} == {
        n: v for n, v in before.items() if n not in ours
    }
    expected = before.get("refresh_token") or (fallback and fallback.token)
    if not expected:
        assert not after.get("refresh_token")
        return
    sealed = after["refresh_token"]
    assert SEALER.open(sealed).token == expected
    assert sealed != expected


class _Number(str):
    """A number in its original spelling."""

    __slots__ = ()


def strict_json(text: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Read JSON as RFC 8259 has it: objects as lists of pairs, numbers as they are written."""
    return json.loads(
        text.decode(),
        object_pairs_hook=list,
        parse_int=_Number,
        parse_float=_Number,
        parse_constant=_refuse,
    )


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


# Settings: lines of NAME=value -------------------------------------------------------------------

_GIVEN = environment("https://accounts.example/api/token")
_NAMES = [
    *(field.name.upper() for field in msgspec.structs.fields(Settings)),
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
]


def setting(data: bytes) -> None:
    """Check that settings are refused without quoting one, or make a request to Spotify."""
    lines = data.decode(errors="surrogateescape").split("\n")
    environ = _GIVEN | {name: value for name, _, value in (line.partition("=") for line in lines)}
    environ = {name: value for name, value in environ.items() if not name.endswith("_FILE")}
    try:
        settings = service_settings.load(environ)
    except SettingsError as error:
        report = "\n".join(error.problems)
        values = {value for value in environ.values() if len(value) >= CHANCE}
        assert not [value for value in values if value in report and value not in SENTENCES]
        return
    assert repr(settings) == repr(_with_other_secrets(settings))
    _check_usable(settings)


def _with_other_secrets(settings: Settings) -> Settings:
    other = Secret("another")
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    changes = {name: other for name, value in values.items() if isinstance(value, Secret)}
    previous = tuple(other for _ in settings.secret_keys_previous)
    return msgspec.structs.replace(settings, secret_keys_previous=previous, **changes)


CHANCE: Final = 12
"""Characters under which a text may be found in another by chance."""


def _problems(**environ: str) -> list[str]:
    try:
        service_settings.load(environ)
    except SettingsError as error:
        return error.problems
    return []


SENTENCES = "\n".join(
    [
        *_problems(),
        *_problems(**dict.fromkeys(_NAMES, "\0")),
        *_problems(**dict.fromkeys(_NAMES, ",")),
        *_problems(**dict.fromkeys(_NAMES, "\ud800")),
        *_problems(CLIENT_ID=":", SPOTIFY_TOKEN_URL="http://a@b"),
        *_problems(SPOTIFY_TOKEN_URL="http://accounts.example"),
    ]
)
"""Messages about invalid settings, without their values."""


def _check_usable(settings: Settings) -> None:
    keys = [key.reveal() for key in settings.secret_keys_previous]
    sealer = Sealer(settings.secret_key.reveal(), keys)
    context = Context(settings, sealer)
    form = forms.RefreshForm(sealer.seal(TOKEN))
    check_request(_GRANTS[forms.RefreshForm].build(form, context), settings)
    Transport(settings)


# Requests to Spotify ----------------------------------------------------------------------------

SETTINGS = service_settings.load(_GIVEN)
_CONTEXT = Context(SETTINGS, SEALER)
_LOOP = asyncio.new_event_loop()


class _Recorder(httpx.AsyncBaseTransport):
    """A transport that records the last request."""

    request: httpx.Request

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        return httpx.Response(200, content=b"{}")


def check_request(request: TokenRequest, settings: Settings) -> None:
    """Fail if the form for Spotify has other fields than those of `request`."""
    recorder = _Recorder()
    received = _LOOP.run_until_complete(Spotify(settings, recorder).fetch(request))
    assert (received.status, received.body) == (200, b"{}")
    sent = recorder.request
    assert (sent.method, sent.url) == ("POST", httpx.URL(settings.spotify_token_url))
    assert tuple(parse_qsl(sent.read().decode(), strict_parsing=True)) == request.fields


PROPERTIES: Final[dict[str, Callable[[bytes], None]]] = {
    "form": form,
    "token": token,
    "response": response,
    "setting": setting,
}

# What to begin with ------------------------------------------------------------------------------

_TOKENS = b'{"access_token":"BQ","token_type":"Bearer","scope":"a b","expires_in":3600%b}'
_ROTATED = _TOKENS % b',"refresh_token":"AQ-rotated"'
_ERROR = b'{"error":"invalid_grant","error_description":"Refresh token revoked"}'
_FIELDS_SENT = {
    "code": "AQ+c/o=d&e é😀",
    "code_verifier": "veri-fier._~",
    "refresh_token": VECTORS[0]["ciphertext"],
    "redirect_uri": "https://app.example/?a=b&c=d",
    "grant_type": "authorization_code",
    "method": "PKCE",
}
_PART = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
_PARTS = "".join(_PART.format(name, value) for name, value in _FIELDS_SENT.items())

SEEDS: Final[dict[str, list[bytes]]] = {
    "form": [
        b"application/x-www-form-urlencoded\n" + urlencode(_FIELDS_SENT).encode(),
        b"application/json; charset=utf-8\n" + json.dumps(_FIELDS_SENT).encode(),
        f"multipart/form-data; boundary=x\n{_PARTS}--x--\r\n".encode(),
    ],
    "token": [
        *(vector["ciphertext"].encode() for vector in VECTORS),
        VECTORS[0]["ciphertext"].encode() + b"\n",
        b" " + VECTORS[0]["ciphertext"].encode(),
    ],
    "response": [
        b"Content-Type: application/json\n\n" + _TOKENS % b"",
        b"Content-Type: application/json\nConnection: close, X-A\nX-A: b\n\n" + _ROTATED,
        b"Retry-After: 7\nSet-Cookie: a=b\n\n" + _ERROR,
        b"X-Accel-Redirect: /a\nLink: <b>\nRefresh: 0\nLocation: c\n\n" + _ERROR,
    ],
    "setting": [
        b"SECRET_KEYS_PREVIOUS=one\nREDIRECT_URI=app://callback\nLOG_LEVEL=debug\nPORT=80",
        b"SPOTIFY_TOKEN_URL=http://[::1]:7001/api/token\nUPSTREAM_TIMEOUT=2.5\nHOST=0.0.0.0",
        b"CORS_ALLOW_ORIGINS=https://a.example,app://b:1\nALLOWED_REDIRECT_URIS=app://a, app://b",
        b"OTEL_TRACES_EXPORTER=otlp\nOTEL_EXPORTER_OTLP_HEADERS=api-key=abc%20d,x=y",
        b"SPOTIFY_TOKEN_URL=https://accounts.example/api\nALLOW_INSECURE_UPSTREAM=true",
        b"UPSTREAM_PROXY=http://user:pass%20word@proxy.example:3128\nTRUSTED_PROXIES=10.0.0.0/8",
        b"RATE_LIMIT=60/minute\nRATE_LIMIT_STORAGE=rediss://:password@cache.example:6380/1",
    ],
}

WORDS: Final[dict[str, list[bytes]]] = {
    "form": [
        *(name.encode() for name in _FIELDS_SENT),
        b"application/json", b"application/x-www-form-urlencoded", b"multipart/form-data",
        b"; boundary=", b"--x", b"--x--", b"\r\n", b"Content-Disposition: form-data; name=",
        b"; filename=", b"; name*=utf-8''", b"Content-Type: text/plain", b"%", b"%ff", b"+", b"&",
        b"=", b"\xff", b"\xef\xbb\xbf", b"\\ud800", b"\\u005f", b"NaN", b"null", b"{", b"}", b"[",
    ],
    "token": [b"-", b"_", b"+", b"/", b"=", b"==", b"A" * 28, b" ", b"\n", b"\xff"],
    "response": [
        b'"refresh_token":', b'"refresh\\u005ftoken":', b'"expires_in":', b'"expiration_date":',
        b'"AQ-other"', b"null", b"true", b"1e3", b"-0", b"[", b"]", b"{", b"}", b",", b'"', b"\\",
        b"\\ud800", b"\xff", b"\x00", b"\xef\xbb\xbf", b"Connection: ", b"Access-Control-A: ",
        b"X-Accel-A: ", *(f"\n{name}: ".encode() for name in sorted(_NEVER_FORWARDED)),
    ],
    "setting": [
        *(f"\n{name}=".encode() for name in _NAMES),
        b"http://", b"https://", b"[", b"]", b"::1", b"%", b"@", b"#", b"?", b"\\", b"//", b":0",
        b":65536", b"..", b"\r", b"\t", b" ", b"\xff", b"\xc3\xa9", b"nan", b"inf", b"1_0", b"1e3",
    ],
}  # fmt: skip
