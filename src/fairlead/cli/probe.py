"""Sends one real connection and says in a word what the kernel did with it.

Run as a program of its own, where the packet is to start, with the words PROTOCOL ADDRESS PORT SECONDS. It imports
nothing of this package, so that it starts at once. Outcomes: answered, refused, unreachable, silence.
"""

import errno
import socket
import sys

_DATAGRAM = b"fl\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
"""A DNS query (RFC 1035) for the root's name servers: DNS servers answer nothing else, and others do not mind."""
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH)


def probe(protocol: str, address: str, port: int, seconds: float) -> str:
    """Connect over TCP, or send a datagram and wait for its answer; return the outcome."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as caller:
        caller.settimeout(seconds)
        try:
            caller.connect((address, port))
            if kind is socket.SOCK_DGRAM:
                caller.send(_DATAGRAM)
                caller.recv(1)
        except TimeoutError:
            return "silence"
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:
            if error.errno in _UNREACHABLE:
                return "unreachable"
            return f"{errno.errorcode.get(error.errno or 0, 'error')}: {error.strerror}"
    return "answered"


if __name__ == "__main__":
    print(probe(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
