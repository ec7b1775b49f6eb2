"""Which TCP sessions of the current network namespace are established (proc_net_tcp)."""

import sys
from pathlib import Path

from msgspec import Struct

from fairlead.net import Address

_ESTABLISHED = "01"


class Session(Struct, frozen=True):
    """One established connection: the far end, and the port at this one."""

    far: Address
    far_port: int
    near_port: int


def established() -> frozenset[Session]:
    """All established TCP connections."""
    found: set[Session] = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        for words in map(str.split, lines):
            if words[3] == _ESTABLISHED:
                far, _, port = words[2].partition(":")
                found.add(Session(_address(far), int(port, 16), int(words[1].partition(":")[2], 16)))
    return frozenset(found)


def _address(text: str) -> Address:
    """The kernel writes words of four bytes, each as the number that it is on this machine."""
    words = (text[at : at + 8] for at in range(0, len(text), 8))
    return Address(b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words))
