"""The interfaces of the current network namespace that have addresses of their own (ioctl SIOCGIFADDR, proc_net(5))."""

import fcntl
import socket
import struct
from pathlib import Path

_SIOCGIFADDR, _SIOCGIFHWADDR, _SIOCGIFFLAGS = 0x8915, 0x8927, 0x8913
_ETHERNET, _UP, _RUNNING, _NO_ARP = 1, 1, 0x40, 0x80
_GLOBAL = "00"


def addressed_interfaces() -> frozenset[str]:
    """The Ethernet interfaces that are up, speak ARP and have an address others can reach."""
    found: set[str] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        six = _with_ipv6()
        for _, name in socket.if_nameindex():
            request = struct.pack("16s240x", name.encode())
            try:
                kind = int.from_bytes(fcntl.ioctl(asking, _SIOCGIFHWADDR, request)[16:18], "little")
                flags = int.from_bytes(fcntl.ioctl(asking, _SIOCGIFFLAGS, request)[16:18], "little")
                if kind != _ETHERNET or not flags & _UP or flags & _NO_ARP:
                    continue
                if name not in six:
                    fcntl.ioctl(asking, _SIOCGIFADDR, request)
            except OSError:
                continue
            found.add(name)
    return frozenset(found)


def has_carrier(name: str) -> bool:
    """Whether an interface is up and its link is; false where it is gone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, struct.pack("16s240x", name.encode()))
        except OSError:
            return False
    flags = int.from_bytes(answer[16:18], "little")
    return flags & (_UP | _RUNNING) == _UP | _RUNNING


def _with_ipv6() -> frozenset[str]:
    try:
        lines = Path("/proc/self/net/if_inet6").read_text().splitlines()
    except OSError:
        return frozenset()
    words = [line.split() for line in lines]
    return frozenset(each[5] for each in words if each[3] == _GLOBAL)
