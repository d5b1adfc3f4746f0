"""`python -I -S common/probe.py PORT PATH`: exits 0 when this container's own server answers 200.

What health checks run in each container every few seconds, so it imports nothing but sockets: on a busy machine a dozen
checks that import an HTTP client take the time that the servers they ask would need.
"""

import socket
import sys

PATIENCE_S = 8.0


def answers(port: int, path: str) -> bool:
    """Whether the server on this port of loopback has 200 for the path."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            return connection.makefile("rb").readline().split()[1:2] == [b"200"]
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not answers(int(sys.argv[1]), sys.argv[2]))
