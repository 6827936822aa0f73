"""tekore by way of spotify-api-server: its credentials, with a sender that knows the way.

    RefreshingCredentials(client_id, redirect_uri=redirect_uri, sender=SwapSender(server))
    RefreshingCredentials(
        client_id, "unused", redirect_uri,
        sender=SwapSender(server, "authorization-code-flow"),
    )

tekore has one address for all tokens and, without PKCE, sends a client secret; the server has an
address for each step, and the secret. Give ``unused`` as the secret: the server ignores the header.
"""

from dataclasses import replace

from tekore import Request, Response, SyncSender


class SwapSender(SyncSender):
    """Sends requests for tokens to the server, whatever their address: their fields tell the step.

    Takes the server's URL, such as https://swap.example.com, and the flow's part of the path.
    """

    def __init__(self, server: str, flow: str = "authorization-code-flow-pkce") -> None:
        super().__init__()
        self._flow = f"{server.rstrip('/')}/{flow}"

    def send(self, request: Request) -> Response:
        """Send a request for tokens; the server answers as Spotify does."""
        step = "refresh" if "refresh_token" in (request.data or {}) else "retrieve"
        return super().send(replace(request, url=f"{self._flow}/{step}-tokens"))
