"""The kernel's connection tracking: UDP flows as it remembers them, and how it is made to forget some.

Comes in: flows to forget. Goes out: flows. Refuses to know why. Speaks ctnetlink in the network namespace it was opened
in. Source: kernel `include/uapi/linux/netfilter/nfnetlink_conntrack.h`.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence

from msgspec import Struct

from fairlead.drivers.errors import FairleadError
from fairlead.net import Address, Family, Port, Protocol

_NETFILTER = 12
_GET, _DELETE = 0x0101, 0x0102
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_ERROR, _DONE = 2, 3
_TUPLE_ORIGINAL, _TUPLE_REPLY, _TUPLE_IP, _TUPLE_PROTO = 1, 2, 1, 2
_IP_SOURCE = {Family.IPV4: (1, 2), Family.IPV6: (3, 4)}
_PROTO_NUMBER, _PROTO_SOURCE, _PROTO_DESTINATION = 1, 2, 3
_HEADER = struct.Struct("=IHHIIBBH")
_FAMILY = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}


class TrackedFlow(Struct, frozen=True):
    """One UDP flow: where its sender sent it, and who answers; `token` is the kernel's own name of it."""

    destination: Address
    destination_port: Port
    answerer: Address
    answerer_port: Port
    token: bytes


class ConntrackSocket:
    """A ctnetlink socket of the current network namespace. Raises FairleadError where the kernel has none."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
            self._socket.bind((0, 0))
        except OSError as error:
            raise _refused("opening a conntrack socket", error.errno or 0) from error
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def udp_flows(self, family: Family) -> list[TrackedFlow]:
        """Every UDP flow of a family. A listing the kernel interrupts gives what was read."""
        self._send(_GET, _REQUEST | _DUMP, family, b"")
        flows: list[TrackedFlow] = []
        while True:
            for kind, body in self._receive():
                if kind == _DONE:
                    return flows
                if kind == _ERROR:
                    number = -int.from_bytes(body[:4], sys.byteorder, signed=True)
                    raise _refused("listing connections", number)
                flow = parse_flow(body[4:], family)
                if flow is not None:
                    flows.append(flow)

    def forget(self, flows: Sequence[TrackedFlow], family: Family) -> int:
        """Delete flows and return how many were still there."""
        gone = 0
        for flow in flows:
            self._send(_DELETE, _REQUEST | _ACK, family, flow.token)
            ((_, body),) = self._receive()
            number = -int.from_bytes(body[:4], sys.byteorder, signed=True)
            if number not in (0, errno.ENOENT):
                raise _refused("deleting a connection", number)
            gone += number == 0
        return gone

    def _send(self, kind: int, flags: int, family: Family, body: bytes) -> None:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0, _FAMILY[family], 0, 0)
        self._socket.send(header + body)

    def _receive(self) -> list[tuple[int, bytes]]:
        try:
            data = self._socket.recv(1 << 17)
        except OSError as error:
            raise _refused("listing connections", error.errno or 0) from error
        messages: list[tuple[int, bytes]] = []
        at = 0
        while at + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, at)
            messages.append((kind, data[at + 16 : at + length]))
            at += (length + 3) & ~3
        return messages


def parse_flow(body: bytes, family: Family) -> TrackedFlow | None:
    """The flow in the attributes of one listed connection; None where it is not UDP."""
    parts = dict(_attributes(body))
    original, reply = parts.get(_TUPLE_ORIGINAL), parts.get(_TUPLE_REPLY)
    if original is None or reply is None:
        return None
    source, destination = _IP_SOURCE[family]
    there, back = _tuple(original), _tuple(reply)
    if there.get((_TUPLE_PROTO, _PROTO_NUMBER)) != bytes((Protocol.UDP,)):
        return None
    return TrackedFlow(
        Address(there[_TUPLE_IP, destination]),
        Port(int.from_bytes(there[_TUPLE_PROTO, _PROTO_DESTINATION], "big")),
        Address(back[_TUPLE_IP, source]),
        Port(int.from_bytes(back[_TUPLE_PROTO, _PROTO_SOURCE], "big")),
        struct.pack("=HH", 4 + len(original), _TUPLE_ORIGINAL | 0x8000) + original,
    )


def _tuple(body: bytes) -> dict[tuple[int, int], bytes]:
    return {(outer, inner): value for outer, part in _attributes(body) for inner, value in _attributes(part)}


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if length < 4:
            return
        yield kind & 0x3FFF, body[at + 4 : at + length]
        at += (length + 3) & ~3


def _refused(doing: str, number: int) -> FairleadError:
    return FairleadError(
        f"Linux refused {doing}: {os.strerror(number)}",
        "flows of removed UDP endpoints end by themselves after their time-out; load nf_conntrack_netlink to end them",
    )
