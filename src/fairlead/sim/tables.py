"""The seam between a node's tables and a trace: each table is walked like the kernel does, and can say why.

Comes in: nothing. Goes out: what a trace asks of a table. A concern that keeps a table of its own on every node
(Services, network policies) offers a function from a world, a node and a family to a `NodeTable`, or to None where it
keeps none there; `nodes.FURTHER` lists them. Base chains of all tables take their turns by priority, as in the kernel.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from fairlead.model import Origin
from fairlead.nft.evaluate import Packet, Step
from fairlead.nft.objects import AnySet
from fairlead.nft.tables import TableContents


class Reason(Struct, frozen=True):
    """Why a packet ends where it does, in a sentence without a full stop, and the object field that decided."""

    text: str
    origin: Origin | None = None


class NodeTable(Protocol):
    """One table of one node and one family, as its agent would program it."""

    @property
    def contents(self) -> TableContents:
        """Chains, rules and rows."""
        ...

    @property
    def sets(self) -> Sequence[AnySet]:
        """The definitions of the table's sets, by which rules and rows are spelt."""
        ...

    def origin(self, packet: Packet, step: Step) -> Origin | None:
        """The object field that a rule which applied, or the row it found, was made of; `packet` is as it came."""
        ...

    def refusal(self, packet: Packet, step: Step, onward: Packet) -> Reason:
        """Why a packet, as it came to the node, was dropped or rejected by a rule of this table.

        `onward` is the packet as it was by then: its destination may have been translated.
        """
        ...
