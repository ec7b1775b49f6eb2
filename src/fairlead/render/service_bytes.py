"""Keys and values of the service table's rows as packed bytes, as the registers hold them."""

import sys
from collections.abc import Sequence

from fairlead.model import AddressRange, Backend, FrontendKey
from fairlead.net import Family, Port, Prefix


class _PackedPorts(dict[int, bytes]):
    def __missing__(self, port: int) -> bytes:
        packed = self[port] = port.to_bytes(2, "big") + bytes(2)
        return packed


class _PackedNumbers(dict[int, bytes]):
    def __missing__(self, number: int) -> bytes:
        packed = self[number] = number.to_bytes(4, sys.byteorder)
        return packed


PORTS: dict[int, bytes] = _PackedPorts()
"""A port as a field of a key: network order, padded to a register. Filled on demand."""

INDEXES: dict[int, bytes] = _PackedNumbers()
"""A backend's number as `numgen` draws it: 32 bits in host order. Filled on demand."""

_PROTOCOLS = {number: bytes((number, 0, 0, 0)) for number in range(256)}


def pack_frontend(key: FrontendKey) -> bytes:
    """Return address, protocol and port."""
    return key.address.packed + _PROTOCOLS[key.protocol] + PORTS[key.port]


def pack_backend(backend: Backend) -> bytes:
    """Return address and port."""
    return backend.address.packed + PORTS[backend.port]


def pack_source_range(frontend: bytes, sources: AddressRange) -> bytes:
    """Return a row of ranges: a packed frontend with the first address, and again with the last one."""
    return frontend + sources.first.packed + frontend + sources.last.packed


def leading_bytes(prefixes: Sequence[Prefix], family: Family) -> tuple[bytes, ...]:
    """Return the byte strings with which exactly the packed addresses inside one of `prefixes` begin.

    A prefix that ends within a byte becomes one string for each value of that byte, 128 at most.
    """
    found: list[bytes] = []
    for prefix in prefixes:
        if prefix.family is not family:
            continue
        whole, rest = divmod(prefix.length, 8)
        packed = prefix.address.packed
        if not rest:
            found.append(packed[:whole])
            continue
        first = packed[whole]
        found += (packed[:whole] + bytes((first + step,)) for step in range(1 << (8 - rest)))
    return tuple(found)


def unpack_port(packed: bytes) -> Port:
    """Return the port of a packed field."""
    return Port(int.from_bytes(packed[:2], "big"))
