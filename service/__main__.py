"""`python -m service`."""

import os
import sys

if __name__ == "__main__":
    # NOTE: removed before aiohttp is imported, which would open the file: the keys of the
    # connections to Spotify belong in no file.
    os.environ.pop("SSLKEYLOGFILE", None)

    from service import cli

    sys.exit(cli.main(sys.argv[1:]))
