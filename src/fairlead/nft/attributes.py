"""Netlink attributes, packed and parsed: length, kind, value, padded to four bytes (linux `netlink.h`, `nlattr`).

Numbers inside nftables attributes are in network order; headers are in host order. Knows no attribute by name.
"""

from collections.abc import Iterator
from struct import Struct as Layout
from struct import unpack_from

NESTED = 0x8000
_KIND_MASK = 0x3FFF
_HEADER = Layout("=HH")
_BIG_U32 = Layout(">I")
_BIG_U64 = Layout(">Q")
MESSAGE_HEADER = Layout("=IHHIIBBH")
"""`struct nlmsghdr` and `struct nfgenmsg`: length, type, flags, sequence, port, family, version, resource."""


def padded(length: int) -> int:
    """Return the bytes a value of `length` takes with its padding: those of an attribute, and of registers too."""
    return (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute with its padding."""
    return _HEADER.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def nest(kind: int, value: bytes) -> bytes:
    """Return attributes wrapped in one."""
    return _HEADER.pack(4 + len(value), kind | NESTED) + value


def number(kind: int, value: int) -> bytes:
    """Return an attribute holding 32 bits in network order; negative numbers as two's complement."""
    return _HEADER.pack(8, kind) + _BIG_U32.pack(value & 0xFFFFFFFF)


def long_number(kind: int, value: int) -> bytes:
    """Return an attribute holding 64 bits in network order."""
    return _HEADER.pack(12, kind) + _BIG_U64.pack(value)


def name(kind: int, value: str) -> bytes:
    """Return an attribute holding text with its closing zero."""
    return attribute(kind, value.encode() + b"\0")


def header(kind: int, length: int) -> bytes:
    """Return the header of an attribute whose value has `length` bytes."""
    return _HEADER.pack(4 + length, kind)


def iter_attributes(buffer: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (kind, start, end) of each attribute's value. Raises ValueError where a length does not fit."""
    while start + 4 <= end:
        length, kind = unpack_from("=HH", buffer, start)
        if length < 4 or start + length > end:
            raise ValueError(f"attribute of {length} bytes at {start} does not fit in {end}")
        yield kind & _KIND_MASK, start + 4, start + length
        start += (length + 3) & ~3


def parse_attributes(buffer: bytes, start: int = 0, end: int | None = None) -> dict[int, bytes]:
    """Return the values of attributes by kind; of doubles the last one stays."""
    stop = len(buffer) if end is None else end
    return {kind: buffer[first:last] for kind, first, last in iter_attributes(buffer, start, stop)}


def parse_list(value: bytes) -> list[bytes]:
    """Return the values of a list's elements in order, whatever their kinds."""
    return [value[first:last] for _, first, last in iter_attributes(value, 0, len(value))]


def parse_number(value: bytes) -> int:
    """Return an unsigned number in network order."""
    return int.from_bytes(value, "big")


def parse_signed(value: bytes) -> int:
    """Return a signed number in network order."""
    return int.from_bytes(value, "big", signed=True)


def parse_name(value: bytes) -> str:
    """Return text without its closing zero."""
    return value.rstrip(b"\0").decode()
