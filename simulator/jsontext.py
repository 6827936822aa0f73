"""Decode JSON that users write, with clear errors."""

from typing import TypeVar

import msgspec
from msgspec.json import Decoder

_Wanted = TypeVar("_Wanted")


def read(text: str | bytes, decoder: Decoder[_Wanted], what: str) -> _Wanted:
    """Decode `text`; ValueError explains what is wrong. `what` is a subject with its verb."""
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    except msgspec.DecodeError as error:
        raise ValueError(f"{what} not JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} not UTF-8 text") from error
    except RecursionError as error:
        raise ValueError(f"{what} nested too deeply") from error
