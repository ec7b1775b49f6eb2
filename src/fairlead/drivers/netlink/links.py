"""Links, addresses, routes and neighbours of one network namespace, over rtnetlink.

Comes in: requests, as values that say in words what they ask. Goes out: one send per batch, and an error that names the
request the kernel refused. Refuses to know what the links are for. Callers choose interface indexes themselves, so that
a link and everything on it can be asked for in the same batch. Source: rtnetlink(7) and the kernel's headers
if_link.h, rtnetlink.h, neighbour.h and veth.h.
"""

import os
import socket
import struct
from collections.abc import Iterator, Sequence

from msgspec import Struct

from fairlead.drivers.errors import FairleadError
from fairlead.net import Address, Family, Prefix

LOOPBACK = 1
"""The index of `lo` in every namespace."""

_REQUEST, _ACK, _REPLACE, _EXCL, _CREATE, _DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x300
_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _NEWROUTE, _DELROUTE, _GETROUTE, _NEWNEIGH = 16, 17, 18, 20, 24, 25, 26, 28
_IFF_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_AF_SPEC = 1, 3, 10, 18, 26
_IFLA_OPERSTATE, _OPERATIONAL = 16, 6
_IFLA_NET_NS_FD, _IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES = 28, 31, 32
_INFO_KIND, _INFO_DATA, _VETH_PEER, _BR_MCAST_SNOOPING = 1, 2, 1, 23
_INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE = 8, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_F_NODAD = 1, 2, 0x2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 7, 15
_TABLE_MAIN, _PROTO_STATIC, _SCOPE_LINK, _SCOPE_UNIVERSE, _ONLINK = 254, 4, 253, 0, 4
_TABLE_LOCAL, _SCOPE_HOST = 255, 254
_UNICAST, _LOCAL, _UNREACHABLE = 1, 2, 7
_NEWRULE, _TO_TABLE, _FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE, _FRA_FWMASK = 32, 1, 6, 10, 15, 16
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT = 1, 2, 0x80
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_ERROR, _DONE = 2, 3
_ACK_TLVS = 0x200
_MOST = 64  # requests in flight: the kernel drops answers that overflow the receive buffer, 270 of them by default

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_RULE = struct.Struct("=BBBBBxxBI")
_NEIGH = struct.Struct("=BxxxiHBB")
_ATTR = struct.Struct("=HH")


class Request(Struct, frozen=True):
    """One change asked of the kernel; `says` is how an error names it."""

    says: str
    kind: int
    flags: int
    body: bytes


class VethEnd(Struct, frozen=True, kw_only=True):
    """One end of a veth pair. `netns` None means the namespace of the socket; `master` is a bridge's index, or 0."""

    index: int
    name: str
    mac: bytes
    netns: int | None = None
    master: int = 0


class Link(Struct, frozen=True):
    """An interface as the kernel lists it."""

    index: int
    name: str
    up: bool


class LinkError(FairleadError):
    """The kernel refused a request; `code` is its errno."""

    def __init__(self, says: str, code: int, detail: str) -> None:
        reason = f"{os.strerror(code)} ({detail})" if detail else os.strerror(code)
        super().__init__(f"Linux refused to {says}: {reason}", "look at `ip addr` and `ip route` where this happened")
        self.code = code


def _attr(kind: int, value: bytes) -> bytes:
    return _ATTR.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


_NUMBER_OF = {Family.IPV4: int(socket.AF_INET), Family.IPV6: int(socket.AF_INET6)}


def _number(kind: int, value: int) -> bytes:
    return _attr(kind, struct.pack("=I", value))


def _name(name: str) -> bytes:
    assert len(name) < 16, f"{name!r} is longer than an interface name may be"
    return _attr(_IFLA_IFNAME, name.encode() + b"\0")


def _family(address: Address) -> int:
    return int(socket.AF_INET if address.family is Family.IPV4 else socket.AF_INET6)


