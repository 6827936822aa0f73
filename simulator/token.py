"""POST /api/token, which checks what Spotify checks, and /trap, the target of redirects.

A ``code`` or ``refresh_token`` that begins with ``fault-`` requests a fault (see ``faults``), and
otherwise counts as valid. Such a fault takes precedence over the queued faults.
"""

import base64
import binascii
from collections.abc import Mapping

from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from simulator import faults, forms, pkce
from simulator.accounts import Accounts, AccountsError, Client, Tokens
from simulator.exchange import Exchange, received
from simulator.faults import FaultQueue
from simulator.record import Entry, Record
from simulator.responses import RawResponse, as_json, refusal

_GRANT_TYPES = "grant_type must be client_credentials, authorization_code or refresh_token"


def token_route(accounts: Accounts, queue: FaultQueue, record: Record) -> ASGIRouteHandler:
    """Return the token endpoint. It accepts every method, to record every request."""

    @asgi("/api/token", copy_scope=False)
    async def token(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = await received(scope, receive, send)
        if exchange is not None:
            record.add(exchange.entry)
            await _respond_or_fault(exchange, accounts, queue)

    return token


def trap_route(record: Record) -> ASGIRouteHandler:
    """Return an endpoint that records every request."""

    @asgi("/trap", copy_scope=False)
    async def trap(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = await received(scope, receive, send)
        if exchange is not None:
            record.add(exchange.entry)
            await exchange.respond(as_json(200, {"trapped": True}))

    return trap


async def _respond_or_fault(exchange: Exchange, accounts: Accounts, queue: FaultQueue) -> None:
    def normal() -> RawResponse:
        return _response(accounts, exchange.entry)

    requested = _fault_value(exchange.entry)
    try:
        fault = faults.spelled(requested) if requested else queue.take()
    except ValueError as error:
        await exchange.respond(refusal(400, "invalid_request", str(error)))
        return
    if fault is None:
        await exchange.respond(normal())
    else:
        await fault.apply(exchange, normal)


def _fault_value(entry: Entry) -> str | None:
    """Return the first form value that requests a fault."""
    for name, value in entry.form:
        if name in {"code", "refresh_token"} and value.startswith(faults.MARK):
            return value
    return None


def _response(accounts: Accounts, entry: Entry) -> RawResponse:
    """Return the response to a token request (RFC 6749, section 5)."""
    if entry.method != "POST":
        return refusal(405, "invalid_request", "method must be POST", (("Allow", "POST"),))
    if entry.media_type() != forms.MEDIA_TYPE:
        return refusal(415, "invalid_request", f"Content-Type must be {forms.MEDIA_TYPE}")
    try:
        return as_json(200, _grant(accounts, entry))
    except AccountsError as error:
        return refusal(400, error.error, error.description)


def _grant(accounts: Accounts, entry: Entry) -> Tokens:
    """Return the tokens that a request is for; AccountsError if it is rejected."""
    form = _form(entry)
    match form.get("grant_type"):
        case "client_credentials":
            return accounts.grant_client_credentials(_client(entry, form))
        case "authorization_code":
            code, redirect_uri = _required(form, "code"), _required(form, "redirect_uri")
            verifier = form.get("code_verifier")
            if code.startswith(faults.MARK):
                if not accounts.allows(redirect_uri):  # no user was redirected there
                    raise AccountsError("invalid_grant", "Invalid redirect URI")
                challenge = verifier and pkce.challenge_of(verifier)
                code = accounts.issue_code(redirect_uri, challenge=challenge)
            return accounts.exchange_code(_client(entry, form), code, redirect_uri, verifier)
        case "refresh_token":
            client, token = _client(entry, form), _required(form, "refresh_token")
            if token.startswith(faults.MARK):
                token = accounts.issue_refresh_token(pkce=client.client_secret is None)
            return accounts.refresh(client, token)
        case _:
            raise AccountsError("unsupported_grant_type", _GRANT_TYPES)


def _form(entry: Entry) -> Mapping[str, str]:
    try:
        return forms.fields(entry.form)
    except ValueError as repeated:
        raise AccountsError("invalid_request", str(repeated)) from repeated


def _required(form: Mapping[str, str], name: str) -> str:
    if name not in form:
        raise AccountsError("invalid_request", f"{name} must be supplied")
    return form[name]


def _client(entry: Entry, form: Mapping[str, str]) -> Client:
    """Return the client credentials in the Basic header, otherwise those in the form.

    Spotify does not urldecode id and secret in the header, which RFC 6749, section 2.3.1, requires.
    Its own ids and secrets are hexadecimal, so there is no difference.
    """
    scheme, _, credentials = entry.header("authorization").partition(" ")
    if scheme.lower() != "basic":
        return Client(form.get("client_id", ""), form.get("client_secret"))
    try:
        pair = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as broken:
        raise AccountsError("invalid_client", "Invalid client") from broken
    client_id, _, client_secret = pair.partition(":")
    return Client(client_id, client_secret)
