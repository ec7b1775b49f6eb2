"""A program of its own that serves all pods of a namespace: whoever connects gets back the first bytes it sends."""

import socket
import sys


def serve(port: int) -> None:
    """Serve one client after the other, for ever."""
    listener = socket.create_server(("0.0.0.0", port), backlog=4096)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while True:
        client, _ = listener.accept()
        with client:
            client.settimeout(1.0)
            try:
                client.sendall(client.recv(100))
            except OSError:
                continue


if __name__ == "__main__":
    serve(int(sys.argv[1]))
