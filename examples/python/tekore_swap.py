"""tekore with tokens from spotify-api-server.

    RefreshingCredentials(client_id, redirect_uri=redirect_uri, sender=SwapSender(server))
    RefreshingCredentials(client_id, "unused", redirect_uri, sender=SwapSender(server))

tekore (6.2.0) has no option for the token URL, so this sender, a documented option, replaces the
URL. The server ignores the client secret that tekore sends: pass any string.
"""

from dataclasses import replace

from tekore import Request, Response, SyncSender


class SwapSender(SyncSender):
    """Sends token requests to the server, such as https://swap.example.com."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self._token_url = f"{server.rstrip('/')}/api/token"

    def send(self, request: Request) -> Response:
        """Send a token request to the server."""
        return super().send(replace(request, url=self._token_url))
