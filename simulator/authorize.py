"""GET and POST /authorize: the login page (RFC 6749, sections 4.1.1 and 4.1.2)."""

from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.di import NamedDependency
from msgspec import Struct

from simulator import forms, pages, pkce, redirects, scopes
from simulator.accounts import Accounts
from simulator.users import User


class Decision(Struct, frozen=True):
    """The form of the login page.

    Without ``user``, the first user decides. ``scope``, which the page does not send, grants less
    than the app requested.
    """

    decision: str = ""
    user: str | None = None
    scope: str | None = None


class Query(Struct, frozen=True):
    """The parameters of an authorization request.

    ``show_dialog`` has no effect: the simulator always shows the page.
    """

    client_id: str = ""
    redirect_uri: str = ""
    response_type: str = ""
    scope: str = ""
    state: str | None = None
    code_challenge: str | None = None
    code_challenge_method: str | None = None

    def problem(self) -> str | None:
        """Return the ``error`` for the redirect if the request is not valid."""
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
    """Show the login page."""
    query = _checked(request, accounts)
    if isinstance(query, Response):
        return query
    page = pages.consent(query.client_id, query.redirect_uri, query.scope.split(), accounts.users)
    return Response(page, headers=pages.headers(form_leads_to=query.redirect_uri))


@post("/authorize", media_type=MediaType.HTML, status_code=303)
async def decide(
    request: Request[Any, Any, Any], accounts: NamedDependency[Accounts]
) -> Response[str]:
    """Redirect to the app with a code or an error, as the user decided."""
    query = _checked(request, accounts)
    if isinstance(query, Response):
        return query
    try:
        decision = msgspec.convert(forms.fields(forms.pairs(await request.body())), Decision)
        match decision.decision:
            case "allow":
                user, scope = _user(accounts, decision), _scope(query, decision)
                challenge = query.code_challenge
                code = accounts.issue_code(query.redirect_uri, scope, challenge, user)
                return _sent_back(query, code=code)
            case "deny":
                return _sent_back(query, error="access_denied")
            case _:
                return _refused("INVALID_REQUEST: decision must be allow or deny")
    except ValueError as error:
        return _refused(f"INVALID_REQUEST: {error}")


def _user(accounts: Accounts, decision: Decision) -> User:
    """Return the user who decides; ValueError lists the users if there is no such user."""
    user = accounts.user(decision.user)
    if user is None:
        known = ", ".join(user.id for user in accounts.users)
        raise ValueError(f"There is no user {decision.user}; there are {known}")
    return user


def _scope(query: Query, decision: Decision) -> str:
    """Return the granted scope; ValueError if it is more than the app requested."""
    if decision.scope is None:
        return query.scope
    if not scopes.includes(query.scope, decision.scope):
        raise ValueError("scope must not contain more than the app requested")
    return decision.scope


def _checked(request: Request[Any, Any, Any], accounts: Accounts) -> Query | Response[str]:
    """Return the query, or the response to an invalid one.

    Errors go to the redirect URI only if client and redirect URI are valid; otherwise the user
    sees them (RFC 6749, section 4.1.2.1).
    """
    try:
        query = msgspec.convert(forms.fields(forms.pairs(request.scope["query_string"])), Query)
    except ValueError as repeated:
        return _refused(f"INVALID_REQUEST: {repeated}")
    if query.client_id != accounts.app.client_id:
        return _refused("INVALID_CLIENT: Invalid client")
    if not accounts.allows(query.redirect_uri):
        return _refused("INVALID_CLIENT: Invalid redirect URI")
    illegal = scopes.unknown(query.scope)
    if illegal:  # Spotify shows this to the user; RFC 6749 would redirect to the app
        return _refused(f"INVALID_SCOPE: Illegal scope: {' '.join(illegal)}")
    problem = query.problem()
    return query if problem is None else _sent_back(query, error=problem)


def _sent_back(query: Query, **parameters: str) -> Response[str]:
    """Return the redirect to the app; 303, so that no browser repeats the POST there."""
    if query.state is not None:
        parameters["state"] = query.state
    location = redirects.with_parameters(query.redirect_uri, parameters)
    headers = {"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response("", status_code=303, headers=headers)


def _refused(error: str) -> Response[str]:
    return Response(pages.error(error), status_code=400, headers=pages.headers())
