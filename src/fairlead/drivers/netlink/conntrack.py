"""The kernel's connection tracking: UDP flows as it remembers them, and how it is made to forget some.

Comes in: flows to forget. Goes out: flows. Refuses to know why. Speaks ctnetlink in the network namespace it was opened
in. Source: kernel `include/uapi/linux/netfilter/nfnetlink_conntrack.h`, and `net/netfilter/nf_internals.h` for the
flags of filters, by which the kernel (5.8 or later; earlier ones ignore them) leaves out what nobody asked for.
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
_FILTER, _FILTER_ORIGINAL, _BY_DESTINATION, _BY_PROTOCOL, _BY_DESTINATION_PORT = 25, 1, 1 << 1, 1 << 3, 1 << 5
_PROTO_NUMBER, _PROTO_SOURCE, _PROTO_DESTINATION = 1, 2, 3
_NESTED = 0x8000
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

    def udp_flows(self, family: Family, sent_to: tuple[Address, Port] | None = None) -> list[TrackedFlow]:
        """Every UDP flow of a family, or those sent to one address and port.

        A listing the kernel interrupts gives what was read.
        """
        self._send(_GET, _REQUEST | _DUMP, family, _udp_filter(family, sent_to))
        flows: list[TrackedFlow] = []
        while True:
            for kind, body in self._receive():
                if kind == _DONE:
                    return flows
                if kind == _ERROR:
                    number = -int.from_bytes(body[:4], sys.byteorder, signed=True)
                    if number == errno.EINTR:
                        return flows
                    raise _refused("listing connections", number)
                flow = parse_flow(body[4:], family)
                if flow is not None and sent_to in (None, (flow.destination, flow.destination_port)):
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
        _attribute(_TUPLE_ORIGINAL | _NESTED, original),
    )


def _udp_filter(family: Family, sent_to: tuple[Address, Port] | None) -> bytes:
    """The attributes that restrict a listing to UDP, and to one destination.

    Of IPv6 to its port alone: the kernel (6.18 too) takes equal addresses for different ones there.
    """
    flags, protocol, ip = _BY_PROTOCOL, _attribute(_PROTO_NUMBER, bytes((Protocol.UDP,))), b""
    if sent_to is not None:
        flags |= _BY_DESTINATION_PORT
        protocol += _attribute(_PROTO_DESTINATION, sent_to[1].to_bytes(2, "big"))
    if sent_to is not None and family is Family.IPV4:
        flags |= _BY_DESTINATION
        ip = _attribute(_TUPLE_IP | _NESTED, _attribute(_IP_SOURCE[family][1], sent_to[0].packed))
    wanted = _attribute(_TUPLE_ORIGINAL | _NESTED, ip + _attribute(_TUPLE_PROTO | _NESTED, protocol))
    return wanted + _attribute(_FILTER | _NESTED, _attribute(_FILTER_ORIGINAL, struct.pack("=I", flags)))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


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
