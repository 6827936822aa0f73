"""Open a TCP connection: `connect.py HOST PORT`; exit with 0 if it is there within two seconds."""

import socket
import sys

if __name__ == "__main__":
    host, port = sys.argv[1:]
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError as error:
        sys.exit(str(error))
