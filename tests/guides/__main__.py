"""Prints the blocks with these keys, for a shell to run."""

import sys

from tests.guides.blocks import block

sys.stdout.write("".join(block(key) for key in sys.argv[1:]))
