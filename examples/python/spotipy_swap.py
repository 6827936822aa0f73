"""spotipy by way of spotify-api-server: its managers as they are, with a session that knows the way.

    SpotifyPKCE(client_id, redirect_uri, state, requests_session=SwapSession(server))
    SpotifyOAuth(
        client_id, "unused", redirect_uri, state,
        requests_session=SwapSession(server, "authorization-code-flow"),
    )
    SpotifyClientCredentials(
        client_id, "unused",
        requests_session=SwapSession(server, "client-credentials-flow"),
    )

spotipy has one address for all tokens and sends a client secret; the server has an address for each
step, and the secret. Give ``unused`` as the secret: the server ignores the header that spotipy makes
of it. Give a random ``state``: without one spotipy takes any answer.
"""

from collections.abc import Mapping

import requests


class SwapSession(requests.Session):
    """Sends requests for tokens to the server, whatever their address: grant_type says which step.

    Takes the server's URL, such as https://swap.example.com, and the flow's part of the path.
    """

    def __init__(self, server: str, flow: str = "authorization-code-flow-pkce") -> None:
        super().__init__()
        self._flow = f"{server.rstrip('/')}/{flow}"

    def post(
        self,
        _url: str,
        data: Mapping[str, str],
        json: None = None,
        **options: object,
    ) -> requests.Response:
        """Post to the server; it answers as Spotify does."""
        step = "refresh" if data["grant_type"] == "refresh_token" else "retrieve"
        address = f"{self._flow}/{step}-tokens"
        return super().post(address, data, json, allow_redirects=False, **options)
