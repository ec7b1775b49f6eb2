"""The typed fields that keys and values of sets are concatenated from.

Comes in: a family. Goes out: fields with their width on the wire, their nft spelling and the text of their values.
A field occupies whole 32-bit registers, so every width is rounded up to four bytes (nftables: "concatenations").
Knows nothing of which set uses which field.
"""

import sys

from msgspec import Struct

from fairlead.net import Family
from fairlead.nft.datatypes import HOST_ORDER, Datatype, spell_value


class Field(Struct, frozen=True):
    """One component of a key or value: what `typeof` calls it, its datatype and its length in bytes before padding.

    `typeof` is the description of the expression that nft stores beside the set and lists it by.
    """

    spelling: str
    datatype: Datatype
    length: int
    typeof: bytes

    @property
    def width(self) -> int:
        """The bytes the field occupies in a key: whole registers."""
        return (self.length + 3) & ~3

    def spell(self, packed: bytes) -> str:
        """Return the nft spelling of one value, padding allowed at its end."""
        return spell_value(self.datatype, packed[: self.length])


def udata(kind: int, value: bytes) -> bytes:
    """Return one record of nft's user data: a byte of kind, a byte of length, the value (libnftnl `udata.h`)."""
    return bytes((kind, len(value))) + value


def udata_number(kind: int, value: int) -> bytes:
    """Return one record holding a number of 32 bits in host order."""
    return udata(kind, value.to_bytes(4, sys.byteorder))


_EXPRESSION, _DETAIL = 0, 1
_PAYLOAD, _META, _CT, _CONCAT, _NUMGEN = 7, 9, 12, 13, 23
_IPV4, _IPV6, _TRANSPORT, _ICMP, _ICMPV6 = 12, 13, 11, 4, 14
_NO_DIRECTION = 0xFFFFFFFF


def _payload(spelling: str, datatype: Datatype, length: int, *, header: int, member: int) -> Field:
    detail = udata_number(0, header) + udata_number(1, member)
    return Field(spelling, datatype, length, udata_number(_EXPRESSION, _PAYLOAD) + udata(_DETAIL, detail))


def _meta(spelling: str, datatype: Datatype, length: int, *, key: int) -> Field:
    return Field(spelling, datatype, length, udata_number(_EXPRESSION, _META) + udata(_DETAIL, udata_number(0, key)))


def _ct(spelling: str, datatype: Datatype, length: int, *, key: int, direction: int = _NO_DIRECTION) -> Field:
    detail = udata_number(0, key) + udata_number(1, direction)
    return Field(spelling, datatype, length, udata_number(_EXPRESSION, _CT) + udata(_DETAIL, detail))


SOURCE_IPV4 = _payload("ip saddr", Datatype.IPV4_ADDRESS, 4, header=_IPV4, member=11)
DESTINATION_IPV4 = _payload("ip daddr", Datatype.IPV4_ADDRESS, 4, header=_IPV4, member=12)
SOURCE_IPV6 = _payload("ip6 saddr", Datatype.IPV6_ADDRESS, 16, header=_IPV6, member=8)
DESTINATION_IPV6 = _payload("ip6 daddr", Datatype.IPV6_ADDRESS, 16, header=_IPV6, member=9)
SOURCE_PORT = _payload("th sport", Datatype.INET_SERVICE, 2, header=_TRANSPORT, member=1)
DESTINATION_PORT = _payload("th dport", Datatype.INET_SERVICE, 2, header=_TRANSPORT, member=2)
ICMP_TYPE = _payload("icmp type", Datatype.ICMP_TYPE, 1, header=_ICMP, member=1)
ICMPV6_TYPE = _payload("icmpv6 type", Datatype.ICMPV6_TYPE, 1, header=_ICMPV6, member=1)
ETHERTYPE = _meta("meta protocol", Datatype.ETHERTYPE, 2, key=1)
PRIORITY = _meta("meta priority", Datatype.CLASSID, 4, key=2)
MARK = _meta("meta mark", Datatype.MARK, 4, key=3)
IIF = _meta("iif", Datatype.IFINDEX, 4, key=4)
OIF = _meta("oif", Datatype.IFINDEX, 4, key=5)
IIFNAME = _meta("iifname", Datatype.IFNAME, 16, key=6)
OIFNAME = _meta("oifname", Datatype.IFNAME, 16, key=7)
NFPROTO = _meta("meta nfproto", Datatype.NFPROTO, 1, key=15)
L4PROTO = _meta("meta l4proto", Datatype.INET_PROTO, 1, key=16)
PKTTYPE = _meta("meta pkttype", Datatype.PACKET_TYPE, 1, key=19)
CT_DIRECTION = _ct("ct direction", Datatype.CT_DIRECTION, 1, key=1)
CT_MARK = _ct("ct mark", Datatype.MARK, 4, key=3)
CT_PROTOCOL = _ct("ct protocol", Datatype.INET_PROTO, 1, key=10)
CT_ID = _ct("ct id", Datatype.INTEGER, 4, key=23)
RANDOM_CHOICE = Field(
    "numgen random mod 2",
    Datatype.INTEGER,
    4,
    udata_number(_EXPRESSION, _NUMGEN) + udata(_DETAIL, udata_number(0, 1) + udata_number(1, 2) + udata_number(2, 0)),
)
"""An index drawn by `numgen`. The modulus is only a name here: nft needs one, and it says nothing of the range."""


