"""The typed fields that keys and values of sets are concatenated from.

Comes in: a family. Goes out: fields with their width on the wire, their nft spelling and the text of their values.
A field occupies whole 32-bit registers, so every width is rounded up to four bytes (nftables: "concatenations").
Knows nothing of which set uses which field.
"""

import sys
from enum import IntEnum
from ipaddress import ip_address

from msgspec import Struct

from fairlead.net import Family, Protocol


class Datatype(IntEnum):
    """nft's own datatype numbers, written into NFTA_SET_KEY_TYPE six bits each (nftables `include/datatype.h`)."""

    INTEGER = 4
    IPV4_ADDRESS = 7
    IPV6_ADDRESS = 8
    INET_PROTO = 12
    INET_SERVICE = 13
    MARK = 19


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
        value = packed[: self.length]
        match self.datatype:
            case Datatype.IPV4_ADDRESS | Datatype.IPV6_ADDRESS:
                return str(ip_address(value))
            case Datatype.INET_PROTO:
                number = value[0]
                known = number in Protocol.__members__.values()
                return Protocol(number).name.lower() if known else str(number)
            case Datatype.INET_SERVICE:
                return str(int.from_bytes(value, "big"))
            case Datatype.INTEGER:
                return str(int.from_bytes(value, sys.byteorder))
            case Datatype.MARK:
                return f"{int.from_bytes(value, sys.byteorder):#010x}"


_HOST_ORDER = {Datatype.INTEGER, Datatype.MARK}


def udata(kind: int, value: bytes) -> bytes:
    """Return one record of nft's user data: a byte of kind, a byte of length, the value (libnftnl `udata.h`)."""
    return bytes((kind, len(value))) + value


def udata_number(kind: int, value: int) -> bytes:
    """Return one record holding a number of 32 bits in host order."""
    return udata(kind, value.to_bytes(4, sys.byteorder))


_EXPRESSION, _DETAIL = 0, 1
_PAYLOAD, _META, _CONCAT, _NUMGEN = 7, 9, 13, 23
_IPV4, _IPV6, _TRANSPORT = 12, 13, 11
_L4PROTO = 16


def _payload(spelling: str, datatype: Datatype, length: int, *, header: int, member: int) -> Field:
    detail = udata_number(0, header) + udata_number(1, member)
    return Field(spelling, datatype, length, udata_number(_EXPRESSION, _PAYLOAD) + udata(_DETAIL, detail))


SOURCE_PORT = _payload("th sport", Datatype.INET_SERVICE, 2, header=_TRANSPORT, member=1)
SOURCE_IPV4 = _payload("ip saddr", Datatype.IPV4_ADDRESS, 4, header=_IPV4, member=11)
DESTINATION_IPV4 = _payload("ip daddr", Datatype.IPV4_ADDRESS, 4, header=_IPV4, member=12)
SOURCE_IPV6 = _payload("ip6 saddr", Datatype.IPV6_ADDRESS, 16, header=_IPV6, member=8)
DESTINATION_IPV6 = _payload("ip6 daddr", Datatype.IPV6_ADDRESS, 16, header=_IPV6, member=9)
DESTINATION_PORT = _payload("th dport", Datatype.INET_SERVICE, 2, header=_TRANSPORT, member=2)
L4PROTO = Field(
    "meta l4proto",
    Datatype.INET_PROTO,
    1,
    udata_number(_EXPRESSION, _META) + udata(_DETAIL, udata_number(0, _L4PROTO)),
)
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
            return 1 if single.datatype in _HOST_ORDER else 2
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
