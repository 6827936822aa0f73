"""The pages a person sees: plain HTML without script, everything shown escaped."""

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from simulator.scopes import MEANINGS
from simulator.users import User, Users

_STYLE = """
:root { color-scheme: light dark }
body { font: 1.125rem/1.5 system-ui, sans-serif }
main { max-width: 34rem; margin: 3rem auto; padding: 0 1rem }
button { font: inherit; padding: .5rem 1.5rem; margin-right: .5rem }
code { overflow-wrap: anywhere }
fieldset { margin: 1.5rem 0; border: 1px solid #767676 }
fieldset label { display: grid; grid-template-columns: auto 1fr; gap: .75rem; padding: .25rem 0 }
fieldset input { margin: 0; align-self: center }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def consent(client_id: str, redirect_uri: str, scopes: Iterable[str], users: Users) -> str:
    """Return the page that asks whether an app may have these scopes, and whose.

    Its form posts to the page's own URL, with ``user``, their id, and ``decision``, allow or deny.
    """
    items = "".join(
        f"<li>{escape(MEANINGS[scope])}: <code>{escape(scope)}</code></li>" for scope in scopes
    )
    asked = f"<ul>{items}</ul>" if items else "<p>No scopes: what is public anyway.</p>"
    choices = "".join(_choice(user, chosen=user is users[0]) for user in users)
    return _page(
        "Agree to let this app in?",
        "<p>This is a simulator of Spotify: nobody real logs in here.</p>"
        f"<p>The app <code>{escape(client_id)}</code> asks for:</p>{asked}"
        f"<p>Either way you go on to <code>{escape(redirect_uri)}</code>.</p>"
        f'<form method="post"><fieldset><legend>Log in as</legend>{choices}</fieldset>'
        '<button name="decision" value="allow">Agree</button>'
        '<button name="decision" value="deny">Cancel</button>'
        "</form>",
    )


def _choice(user: User, *, chosen: bool) -> str:
    about = f"{user.display_name} ({user.email}): {user.product}, {user.country}"
    if not user.registered:
        about += ", not on the app's list of users"
    checked = " checked" if chosen else ""
    return (
        f'<label><input type="radio" name="user" value="{escape(user.id)}"{checked}>'
        f" {escape(about)}</label>"
    )


def error(words: str) -> str:
    """Return the page that tells why there is nothing to agree to."""
    return _page("This request cannot go on", f"<p>{escape(words)}</p>")


def headers(form_leads_to: str = "") -> dict[str, str]:
    """Return the headers that confine a page.

    Browsers hold a form's redirects, too, to the policy: ``form_leads_to`` is the URI they end
    at. Its scheme is named rather than its host, as a policy has no way to name [::1].
    """
    scheme = form_leads_to.partition(":")[0]
    form_action = f"'self' {scheme}:" if scheme else "'none'"
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {form_action};"
            " base-uri 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title} - Accounts simulator</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{title}</h1>{content}</main></body></html>"
    )
