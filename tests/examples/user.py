#!/usr/bin/env python3
"""A user with a browser: `user.py URL` agrees on the login page and follows the redirect.

The variable BROWSER names this file, so that the examples open it as they open a browser.
"""

import sys
import urllib.request
from urllib.parse import urlencode

_BROWSER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def decide(url: str, decision: str = "allow") -> None:
    """Press a button of the login page; the redirect ends at the app."""
    _BROWSER.open(url, urlencode({"decision": decision}).encode(), timeout=20).close()


if __name__ == "__main__":
    decide(sys.argv[1])
