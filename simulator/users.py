"""The people who have an account, and can let the app in."""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.json import Decoder

from simulator import jsontext


class User(Struct, frozen=True, forbid_unknown_fields=True):
    """A person, as ``GET /v1/me`` tells of one.

    Someone who is not ``registered`` is missing from the app's list of users at Spotify: in
    development mode such a person can log in, but the Web API refuses their tokens.
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
"""Who there is unless others are given. The first of all users is the one who is asked first."""

_USERS: Decoder[Users] = Decoder(Annotated[Users, Meta(min_length=1)])


def read(text: str | bytes) -> Users:
    """Return the users of a JSON array; ValueError says what is wrong with it."""
    users = jsontext.read(text, _USERS, "The users are")
    ids = [user.id for user in users]
    for id_ in ids:
        if ids.count(id_) > 1:
            raise ValueError(f"There is more than one user {id_}")
    return users
