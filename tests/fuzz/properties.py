"""What must hold for any bytes, room by room: functions that fail if it doesn't.

Each takes one input as a fuzzer makes it. How bytes become what a room takes is told with each;
`SEEDS` are inputs to begin with, `WORDS` what a mutation may put in.
"""

import asyncio
import gzip
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import h11
import msgspec

from service import answers, flows, forms
from service import settings as service_settings
from service.responses import Answer, TokenResponse
from service.connections import Connections, _Connection
from service.errors import MissingRedirectURI, ServiceError, UndecryptableToken, UpstreamFailed
from service.sealing import NONCE_BYTES, TAG_BYTES, Opened, Sealer
from service.settings import Secret, Settings, SettingsError
from service.upstream import ANSWER_LIMIT, SpotifyAccounts, Transport
from tests.running import environment

KEY = "golden-secret-key-0123456789"
SEALER = Sealer(KEY)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
TOKEN = "AQ-what-Spotify-calls-the-refresh-token"
OWN = Opened("AQ-the-caller's-own-refresh-token", stale=False)
VECTORS = json.loads(Path("tests/vectors.json").read_text(encoding="utf-8"))["vectors"]

# Forms: a line with the media type, then a body --------------------------------------------------

_FLOWS: Final[dict[type[msgspec.Struct], Callable[[Any, flows.Context], flows.Grant]]] = {
    forms.ClientCredentialsForm: flows.client_credentials,
    forms.AuthorizationCodeForm: flows.authorization_code,
    forms.PKCEAuthorizationCodeForm: flows.pkce_authorization_code,
    forms.RefreshForm: flows.refresh,
    forms.PKCERefreshForm: flows.pkce_refresh,
}
_FIELDS = sorted({name for form in _FLOWS for name in form.__struct_fields__})
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
    """See that a body is refused with a fixed text, or read as another reader reads it."""
    head, _, body = data.partition(b"\n")
    content_type, body = head.decode("latin-1"), body[: forms.BODY_LIMIT - 1]
    for kind in _FLOWS:
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


def _check_grant(form: Any) -> None:  # noqa: ANN401 - the form of the flow
    try:
        grant = _FLOWS[type(form)](form, _CONTEXT)
    except (MissingRedirectURI, UndecryptableToken):
        return
    check_request(grant, SETTINGS)


def _read_urlencoded(body: bytes) -> Callable[[str, str], bool]:
    pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    return lambda name, value: (name, value.encode().decode("latin-1")) in pairs


def _read_json(body: bytes) -> Callable[[str, str], bool]:
    try:
        members = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return lambda _, __: True  # stricter about what we ignore: NaN, other fields' bytes
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
    """See that nothing opens but what was sealed, and that any text can be."""
    text = data.decode(errors="surrogateescape")
    try:
        opened = SEALER.open(text)
    except UndecryptableToken:
        pass
    else:
        assert _ALPHABETS.fullmatch(text)
        bare = text.rstrip("=").replace("+", "-").replace("/", "_")
        # The last character of base64 may have bits that nobody reads.
        assert {opened.token} == {known for raw, known in _SEALED.items() if raw[:-1] == bare[:-1]}
    if text.isprintable():
        _check_seal(text)


