"""JSON as somebody wrote it, who is told what is wrong with it."""

from typing import TypeVar

import msgspec
from msgspec.json import Decoder

_Wanted = TypeVar("_Wanted")


def read(text: str | bytes, decoder: Decoder[_Wanted], what: str) -> _Wanted:
    """Return what the decoder makes of `text`; ValueError says what is wrong with `what`."""
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as problem:
        raise ValueError(str(problem)) from problem
    except msgspec.DecodeError as problem:
        raise ValueError(f"{what} not JSON: {problem}") from problem
    except UnicodeDecodeError as problem:
        raise ValueError(f"{what} not UTF-8 text") from problem
    except RecursionError as problem:
        raise ValueError(f"{what} nested too deeply") from problem
