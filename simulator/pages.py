"""The login page and its errors: HTML without scripts, everything shown escaped."""

from collections.abc import Iterable
from html import escape

from simulator.playground_page import STYLE
from simulator.scopes import MEANINGS
from simulator.users import User, Users


def consent(client_id: str, redirect_uri: str, scopes: Iterable[str], users: Users) -> str:
    """Return the page that asks whether an app may have these scopes, and whose.

    Its form posts to the page's own URL, with ``user``, their id, and ``decision``, allow or deny.
    """
    items = "".join(
        f"<li>{escape(MEANINGS[scope])} <small><code>{escape(scope)}</code></small></li>"
        for scope in scopes
    )
    requested = f'<ul class="plain">{items}</ul>' if items else "<p>Public data only.</p>"
    choices = "".join(_choice(user, chosen=user is users[0]) for user in users)
    return _page(
        "Agree to let this app in?",
        "<p>This page stands for Spotify’s login. No real account is involved.</p>"
        f"<p><code>{escape(client_id)}</code> requests:</p>{requested}"
        '<form method="post"><fieldset class="choices">'
        f"<legend>Log in as</legend>{choices}</fieldset>"
        '<p class="actions"><button class="primary" name="decision" value="allow">Agree</button>'
        '<button name="decision" value="deny">Cancel</button></p>'
        "</form>"
        f"<p><small>Then you return to <code>{escape(redirect_uri)}</code></small></p>",
    )


def _choice(user: User, *, chosen: bool) -> str:
    about = f"{user.email} · {user.product} · {user.country}"
    if not user.registered:
        about += " · not on the app’s user list: the Web API will answer 403"
    checked = " checked" if chosen else ""
    return (
        f'<label><input type="radio" name="user" value="{escape(user.id)}"{checked}>'
        f"<span>{escape(user.display_name)} <small>{escape(about)}</small></span></label>"
    )


def error(words: str) -> str:
    """Return the page that says why this login cannot continue."""
    return _page(
        "This login cannot continue",
        f'<p class="notice">{escape(words)}</p>'
        "<p>Spotify shows such errors to the user, and does not redirect to the app.</p>",
    )


def headers(form_leads_to: str = "") -> dict[str, str]:
    """Return the headers that confine a page.

    Browsers hold a form's redirects, too, to the policy: ``form_leads_to`` is the URI they end
    at. Its scheme is named rather than its host, as a policy has no way to name [::1].
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
