#!/usr/bin/env python3
"""A person with a browser: `person.py URL` agrees at the consent page and follows where it leads.

DECISION=deny in the environment says no. Named by BROWSER, so that an example opens it by itself.
"""

import os
import sys
import urllib.request
from urllib.parse import urlencode

_BROWSER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def decide(url: str, decision: str = "allow") -> None:
    """Press a button of the page; the redirect ends at the app."""
    _BROWSER.open(url, urlencode({"decision": decision}).encode(), timeout=20).close()


if __name__ == "__main__":
    decide(sys.argv[1], os.environ.get("DECISION", "allow"))
