"""IP addresses and prefixes as packed bytes: comes in as text, goes out as text or network-order bytes.

Knows nothing of interfaces, routes or who owns an address.
"""

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address, ip_network

from msgspec import Struct


class Family(Enum):
    """An IP family, spelt as `Service.spec.ipFamilies` spells it."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"

    @property
    def size(self) -> int:
        """The length of an address of this family, in bytes."""
        return 4 if self is Family.IPV4 else 16


class Address(Struct, frozen=True, order=True, gc=False):
    """One IPv4 or IPv6 address; `packed` is 4 or 16 bytes in network order."""

    packed: bytes

    @property
    def family(self) -> Family:
        """IPV4 for 4 bytes, IPV6 for 16."""
        return Family.IPV4 if len(self.packed) == 4 else Family.IPV6

    def __str__(self) -> str:
        return str(ip_address(self.packed))

    def __add__(self, offset: int) -> "Address":
        """The address `offset` after this one. Raises OverflowError past the end of the family."""
        value = int.from_bytes(self.packed, "big") + offset
        return Address(value.to_bytes(len(self.packed), "big"))


class Prefix(Struct, frozen=True, order=True, gc=False):
    """A block of addresses in CIDR form; bits of `address` past `length` are zero."""

    address: Address
    length: int

    @property
    def family(self) -> Family:
        """The family of the block's addresses."""
        return self.address.family

    @property
    def size(self) -> int:
        """How many addresses the block holds, its first and last included."""
        return 1 << (8 * len(self.address.packed) - self.length)

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"

    def __contains__(self, address: Address) -> bool:
        if len(address.packed) != len(self.address.packed):
            return False
        shift = 8 * len(address.packed) - self.length
        return int.from_bytes(address.packed, "big") >> shift == int.from_bytes(self.address.packed, "big") >> shift

    def hosts(self) -> Iterator[Address]:
        """Every address but the first and, in IPv4, the last, in rising order."""
        end = self.size - (1 if self.family is Family.IPV4 and self.length < 31 else 0)
        return (self.address + offset for offset in range(1, end))


@lru_cache(maxsize=65536)
def parse_address(text: str) -> Address:
    """Return the address that `text` spells. Raises ValueError with the offending text."""
    return Address(ip_address(text).packed)


@lru_cache(maxsize=4096)
def parse_prefix(text: str) -> Prefix:
    """Return the prefix that `text` spells, as `10.0.0.0/8` or a bare address. Host bits set raise ValueError."""
    network = ip_network(text)
    return Prefix(Address(network.network_address.packed), network.prefixlen)


@lru_cache(maxsize=4096)
def parse_lenient_prefix(text: str) -> Prefix:
    """Return the prefix that an API object spells, as API servers before 1.36 took it (KEP-4858).

    Host bits are cleared, and leading zeros of an IPv4 address mean nothing. Raises ValueError with the offending text.
    """
    address, slash, length = text.partition("/")
    if "." in address and ":" not in address:
        address = ".".join(part.lstrip("0") or "0" for part in address.split("."))
    network = ip_network(f"{address}{slash}{length}", strict=False)
    return Prefix(Address(network.network_address.packed), network.prefixlen)
