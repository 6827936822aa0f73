"""The login page and its error page: HTML without scripts, with all values escaped."""

from collections.abc import Iterable
from html import escape

from simulator.playground_page import STYLE
from simulator.scopes import MEANINGS
from simulator.users import User, Users


def consent(client_id: str, redirect_uri: str, scopes: Iterable[str], users: Users) -> str:
    """Return the login page, with the scopes that the app requests and the users.

    The form posts ``user``, an id, and ``decision``, allow or deny, to the URL of the page.
    """
    items = "".join(
        f"<li>{escape(MEANINGS[scope])} <small><code>{escape(scope)}</code></small></li>"
        for scope in scopes
    )
    requested = f'<ul class="plain">{items}</ul>' if items else "<p>Public data only</p>"
    choices = "".join(_choice(user, chosen=user is users[0]) for user in users)
    return _page(
        "Log in and grant access",
        "<p>This page stands in for Spotify’s login page. No real account is involved.</p>"
        f"<p><code>{escape(client_id)}</code> requests access to:</p>{requested}"
        '<form method="post"><fieldset class="choices">'
        f"<legend>Log in as</legend>{choices}</fieldset>"
        '<p class="actions"><button class="primary" name="decision" value="allow">Agree</button>'
        '<button name="decision" value="deny">Cancel</button></p>'
        "</form>"
        f"<p><small>The browser then returns to <code>{escape(redirect_uri)}</code></small></p>",
    )


def _choice(user: User, *, chosen: bool) -> str:
    about = f"{user.email} · {user.product} · {user.country}"
    if not user.registered:
        about += " · not on the app’s user list: the Web API responds with 403"
    checked = " checked" if chosen else ""
    return (
        f'<label><input type="radio" name="user" value="{escape(user.id)}"{checked}>'
        f"<span>{escape(user.display_name)} <small>{escape(about)}</small></span></label>"
    )


def error(message: str) -> str:
    """Return the page for errors that are not redirected to the app."""
    return _page(
        "This login cannot continue",
        f'<p class="notice">{escape(message)}</p>'
        "<p>Spotify shows this error to the user and does not redirect to the app.</p>",
    )


def headers(form_leads_to: str = "") -> dict[str, str]:
    """Return the headers that confine a page.

    Browsers apply ``form-action`` to the redirects of a form, too: ``form_leads_to`` is their
    target. The policy allows its scheme, since it cannot name the host [::1].
    """
    scheme = form_leads_to.partition(":")[0]
    form_action = f"'self' {scheme}:" if scheme else "'none'"
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'self'; img-src 'self'; form-action {form_action};"
            " base-uri 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} - Spotify simulator</title>"
        '<link rel="icon" href="/playground/icon.svg">'
        f'<link rel="stylesheet" href="{STYLE}"></head>'
        '<body><header class="bar">'
        '<p><img src="/playground/icon.svg" alt="" width="24" height="24">Spotify simulator</p>'
        '<nav><a href="/">Back to the playground</a></nav></header>'
        f'<main class="narrow"><h1>{title}</h1>{content}</main></body></html>'
    )
