"""`python -m service`."""

import sys

from service import cli

if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
