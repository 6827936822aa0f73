"""The scopes in Spotify's docs page "Scopes"."""

from collections.abc import Mapping

MEANINGS: Mapping[str, str] = {
    "ugc-image-upload": "Upload images to Spotify on your behalf",
    "user-read-playback-state": "See what you play, and on which devices",
    "user-modify-playback-state": "Control what plays on your devices",
    "user-read-currently-playing": "See what you are playing",
    "app-remote-control": "Communicate with the Spotify app on your device",
    "streaming": "Play content, and control playback on your other devices",
    "playlist-read-private": "See your private playlists",
    "playlist-read-collaborative": "See your collaborative playlists",
    "playlist-modify-private": "Change your private playlists",
    "playlist-modify-public": "Change your public playlists",
    "user-follow-modify": "Change who you follow",
    "user-follow-read": "See who you follow",
    "user-read-playback-position": "See your playback position",
    "user-top-read": "See your top artists and tracks",
    "user-read-recently-played": "See what you played recently",
    "user-library-modify": "Change your library",
    "user-library-read": "See your library",
    "user-personalized": "Show you personalized content",
    "user-read-email": "See your email address",
    "user-read-private": "See your country, your subscription and your content settings",
}
"""Each scope with its description on the login page, without the scopes of Spotify Open Access,
which need a contract."""


def unknown(scope: str) -> list[str]:
    """Return the names in a scope (RFC 6749, section 3.3) that do not exist."""
    return [name for name in scope.split() if name not in MEANINGS]


def includes(scope: str, narrower: str) -> bool:
    """Return whether a scope contains a narrower one."""
    return set(narrower.split()) <= set(scope.split())
