"""The pieces that rules of the service table are made of: what they load from a packet, compare and mark.

Comes in: an address family. Goes out: expressions. Refuses to know sets and chains.
"""

import sys

from fairlead.net import Family, Prefix
from fairlead.nft.expressions import (
    Bitwise,
    Cmp,
    Comparison,
    Ct,
    CtKey,
    Expression,
    Fib,
    FibFlag,
    FibResult,
    Header,
    Meta,
    MetaKey,
    MetaSet,
    Payload,
)

MASQUERADE_MARK = 0x4000
"""The bit of the packet mark that asks for masquerade, the same as kube-proxy's default `iptablesMasqueradeBit` 14."""

_CT_STATE_NEW = 8
_CT_STATUS_DNAT = 32
_ALL_BITS = 0xFFFFFFFF
_ROUTE_LOCAL = 2


def host(value: int) -> bytes:
    """Return a number as marks and states stand in a register."""
    return value.to_bytes(4, sys.byteorder)


NEW = (Ct(0, CtKey.STATE), Bitwise(0, 0, host(_CT_STATE_NEW), host(0)), Cmp(0, Comparison.NEQ, host(0)))
"""Only the first packets of connections."""

TRANSLATED = (Ct(0, CtKey.STATUS), Bitwise(0, 0, host(_CT_STATUS_DNAT), host(0)), Cmp(0, Comparison.NEQ, host(0)))
"""Only connections whose destination was translated."""

MARK = (
    Meta(0, MetaKey.MARK),
    Bitwise(0, 0, host(_ALL_BITS ^ MASQUERADE_MARK), host(MASQUERADE_MARK)),
    MetaSet(0, MetaKey.MARK),
)
"""Ask for masquerade."""

MARKED = (
    Meta(0, MetaKey.MARK),
    Bitwise(0, 0, host(MASQUERADE_MARK), host(0)),
    Cmp(0, Comparison.EQ, host(MASQUERADE_MARK)),
    Meta(0, MetaKey.MARK),
    Bitwise(0, 0, host(_ALL_BITS ^ MASQUERADE_MARK), host(0)),
    MetaSet(0, MetaKey.MARK),
)
"""Only packets that ask for masquerade; they no longer do so after it."""

FROM_NODE = (Fib(0, FibResult.ADDRTYPE, FibFlag.SADDR), Cmp(0, Comparison.EQ, host(_ROUTE_LOCAL)))
"""Only packets whose source is an address of this node."""


class Steps:
    """Loads and comparisons of the addresses of one family."""

    def __init__(self, family: Family) -> None:
        self.words = family.size // 4
        """The registers an address takes."""
        self.frontend_words = self.words + 2
        """The registers an address with protocol and port takes."""
        self._size = family.size
        self._source_offset, self._destination_offset = (12, 16) if family is Family.IPV4 else (8, 24)

    def load_frontend(self, register: int = 0) -> tuple[Expression, ...]:
        """Load destination address, protocol and destination port."""
        return (
            self.load_destination(register),
            Meta(register + self.words, MetaKey.L4PROTO),
            Payload(register + self.words + 1, Header.TRANSPORT, 2, 2),
        )

    def load_source(self, register: int = 0) -> Expression:
        """Load the source address."""
        return Payload(register, Header.NETWORK, self._source_offset, self._size)

    def load_destination(self, register: int = 0) -> Expression:
        """Load the destination address."""
        return Payload(register, Header.NETWORK, self._destination_offset, self._size)

    def source_in(self, prefix: Prefix) -> tuple[Expression, ...]:
        """Only packets that come from inside a prefix."""
        return self._compare(self._source_offset, prefix, Comparison.EQ)

    def source_outside(self, prefix: Prefix) -> tuple[Expression, ...]:
        """Only packets that come from outside a prefix."""
        return self._compare(self._source_offset, prefix, Comparison.NEQ)

    def destination_in(self, prefix: Prefix) -> tuple[Expression, ...]:
        """Only packets that go inside a prefix."""
        return self._compare(self._destination_offset, prefix, Comparison.EQ)

    def _compare(self, offset: int, prefix: Prefix, comparison: Comparison) -> tuple[Expression, ...]:
        """Compare an address with a prefix: its whole bytes alone where it ends on one, as nft does."""
        packed = prefix.address.packed
        if prefix.length % 8 == 0 and prefix.length:
            length = prefix.length // 8
            return (Payload(0, Header.NETWORK, offset, length), Cmp(0, comparison, packed[:length]))
        bits = 8 * len(packed)
        mask = ((1 << bits) - (1 << (bits - prefix.length))).to_bytes(len(packed), "big")
        return (
            Payload(0, Header.NETWORK, offset, len(packed)),
            Bitwise(0, 0, mask, bytes(len(packed))),
            Cmp(0, comparison, packed),
        )