def _end(end: VethEnd, flags: int, extra: bytes = b"") -> bytes:
    body = _LINK.pack(0, 0, end.index, flags, _IFF_UP)
    body += _name(end.name) + _attr(_IFLA_ADDRESS, end.mac)
    body += _number(_IFLA_NUM_TX_QUEUES, 1) + _number(_IFLA_NUM_RX_QUEUES, 1)  # else one per possible processor
    if end.netns is not None:
        body += _number(_IFLA_NET_NS_FD, end.netns)
    if end.master:
        body += _number(_IFLA_MASTER, end.master)
    return body + extra


def create_veth(end: VethEnd, peer: VethEnd) -> Request:
    """Make a veth pair, each end directly in its namespace; `end` comes up, `peer` waits for `set_up`.

    The kernel makes the peer first, and an end without its other end cannot be up.
    """
    info = _attr(_INFO_KIND, b"veth") + _attr(_INFO_DATA, _attr(_VETH_PEER, _end(peer, 0)))
    says = f"create the veth pair {end.name} - {peer.name}"
    return Request(says, _NEWLINK, _CREATE | _EXCL, _end(end, _IFF_UP, _attr(_IFLA_LINKINFO, info)))


def create_bridge(index: int, name: str, mac: bytes) -> Request:
    """Make a bridge, up, without spanning tree and without multicast snooping: it forwards from its first frame."""
    info = _attr(_INFO_KIND, b"bridge") + _attr(_INFO_DATA, _attr(_BR_MCAST_SNOOPING, b"\0"))
    body = _LINK.pack(0, 0, index, _IFF_UP, _IFF_UP) + _name(name) + _attr(_IFLA_ADDRESS, mac)
    return Request(f"create the bridge {name}", _NEWLINK, _CREATE | _EXCL, body + _attr(_IFLA_LINKINFO, info))


def without_link_local(index: int) -> Request:
    """Keep IPv6 from giving the link an address of its own choice (and from probing and soliciting for it)."""
    mode = _attr(_INET6_ADDR_GEN_MODE, bytes([_ADDR_GEN_NONE]))
    body = _LINK.pack(0, 0, index, 0, 0) + _attr(_IFLA_AF_SPEC, _attr(int(socket.AF_INET6), mode))
    return Request(f"switch off link-local addresses of interface {index}", _NEWLINK, 0, body)


def set_up(index: int) -> Request:
    """Bring a link up."""
    return Request(f"bring interface {index} up", _NEWLINK, 0, _LINK.pack(0, 0, index, _IFF_UP, _IFF_UP))


def remove_link(name: str) -> Request:
    """Remove a link and, of a veth pair, the other end; its routes and neighbours go along."""
    return Request(f"remove the interface {name}", _DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _name(name))


def add_address(index: int, address: Address, length: int) -> Request:
    """Give a link an address, usable at once."""
    body = _ADDR.pack(_family(address), length, _IFA_F_NODAD, 0, index)
    body += _attr(_IFA_LOCAL, address.packed) + _attr(_IFA_ADDRESS, address.packed)
    return Request(f"add the address {address}/{length} to interface {index}", _NEWADDR, _CREATE | _EXCL, body)


def add_route(
    destination: Prefix,
    *,
    interface: int | None = None,
    via: Address | None = None,
    source: Address | None = None,
    table: int = _TABLE_MAIN,
) -> Request:
    """Route `destination` out of `interface`: through `via`, taken to be on the link, or straight to the host.

    Without an interface, `via` must be on the link of a route there is. Local programs send from `source`, where it is
    given. A route that is there already is replaced.
    """
    scope = _SCOPE_LINK if via is None else _SCOPE_UNIVERSE
    flags = 0 if via is None or interface is None else _ONLINK
    body = _route(destination, scope, _UNICAST, flags, table)
    body += b"" if interface is None else _number(_RTA_OIF, interface)
    if via is not None:
        body += _attr(_RTA_GATEWAY, via.packed)
    if source is not None:
        body += _attr(_RTA_PREFSRC, source.packed)
    return Request(
        f"route {destination} over interface {interface}" if interface else f"route {destination} by {via}",
        _NEWROUTE,
        _CREATE | _REPLACE,
        body,
    )