def source_address(family: Family) -> Field:
    """Return the source address of a packet of `family`."""
    return SOURCE_IPV4 if family is Family.IPV4 else SOURCE_IPV6


def destination_address(family: Family) -> Field:
    """Return the destination address of a packet of `family`."""
    return DESTINATION_IPV4 if family is Family.IPV4 else DESTINATION_IPV6


def declared_length(fields: tuple[Field, ...]) -> int:
    """Return the length a set is declared with: that of a single field, or of all registers of a concatenation."""
    return fields[0].length if len(fields) == 1 else sum(field.width for field in fields)


def byte_order(fields: tuple[Field, ...]) -> int:
    """Return nft's note on the order of bytes: 1 the host's, 2 the network's, 0 that a concatenation has none."""
    match fields:
        case (single,):
            return 1 if single.datatype in HOST_ORDER else 2
        case _:
            return 0


def concatenated_type(fields: tuple[Field, ...]) -> int:
    """Return the number nft stores for a concatenation: each datatype in six bits, the first one highest."""
    number = 0
    for field in fields:
        number = number << 6 | field.datatype
    return number


def concatenated_typeof(fields: tuple[Field, ...]) -> bytes:
    """Return nft's stored description of the expressions: a single one as it is, several as a numbered list."""
    if len(fields) == 1:
        return fields[0].typeof
    parts = b"".join(udata(index, field.typeof) for index, field in enumerate(fields))
    return udata_number(_EXPRESSION, _CONCAT) + udata(_DETAIL, parts)


def spell_concatenation(fields: tuple[Field, ...], packed: bytes) -> str:
    """Return a key or value as nft writes it: the components joined by dots."""
    words: list[str] = []
    start = 0
    for field in fields:
        words.append(field.spell(packed[start : start + field.width]))
        start += field.width
    return " . ".join(words)


def spell_ranges(fields: tuple[Field, ...], first: bytes, last: bytes) -> str:
    """Return a range of keys as nft writes it: of a concatenation one in each field, a key where both ends are one."""
    words: list[str] = []
    start = 0
    for field in fields:
        low, high = (field.spell(packed[start : start + field.width]) for packed in (first, last))
        words.append(low if low == high else f"{low}-{high}")
        start += field.width
    return " . ".join(words)


def spell_milliseconds(milliseconds: int) -> str:
    """Return a time as nft writes it: `1h30m`, `250ms`."""
    words = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        words += f"{count}{unit}" if count else ""
    return words or "0s"


def ct_address(family: Family, end: str, direction: int) -> Field:
    """Return the address at one end, `saddr` or `daddr`, of a connection's packets of one direction."""
    whose = ("original", "reply")[direction]
    at = 0 if end == "saddr" else 1
    if family is Family.IPV4:
        return _ct(f"ct {whose} ip {end}", Datatype.IPV4_ADDRESS, 4, key=19 + at, direction=direction)
    return _ct(f"ct {whose} ip6 {end}", Datatype.IPV6_ADDRESS, 16, key=21 + at, direction=direction)


def ct_port(end: str, direction: int) -> Field:
    """Return the port at one end, `src` or `dst`, of a connection's packets of one direction."""
    whose = ("original", "reply")[direction]
    key = 11 if end == "src" else 12
    return _ct(f"ct {whose} proto-{end}", Datatype.INET_SERVICE, 2, key=key, direction=direction)
