"""spotipy by way of spotify-api-server: its managers, with a session that knows the way.

    SpotifyPKCE(client_id, redirect_uri, state, requests_session=SwapSession(server))
    SpotifyOAuth(
        client_id, "unused", redirect_uri, state,
        requests_session=SwapSession(server, "authorization-code-flow"),
    )
    SpotifyClientCredentials(
        client_id, "unused",
        requests_session=SwapSession(server, "client-credentials-flow"),
    )

spotipy has one address for all tokens and sends a client secret; the server has an address for
each step, and the secret. Give ``unused`` as the secret: the server ignores what spotipy makes of
it. Give a random ``state``: without one spotipy takes any answer.
"""

import requests


class SwapSession(requests.Session):
    """Sends requests for tokens to the server, whatever their address: their fields tell the step.

    Takes the server's URL, such as https://swap.example.com, and the flow's part of the path.
    """

    def __init__(self, server: str, flow: str = "authorization-code-flow-pkce") -> None:
        super().__init__()
        self.max_redirects = 0  # a code or a token goes to the server and nowhere else
        self._flow = f"{server.rstrip('/')}/{flow}"

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Return the request as it is sent."""
        is_refresh = isinstance(request.data, dict) and "refresh_token" in request.data
        request.url = f"{self._flow}/{'refresh' if is_refresh else 'retrieve'}-tokens"
        return super().prepare_request(request)