def _check_seal(text: str) -> None:
    sealed = SEALER.seal(text)
    assert SEALER.open(sealed) == Opened(text, stale=False)
    assert len(sealed) == -(-(NONCE_BYTES + len(text.encode()) + TAG_BYTES) * 8 // 6)
    assert len(text) < 8 or text not in sealed  # shorter ones may come by chance


# Answers: Spotify's header lines, an empty line, its body ----------------------------------------

_OURS = {"content-length", "set-cookie", "connection", "transfer-encoding", "cache-control"}


def answer(data: bytes) -> None:
    """See that a success is Spotify's failure, or has no refresh token that isn't sealed."""
    head, _, body = data.partition(b"\n\n")
    headers = [(n, v) for n, _, v in (line.partition(b": ") for line in head.split(b"\n"))]
    _check_forwarded(TokenResponse(400, headers, body))
    assert answers.error_code(TokenResponse(400, headers, body)) in {*answers.ERROR_CODES, "other", None}
    for fallback in (None, OWN):
        try:
            made = answers.success(TokenResponse(200, headers, body), SEALER, fallback, NOW)
        except UpstreamFailed:
            continue
        check_success(body, made, fallback)


def _check_forwarded(upstream: Upstream) -> None:
    made = answers.forwarded(upstream)
    assert (made.status, made.body) == (upstream.status, upstream.body)
    sent = {(name.lower(), value) for name, value in upstream.headers}
    ours = len(answers.NO_STORE)
    assert made.headers[-ours:] == answers.NO_STORE
    for name, value in made.headers[:-ours]:
        assert (name, value) in sent
        assert name.decode("latin-1") not in _OURS
        assert not name.startswith(b"access-control-")


def check_success(body: bytes, made: Answer, fallback: Opened | None) -> None:
    """Fail if `made` is no success to the letter of docs, given what Spotify sent."""
    members = strict_json(made.body)
    assert isinstance(members, list)
    names = [name for name, _ in members]
    assert len(set(names)) == len(names)
    said, told = dict(strict_json(body)), dict(members)
    ours = {"refresh_token", "expiration_date"}
    # Members of one name are one to any client: the last.
    assert {n: v for n, v in told.items() if n not in ours} == {
        n: v for n, v in said.items() if n not in ours
    }
    wanted = said.get("refresh_token") or (fallback and fallback.token)
    if not wanted:
        assert not told.get("refresh_token")
        return
    sealed = told["refresh_token"]
    assert SEALER.open(sealed).token == wanted
    assert sealed != wanted


class _Number(str):
    """A number as it is written."""

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
    raise ValueError(f"{text} is no JSON")


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
    """See that settings are refused without quoting one, or make a request to Spotify."""
    lines = data.decode(errors="surrogateescape").split("\n")
    environ = _GIVEN | {name: value for name, _, value in (line.partition("=") for line in lines)}
    environ = {name: value for name, value in environ.items() if not name.endswith("_FILE")}
    try:
        settings = service_settings.load(environ)
    except SettingsError as error:
        told = "\n".join(error.problems)
        values = {value for value in environ.values() if len(value) >= CHANCE}
        assert not [value for value in values if value in told and value not in SENTENCES]
        return
    assert repr(settings) == repr(_with_other_secrets(settings))
    _check_usable(settings)


def _with_other_secrets(settings: Settings) -> Settings:
    other = Secret("another")
    previous = tuple(other for _ in settings.secret_keys_previous)
    return msgspec.structs.replace(
        settings, client_secret=other, secret_key=other, secret_keys_previous=previous
    )


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
"""What is said about bad settings, without their values."""


def _check_usable(settings: Settings) -> None:
    keys = [key.reveal() for key in settings.secret_keys_previous]
    sealer = Sealer(settings.secret_key.reveal(), keys)
    context = flows.Context(settings, sealer)
    check_request(flows.refresh(forms.RefreshForm(sealer.seal(TOKEN)), context), settings)


# Spotify: bytes of a connection, cut as the first two bytes say ----------------------------------

SETTINGS = service_settings.load(_GIVEN)
_CONTEXT = flows.Context(SETTINGS, SEALER)
_LOOP = asyncio.new_event_loop()
_UNREAD, _PEER = os.pipe()  # what a connection asks the kernel about
_BODY = b'{"access_token":"of-the-second-answer"}'
_SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class _Wire(asyncio.Transport):
    """A transport whose other side says `said` to the first request and _SECOND to the next."""

    def __init__(self, protocol: _Connection, said: list[bytes], *, ends: bool) -> None:
        super().__init__({"socket": self})
        self._protocol = protocol
        self._said = said
        self._ends = ends
        self._closing = False
        self.sent: list[bytes] = []

    def fileno(self) -> int:
        return _UNREAD

    def write(self, data: Any) -> None:  # noqa: ANN401 - as in asyncio
        self.sent.append(bytes(data))
        _LOOP.call_soon(self._answer)

    def _answer(self) -> None:
        for piece in self._said:
            if not self._closing:
                self._protocol.data_received(piece)
        self._said = [_SECOND]
        if self._closing or self._ends or self._protocol._waiter is not None:
            self._closing = True
            self._protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return self._closing

    def abort(self) -> None:
        self._closing = True


class _Wires(Connections):
    """Connections the first of which says `said`."""

    def __init__(self, said: list[bytes], *, ends: bool = False) -> None:
        super().__init__(urlsplit("http://127.0.0.1"), ANSWER_LIMIT)
        self._said, self._ends = said, ends
        self.made: list[_Wire] = []

    async def _connect(self) -> _Connection:
        connection = _Connection(_LOOP, ANSWER_LIMIT)
        said = [_SECOND] if self.made else self._said
        self.made.append(_Wire(connection, said, ends=self._ends and not self.made))
        connection.connection_made(self.made[-1])
        return connection


def _ask(wires: Connections, settings: Settings, grant: flows.Grant) -> TokenResponse | ServiceError:
    # Without TLS, whose context takes longer than all the rest.
    transport = Transport("http" + settings.spotify_token_url.lstrip("htpsHTPS"))
    transport._connections = wires
    accounts = SpotifyAccounts(settings, transport, "test")
    try:
        return _LOOP.run_until_complete(accounts.ask(grant))
    except ServiceError as refusal:
        return refusal


def check_request(grant: flows.Grant, settings: Settings) -> None:
    """Fail if what goes to Spotify isn't one request, with the fields of `grant` and no more."""
    wires = _Wires([_SECOND])
    assert _ask(wires, settings, grant) == TokenResponse(200, _headers(_SECOND), _BODY)
    [message] = wires.made[0].sent
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(message)
    request, data, end = (reader.next_event() for _ in range(3))
    assert isinstance(request, h11.Request)
    assert isinstance(data, h11.Data)
    assert isinstance(end, h11.EndOfMessage)
    assert reader.trailing_data == (b"", False)
    names = [name for name, _ in request.headers]
    assert sorted(names) == sorted(_SENT | ({b"authorization"} if grant.basic else set()))
    assert tuple(parse_qsl(data.data.decode(), strict_parsing=True)) == grant.fields


_SENT = set(b"host accept accept-encoding content-type user-agent content-length".split())


def _headers(message: bytes) -> list[tuple[bytes, bytes]]:
    lines = message.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


def spotify(data: bytes) -> None:
    """See that what Spotify says is an answer as another reader has it, or Spotify's failure.

    The request after it gets its own answer.
    """
    stream, ends = data[2:], bool(data[:1] > b"\x7f")
    wires = _Wires(_pieces(stream, data[:2]), ends=ends)
    grant = flows.client_credentials(forms.ClientCredentialsForm(), _CONTEXT)
    first = _ask(wires, SETTINGS, grant)
    assert _ask(wires, SETTINGS, grant) == TokenResponse(200, _headers(_SECOND), _BODY)
    if isinstance(first, ServiceError):
        assert isinstance(first, UpstreamFailed)
        return
    assert len(first.body) <= ANSWER_LIMIT
    assert not any(re.search(rb"[\r\n\0]", name + value) for name, value in first.headers)
    plain = {value for name, value in first.headers if name.lower() == b"content-encoding"} <= {b""}
    known = _read_answer(stream)
    if known and plain and not _FOLDED.search(stream):
        assert known == first._replace(headers=_unframed(first.headers))
    if answers.is_success(first.status):
        answer(b"\n\n" + first.body)
    else:
        _check_forwarded(first)


# Lines that go on in the next one, which RFC 9112, section 5.2, lets a reader join as it likes.
_FOLDED = re.compile(rb"\n[ \t]")


def _unframed(headers: answers.Headers) -> answers.Headers:
    """Return the headers that mean something to us: h11 tidies up those that frame a body."""
    framing = {b"content-length", b"transfer-encoding"}
    lowered = [(name.lower(), value) for name, value in headers]
    return [(name, value) for name, value in lowered if name not in framing]


def _pieces(stream: bytes, cuts: bytes) -> list[bytes]:
    """Cut a stream into three."""
    first, second = sorted(cut * len(stream) // 256 for cut in cuts.ljust(2, b"\0"))
    return [piece for piece in (stream[:first], stream[first:second], stream[second:]) if piece]


def _read_answer(stream: bytes) -> TokenResponse | None:
    """Return the answer as h11 reads it; None if it finds none."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="POST", target="/", headers=[("Host", "x")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(stream)
    answered = TokenResponse(0, [], b"")
    try:
        while not isinstance(event := reader.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                reader.receive_data(b"")
            elif isinstance(event, h11.Response):
                answered = TokenResponse(event.status_code, _unframed([*event.headers]), b"")
            elif isinstance(event, h11.Data):
                answered = answered._replace(body=answered.body + bytes(event.data))
    except h11.RemoteProtocolError:
        return None
    return answered


PROPERTIES: Final[dict[str, Callable[[bytes], None]]] = {
    "form": form,
    "token": token,
    "answer": answer,
    "setting": setting,
    "spotify": spotify,
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
_CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: a\r\n\r\n"
)

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
    "answer": [
        b"Content-Type: application/json\n\n" + _TOKENS % b"",
        b"Content-Type: application/json\nConnection: close, X-A\nX-A: b\n\n" + _ROTATED,
        b"Retry-After: 7\nSet-Cookie: a=b\n\n" + _ERROR,
    ],
    "setting": [
        b"SECRET_KEYS_PREVIOUS=one\nREDIRECT_URI=app://callback\nLOG_LEVEL=debug\nPORT=80",
        b"SPOTIFY_TOKEN_URL=http://[::1]:7001/api/token\nUPSTREAM_TIMEOUT=2.5\nHOST=0.0.0.0",
        b"CORS_ALLOW_ORIGINS=https://a.example,app://b:1\nALLOWED_REDIRECT_URIS=app://a, app://b",
        b"OTEL_TRACES_EXPORTER=otlp\nOTEL_EXPORTER_OTLP_HEADERS=api-key=abc%20d,x=y",
        b"SPOTIFY_TOKEN_URL=https://accounts.example/api\nALLOW_INSECURE_UPSTREAM=true",
    ],
    "spotify": [
        b"\x40\x60HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(_ROTATED), _ROTATED),
        b"\x90\x10HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" + _ERROR,
        b"\x20\x70HTTP/1.1 100 Continue\r\n\r\n" + _CHUNKED,
        b"\x30\x20" + _CHUNKED + _CHUNKED[:30],
        b"\x20\x70HTTP/1.0 503 Later\r\nContent-Encoding: gzip\r\nRetry-After: 1\r\n\r\n"
        + gzip.compress(b"later", mtime=0),
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
    "answer": [
        b'"refresh_token":', b'"refresh\\u005ftoken":', b'"expires_in":', b'"expiration_date":',
        b'"AQ-other"', b"null", b"true", b"1e3", b"-0", b"[", b"]", b"{", b"}", b",", b'"', b"\\",
        b"\\ud800", b"\xff", b"\x00", b"\xef\xbb\xbf", b"Connection: ", b"Access-Control-A: ",
    ],
    "setting": [
        *(f"\n{name}=".encode() for name in _NAMES),
        b"http://", b"https://", b"[", b"]", b"::1", b"%", b"@", b"#", b"?", b"\\", b"//", b":0",
        b":65536", b"..", b"\r", b"\t", b" ", b"\xff", b"\xc3\xa9", b"nan", b"inf", b"1_0", b"1e3",
    ],
    "spotify": [
        b"\r\n", b"\n", b"\r\n ", b"\0", b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/2 ", b"101", b"103",
        b"204", b"304", b"999", b"Content-Length: ", b"Transfer-Encoding: chunked",
        b"Connection: close", b"Connection: upgrade", b"Upgrade: h2c", b"Content-Encoding: gzip",
        b", a", b"0\r\n\r\n",
        b"ffffffffffffffff", b";ext", b"+1", b"-1", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
}  # fmt: skip
