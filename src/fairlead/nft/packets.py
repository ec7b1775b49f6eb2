"""A packet with its connection, what surrounds it on a host, and what expressions load of both.

Comes in: values. Goes out: bytes as the kernel puts them into registers. UnknownError, never a guess, for what is not
known of a packet. Source: kernel `net/netfilter/nft_payload.c`, `nft_meta.c`, `nft_ct.c`, `nft_fib.c`.
"""

import sys
from collections.abc import Mapping
from typing import assert_never

from msgspec import Struct

from fairlead.net import Address, Family, Port, Prefix
from fairlead.nft.expressions import CtKey, Direction, FibFlag, Header, MetaKey
from fairlead.nft.verdicts import Verdict

WORD = 4
CT_NEW, CT_ESTABLISHED = 8, 2
CT_STATUS_SNAT, CT_STATUS_DNAT = 16, 32
_NAME_LENGTH = 16
_ROUTE_UNICAST, _ROUTE_LOCAL = 1, 2
_ICMP = (1, 58)
_ETHERTYPES = {Family.IPV4: 0x0800, Family.IPV6: 0x86DD}
_NFPROTOS = {Family.IPV4: 2, Family.IPV6: 10}


class UnknownError(ValueError):
    """The packet's way depends on something that is not known here."""


class Ends(Struct, frozen=True):
    """The two ends of one direction's packets of a connection."""

    source: Address
    destination: Address
    source_port: Port
    destination_port: Port

    def reversed(self) -> "Ends":
        """The ends as the answers have them."""
        return Ends(self.destination, self.source, self.destination_port, self.source_port)


class Packet(Struct, frozen=True, kw_only=True):
    """The headers of a packet and the context that goes with it.

    An interface is "" where the packet has none, and None where it is not known. `ct_state` and `ct_status` are the
    bits of `ct state` and `ct status`: a first packet is new, translated in nothing, and its own `original`.
    """

    source: Address
    destination: Address
    protocol: int
    source_port: Port = Port(0)
    destination_port: Port = Port(0)
    icmp_type: int | None = None
    mark: int = 0
    priority: int = 0
    iifname: str | None = None
    oifname: str | None = None
    ct_state: int = CT_NEW
    ct_status: int = 0
    ct_mark: int = 0
    ct_direction: Direction = Direction.ORIGINAL
    original: Ends | None = None

    @property
    def ends(self) -> Ends:
        """The two ends as the headers have them now."""
        return Ends(self.source, self.destination, self.source_port, self.destination_port)


class Remembered(Struct, frozen=True):
    """A row that a rule has added: its value, and the moment in milliseconds at which it expires, if it does."""

    value: bytes | Verdict | None = None
    expires: int | None = None


State = Mapping[tuple[str, str], Mapping[bytes, Remembered]]
"""The rows that rules have added, by the names of table and set."""


class Surroundings(Struct, frozen=True):
    """What the kernel would ask elsewhere.

    The host's own addresses; the numbers its generator will draw, used up in order, each modulo what it is drawn from,
    and 0 after the last; the interface by which each prefix is reached; the time in milliseconds; and the rows that
    rules have added so far.
    """

    local: frozenset[Address] = frozenset()
    numbers: tuple[int, ...] = ()
    routes: tuple[tuple[Prefix, str], ...] = ()
    now: int = 0
    state: State = {}

    def is_local(self, address: Address) -> bool:
        """Whether the host holds an address: one of `local`, 127.0.0.0/8 or ::1."""
        packed = address.packed
        return address in self.local or (packed[0] == 127 if len(packed) == 4 else packed == bytes(15) + b"\1")

    def interface_to(self, address: Address) -> str | None:
        """The interface by which an address is reached, by the longest prefix; None where that is not known."""
        if self.is_local(address):
            return "lo"
        fitting = [(prefix.length, name) for prefix, name in self.routes if address in prefix]
        return max(fitting)[1] if fitting else None


def host(value: int) -> bytes:
    """Return a number of 32 bits as it stands in a register in the host's order."""
    return value.to_bytes(WORD, sys.byteorder)


