"""Packets that rules send to listeners (`log group`): one group of the current network namespace.

Comes in: a group's number. Goes out: for each packet the rule's prefix and the packet's first bytes. Refuses to know
what either means. Source: kernel `include/uapi/linux/netfilter/nfnetlink_log.h`.
"""

import os
import socket
import struct
from collections.abc import Iterator

from msgspec import Struct

from fairlead.drivers.errors import FairleadError

_NETFILTER, _REQUEST, _ACK, _ERROR = 12, 1, 4, 2
_PACKET, _CONFIG = 0x0400, 0x0401
_COMMAND, _MODE, _BIND, _COPY_PACKET = 1, 2, 1, 2
_PAYLOAD, _PREFIX = 9, 10
_HEADER = struct.Struct("=IHHIIBB")


class Logged(Struct, frozen=True):
    """One packet: the prefix of the rule, and the packet from its network header on."""

    prefix: str
    packet: bytes


class LogSocket:
    """Listens to a group; `fileno` becomes readable. Raises FairleadError where the kernel cannot."""

    def __init__(self, group: int, copied: int = 64) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
            self._socket.bind((0, 0))
            self._configure(group, _COMMAND, struct.pack("=B", _BIND))
            self._configure(group, _MODE, struct.pack(">IBB", copied, _COPY_PACKET, 0))
            self._socket.setblocking(False)
        except OSError as error:
            remedy = "load nfnetlink_log, or run the agent without --log-denied"
            raise FairleadError(f"Linux refused to listen to log group {group}: {error.strerror}", remedy) from error

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def read(self) -> list[Logged]:
        """The packets at hand; those that did not fit into the socket's buffer are lost."""
        found: list[Logged] = []
        while True:
            try:
                data = self._socket.recv(1 << 17)
            except OSError:  # nothing more, or some were lost
                return found
            found += (parse_logged(body) for kind, body in _messages(data) if kind == _PACKET)

    def _configure(self, group: int, attribute: int, value: bytes) -> None:
        padded = value + bytes(-len(value) % 4)
        body = struct.pack("=HH", 4 + len(value), attribute) + padded
        length = _HEADER.size + 2 + len(body)
        head = _HEADER.pack(length, _CONFIG, _REQUEST | _ACK, 0, 0, socket.AF_UNSPEC, 0)
        self._socket.send(head + struct.pack(">H", group) + body)
        for kind, answer in _messages(self._socket.recv(4096)):
            number = -struct.unpack_from("=i", answer)[0] if kind == _ERROR else 0
            if number:
                raise OSError(number, os.strerror(number))


def parse_logged(body: bytes) -> Logged:
    """The packet in one message, after the netlink header."""
    prefix, packet, at = "", b"", 4
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if length < 4:
            break
        value = body[at + 4 : at + length]
        if kind == _PREFIX:
            prefix = value.rstrip(b"\0").decode(errors="replace")
        elif kind == _PAYLOAD:
            packet = value
        at += (length + 3) & ~3
    return Logged(prefix, packet)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        yield kind, data[at + 16 : at + length]
        at += (length + 3) & ~3
