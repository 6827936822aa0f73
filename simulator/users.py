"""The users who can log in."""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.json import Decoder

from simulator import jsontext


class User(Struct, frozen=True, forbid_unknown_fields=True):
    """A user with the fields of ``GET /v1/me``.

    A user who is not ``registered`` is not on the app's user list at Spotify: in development mode,
    such users can log in, but the Web API rejects their tokens.
    """

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
    display_name: str
    email: str
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")] = "SE"
    product: Literal["premium", "free"] = "premium"
    registered: bool = True


Users = tuple[User, ...]

KNOWN: Users = (
    User("alice", "Alice", "alice@example.com"),
    User("bob", "Bob", "bob@example.com", country="DE", product="free"),
    User("carol", "Carol", "carol@example.com", country="US", registered=False),
)
"""The default users. The first one is selected on the login page."""

_USERS: Decoder[Users] = Decoder(Annotated[Users, Meta(min_length=1)])


def read(text: str | bytes) -> Users:
    """Decode a JSON array of users; ValueError explains what is wrong."""
    users = jsontext.read(text, _USERS, "The users are")
    ids = [user.id for user in users]
    for id_ in ids:
        if ids.count(id_) > 1:
            raise ValueError(f"There is more than one user {id_}")
    return users
