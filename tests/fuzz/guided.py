"""Fuzz a property with atheris: `python -m tests.fuzz.guided NAME`.

Options after the name are passed to libFuzzer.
"""

import sys

import atheris

with atheris.instrument_imports(include=["service", "multipart", "json"]):
    from tests.fuzz.properties import PROPERTIES

if __name__ == "__main__":
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], PROPERTIES[name])
    atheris.Fuzz()
