"""GET and POST /authorize: where a person lets an app in (RFC 6749 section 4.1.1, 4.1.2)."""

from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.di import NamedDependency
from msgspec import Struct

from simulator import forms, pages, pkce, redirects
from simulator.accounts import Accounts


class Query(Struct, frozen=True):
    """The parameters of an authorization request; ``show_dialog`` has no effect, all are shown."""

    client_id: str = ""
    redirect_uri: str = ""
    response_type: str = ""
    scope: str = ""
    state: str | None = None
    code_challenge: str | None = None
    code_challenge_method: str | None = None

    def problem(self) -> str | None:
        """Return the ``error`` to send the person back with, if the request is no good."""
        if self.response_type != "code":
            return "unsupported_response_type"
        if self.code_challenge is None and self.code_challenge_method is None:
            return None
        if self.code_challenge_method != "S256" or not pkce.is_challenge(self.code_challenge or ""):
            return "invalid_request"
        return None


@get("/authorize", media_type=MediaType.HTML)
async def consent(
    request: Request[Any, Any, Any], accounts: NamedDependency[Accounts]
) -> Response[str]:
    """Ask the person whether the app may have what it asks for."""
    query = _checked(request, accounts)
    if isinstance(query, Response):
        return query
    page = pages.consent(query.client_id, query.redirect_uri, query.scope.split())
    return Response(page, headers=pages.headers(form_leads_to=query.redirect_uri))


@post("/authorize", media_type=MediaType.HTML, status_code=303)
async def decide(
    request: Request[Any, Any, Any], accounts: NamedDependency[Accounts]
) -> Response[str]:
    """Send the person back to the app, with a code or without, as the form's decision says."""
    query = _checked(request, accounts)
    if isinstance(query, Response):
        return query
    match dict(forms.pairs(await request.body())).get("decision"):
        case "allow":
            code = accounts.issue_code(query.redirect_uri, query.scope, query.code_challenge)
            return _sent_back(query, code=code)
        case "deny":
            return _sent_back(query, error="access_denied")
        case _:
            return _refused("INVALID_REQUEST: decision must be allow or deny")


def _checked(request: Request[Any, Any, Any], accounts: Accounts) -> Query | Response[str]:
    """Return the query, or the answer to a bad one.

    Only an app that is known to be at its redirect URI hears of its mistakes there; else they
    are told to the person alone (RFC 6749 section 4.1.2.1).
    """
    try:
        query = msgspec.convert(forms.fields(forms.pairs(request.scope["query_string"])), Query)
    except ValueError as repeated:
        return _refused(f"INVALID_REQUEST: {repeated}")
    if query.client_id != accounts.app.client_id:
        return _refused("INVALID_CLIENT: Invalid client")
    if not accounts.allows(query.redirect_uri):
        return _refused("INVALID_CLIENT: Invalid redirect URI")
    problem = query.problem()
    return query if problem is None else _sent_back(query, error=problem)


def _sent_back(query: Query, **parameters: str) -> Response[str]:
    """Return the redirect to the app; 303, so that no browser repeats the POST there."""
    if query.state is not None:
        parameters["state"] = query.state
    location = redirects.with_parameters(query.redirect_uri, parameters)
    headers = {"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response("", status_code=303, headers=headers)


def _refused(words: str) -> Response[str]:
    return Response(pages.error(words), status_code=400, headers=pages.headers())
