"""A node's answers to clients that came through the host of an external load balancer: they go back through it.

Comes in: the hardware addresses of such hosts. Goes out: a table of two chains. Refuses to know routes: it marks
packets, and a routing rule for the mark leads them back. Without this a node answers the client straight, from an
address that the client never dialled.

A connection is told by the hardware address its first packet came from, and remembered by a label of connection
tracking: labels are bits of which anybody may set one, while its mark belongs to the policy table.
"""

import sys
from collections.abc import Sequence

from fairlead.net import Family
from fairlead.nft.expressions import (
    Bitwise,
    Cmp,
    Comparison,
    Ct,
    CtKey,
    CtSet,
    Direction,
    Header,
    Immediate,
    Meta,
    MetaKey,
    MetaSet,
    Payload,
)
from fairlead.nft.objects import Base, Chain, ChainType, Hook, Priority, Rule, TableFamily
from fairlead.nft.tables import ChainContents, TableContents
from fairlead.render.service_steps import NEW, host

TABLE = "fairlead-return"
RETURN_MARK = 0x2000
"""The bit of the packet mark by which routing knows what is to go back."""
LABEL = 77
"""The bit of the connection's label that says so."""
_LABEL_BYTES, _WORD = 16, 4
_SOURCE_OFFSET, _HARDWARE_LENGTH = 6, 6  # of the Ethernet header
_ETHERNET = (1).to_bytes(2, sys.byteorder)  # ARPHRD_ETHER
_ALL_BITS = 0xFFFFFFFF


def return_table(family: Family, hosts: Sequence[bytes]) -> TableContents:
    """Return the table of one family, for hosts with these hardware addresses."""
    table = TableContents(TableFamily.of(family), TABLE)
    mangle = Priority.MANGLE
    arriving = Chain("prerouting", Base(ChainType.FILTER, Hook.PREROUTING, mangle))
    leaving = Chain("output", Base(ChainType.ROUTE, Hook.OUTPUT, mangle))
    table.chains[arriving.name] = ChainContents(arriving, [*map(_remember, hosts), _mark_answers()])
    table.chains[leaving.name] = ChainContents(leaving, [_mark_answers()])
    return table


def _remember(hardware: bytes) -> Rule:
    """Label a connection whose first packet such a host sent, over an Ethernet."""
    over = (Meta(0, MetaKey.IIFTYPE), Cmp(0, Comparison.EQ, _ETHERNET))
    source = Payload(0, Header.LINK, _SOURCE_OFFSET, _HARDWARE_LENGTH)
    label = (Immediate(0, _label()), CtSet(0, CtKey.LABELS))
    return Rule((*over, source, Cmp(0, Comparison.EQ, hardware), *NEW, *label))


def _mark_answers() -> Rule:
    """Mark what answers a labelled connection."""
    return Rule(
        (
            Ct(0, CtKey.DIRECTION),
            Cmp(0, Comparison.EQ, bytes((Direction.REPLY,))),
            Ct(0, CtKey.LABELS),
            Bitwise(0, 0, _label(), bytes(_LABEL_BYTES)),
            Cmp(0, Comparison.NEQ, bytes(_LABEL_BYTES)),
            Meta(0, MetaKey.MARK),
            Bitwise(0, 0, host(_ALL_BITS ^ RETURN_MARK), host(RETURN_MARK)),
            MetaSet(0, MetaKey.MARK),
        )
    )


def _label() -> bytes:
    """The label with its one bit, in words of the host's order, lowest first."""
    bits = 8 * _WORD
    words = (1 << (LABEL % bits) if number == LABEL // bits else 0 for number in range(_LABEL_BYTES // _WORD))
    return b"".join(word.to_bytes(_WORD, sys.byteorder) for word in words)