def add_unreachable(destination: Prefix) -> Request:
    """Have packets for `destination` answered with an ICMP unreachable."""
    body = _route(destination, _SCOPE_UNIVERSE, _UNREACHABLE, 0)
    return Request(f"make {destination} unreachable", _NEWROUTE, _CREATE | _REPLACE, body)


def remove_route(destination: Prefix) -> Request:
    """Remove the route to exactly `destination`."""
    return Request(f"remove the route to {destination}", _DELROUTE, 0, _route(destination, 255, 0, 0))


def add_local(destination: Prefix) -> Request:
    """Take every address of `destination` for one of this host's own, without an interface that has it."""
    body = _route(destination, _SCOPE_HOST, _LOCAL, 0, _TABLE_LOCAL) + _number(_RTA_OIF, LOOPBACK)
    return Request(f"take {destination} for our own", _NEWROUTE, _CREATE | _REPLACE, body)


def remove_local(destination: Prefix) -> Request:
    """Take the addresses of `destination` for ours no more."""
    body = _route(destination, _SCOPE_HOST, _LOCAL, 0, _TABLE_LOCAL) + _number(_RTA_OIF, LOOPBACK)
    return Request(f"give {destination} up", _DELROUTE, 0, body)


def _route(destination: Prefix, scope: int, kind: int, flags: int, table: int = _TABLE_MAIN) -> bytes:
    family = _family(destination.address)
    small = table if table <= _TABLE_LOCAL else 0
    body = _ROUTE.pack(family, destination.length, 0, 0, small, _PROTO_STATIC, scope, kind, flags)
    body += b"" if small else _number(_RTA_TABLE, table)
    return body + (_attr(_RTA_DST, destination.address.packed) if destination.length else b"")


def add_rule(family: Family, *, mark: int, table: int) -> Request:
    """Have packets with all bits of `mark` routed by `table`; is refused (EEXIST) where the rule is there already.

    The table's number is the rule's priority too: the kernel takes rules of different priorities for different ones.
    """
    body = _RULE.pack(_NUMBER_OF[family], 0, 0, 0, 0, _TO_TABLE, 0)
    body += (
        _number(_FRA_PRIORITY, table)
        + _number(_FRA_FWMARK, mark)
        + _number(_FRA_FWMASK, mark)
        + _number(_FRA_TABLE, table)
    )
    return Request(f"route packets marked {mark:#x} by table {table}", _NEWRULE, _CREATE | _EXCL, body)


def add_neighbour(index: int, address: Address, mac: bytes) -> Request:
    """Say once for all which hardware address `address` has on a link; permanent entries fall under no table limit."""
    body = _NEIGH.pack(_family(address), index, _NUD_PERMANENT, 0, 0)
    body += _attr(_NDA_DST, address.packed) + _attr(_NDA_LLADDR, mac)
    return Request(f"add the neighbour {address} on interface {index}", _NEWNEIGH, _CREATE | _REPLACE, body)