def load_payload(packet: Packet, header: Header, offset: int, length: int) -> bytes:
    """Return bytes of a header. Raises UnknownError for those a Packet does not carry."""
    addresses = packet.source.packed + packet.destination.packed
    four = packet.source.family is Family.IPV4
    spans = {
        Header.NETWORK: ((12 if four else 8, addresses), (9 if four else 6, bytes((packet.protocol,)))),
        Header.TRANSPORT: ((0, _transport(packet)),),
    }
    for start, known in spans[header]:
        if start <= offset and offset + length <= start + len(known):
            return known[offset - start : offset - start + length]
    raise UnknownError(f"{length} bytes at {offset} of the {header.name.lower()} header")


def _transport(packet: Packet) -> bytes:
    if packet.protocol in _ICMP:
        return b"" if packet.icmp_type is None else bytes((packet.icmp_type,))
    return packet.source_port.to_bytes(2, "big") + packet.destination_port.to_bytes(2, "big")


def load_meta(packet: Packet, key: MetaKey) -> bytes:
    """Return a piece of the packet's context. Raises UnknownError for what a Packet does not carry."""
    match key:
        case MetaKey.MARK:
            return host(packet.mark)
        case MetaKey.PRIORITY:
            return host(packet.priority)
        case MetaKey.L4PROTO:
            return bytes((packet.protocol,))
        case MetaKey.NFPROTO:
            return bytes((_NFPROTOS[packet.source.family],))
        case MetaKey.PROTOCOL:
            return _ETHERTYPES[packet.source.family].to_bytes(2, "big")
        case MetaKey.IIFNAME:
            return _name(packet.iifname, key)
        case MetaKey.OIFNAME:
            return _name(packet.oifname, key)
        case MetaKey.IIF | MetaKey.OIF | MetaKey.IIFTYPE | MetaKey.PKTTYPE:
            raise UnknownError(f"{key.name.lower()} of the packet")
        case _:
            assert_never(key)


def _name(interface: str | None, key: MetaKey) -> bytes:
    if interface is None:
        raise UnknownError(f"{key.name.lower()} of the packet")
    return interface.encode().ljust(_NAME_LENGTH, b"\0")


def load_connection(packet: Packet, original: Ends, key: CtKey, direction: Direction | None) -> bytes:
    """Return a piece of the packet's connection. Raises UnknownError for what is not known of it."""
    match key:
        case CtKey.STATE:
            return host(packet.ct_state)
        case CtKey.STATUS:
            return host(packet.ct_status)
        case CtKey.MARK:
            return host(packet.ct_mark)
        case CtKey.DIRECTION:
            return bytes((packet.ct_direction,))
        case CtKey.PROTOCOL:
            return bytes((packet.protocol,))
        case CtKey.ID:
            raise UnknownError("the number of the connection")
        case _:
            return _end(_ends_of(packet, original, direction), key)


def _ends_of(packet: Packet, original: Ends, direction: Direction | None) -> Ends:
    if direction is Direction.ORIGINAL:
        return original
    if direction is None or packet.original is not None or packet.ct_status & CT_STATUS_SNAT:
        raise UnknownError("what the answers of the connection look like")
    return packet.ends.reversed()


def _end(ends: Ends, key: CtKey) -> bytes:
    four = ends.source.family is Family.IPV4
    match key:
        case CtKey.PROTO_SRC:
            return ends.source_port.to_bytes(2, "big")
        case CtKey.PROTO_DST:
            return ends.destination_port.to_bytes(2, "big")
        case CtKey.SRC_IP | CtKey.SRC_IP6 if four is (key is CtKey.SRC_IP):
            return ends.source.packed
        case CtKey.DST_IP | CtKey.DST_IP6 if four is (key is CtKey.DST_IP):
            return ends.destination.packed
        case _:
            raise UnknownError(f"{key.name.lower()} of a connection of another family")


def load_route_type(packet: Packet, surroundings: Surroundings, flags: int) -> bytes:
    """Return what kind of address the routing table says one end has. Raises UnknownError for other questions."""
    if flags not in (FibFlag.SADDR, FibFlag.DADDR):
        raise UnknownError(f"a look into the routing table with flags {flags}")
    address = packet.source if flags == FibFlag.SADDR else packet.destination
    return host(_ROUTE_LOCAL if surroundings.is_local(address) else _ROUTE_UNICAST)