class LinkSocket:
    """An rtnetlink socket of the namespace it was opened in; use `entered(fd)` around the constructor for another.

    Costs one descriptor. Calls are synchronous: the kernel has done the work when `send` returns.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._sequence = 0

    def apply(self, requests: Sequence[Request]) -> None:
        """Ask for every request in order, 64 to a send. Raises LinkError for the first one that was refused.

        Within a send the kernel goes on after a refusal, so what follows it may be done: undoing is the caller's.
        """
        for start in range(0, len(requests), _MOST):
            self._apply_some(requests[start : start + _MOST])

    def _apply_some(self, requests: Sequence[Request]) -> None:
        first = self._sequence + 1
        self._socket.send(b"".join(self._frame(request) for request in requests))
        refused: dict[int, tuple[int, str]] = {}
        answered = 0
        while answered < len(requests):
            for kind, flags, sequence, body in _messages(self._socket.recv(65536)):
                if kind == _ERROR and sequence >= first:
                    answered += 1
                    code = -struct.unpack_from("=i", body)[0]
                    if code:
                        refused[sequence - first] = (code, _explanation(body) if flags & _ACK_TLVS else "")
        if refused:
            number = min(refused)
            raise LinkError(requests[number].says, *refused[number])

    def links(self) -> tuple[Link, ...]:
        """Every interface of the namespace, by index."""
        self._sequence += 1
        body = _LINK.pack(0, 0, 0, 0, 0)
        header = _HEADER.pack(16 + len(body), _GETLINK, _REQUEST | _DUMP, self._sequence, 0)
        self._socket.send(header + body)
        found: list[Link] = []
        while True:
            for kind, _, _, message in _messages(self._socket.recv(1 << 18)):
                if kind == _DONE:
                    return tuple(sorted(found, key=lambda link: link.index))
                if kind == _NEWLINK:
                    found.append(_parse_link(message))

    def local_addresses(self) -> tuple[Address, ...]:
        """The addresses taken by `add_local`, by us or an earlier life of ours."""
        self._sequence += 1
        body = _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)
        header = _HEADER.pack(16 + len(body), _GETROUTE, _REQUEST | _DUMP, self._sequence, 0)
        self._socket.send(header + body)
        found: list[Address] = []
        while True:
            for kind, _, _, message in _messages(self._socket.recv(1 << 18)):
                if kind == _DONE:
                    return tuple(sorted(found))
                if kind == _NEWROUTE:
                    found += _taken_address(message)

    def carries(self, index: int) -> bool:
        """Whether a link takes packets: the kernel comes to that some time after the other end is up.

        Until then it drops what is sent, and says so by the link's operational state (net/core/link_watch.c).
        Raises LinkError when there is no such link.
        """
        self._sequence += 1
        body = _LINK.pack(0, 0, index, 0, 0)
        self._socket.send(_HEADER.pack(16 + len(body), _GETLINK, _REQUEST, self._sequence, 0) + body)
        while True:
            for kind, _, sequence, message in _messages(self._socket.recv(65536)):
                if sequence == self._sequence and kind == _ERROR:
                    raise LinkError(f"show interface {index}", -struct.unpack_from("=i", message)[0], "")
                if sequence == self._sequence and kind == _NEWLINK:
                    states = (value for name, value in _attributes(message[_LINK.size :]) if name == _IFLA_OPERSTATE)
                    return next(states, b"\0")[0] == _OPERATIONAL

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def _frame(self, request: Request) -> bytes:
        self._sequence += 1
        length = _HEADER.size + len(request.body)
        return _HEADER.pack(length, request.kind, request.flags | _REQUEST | _ACK, self._sequence, 0) + request.body


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield kind, flags, sequence number and body of each message of a datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        yield kind, flags, sequence, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = _ATTR.unpack_from(data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def _explanation(body: bytes) -> str:
    """The kernel's own words in an extended acknowledgement, which follow the code and the bare header."""
    return next((value.rstrip(b"\0").decode() for kind, value in _attributes(body[20:]) if kind == 1), "")


def _taken_address(body: bytes) -> Iterator[Address]:
    """The destination of a route that makes one address local, where somebody set it."""
    family, length, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(body)
    size = {int(socket.AF_INET): 4, int(socket.AF_INET6): 16}.get(family, 0)
    if (table, protocol, kind, length) == (_TABLE_LOCAL, _PROTO_STATIC, _LOCAL, 8 * size):
        yield from (Address(value) for name, value in _attributes(body[_ROUTE.size :]) if name == _RTA_DST)


def _parse_link(body: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    name = next(value for kind, value in _attributes(body[_LINK.size :]) if kind == _IFLA_IFNAME)
    return Link(index, name.rstrip(b"\0").decode(), bool(flags & _IFF_UP))
