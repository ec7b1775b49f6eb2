"""Transactions: the ordered commands that take one table from one state to the next, all of them or none."""

from collections.abc import Sequence

from msgspec import Struct

from fairlead.nft.objects import AnySet, Chain, Element, Rule, TableFamily


class AddTable(Struct, frozen=True):
    """Add the transaction's table; one that exists stays as it is."""


class DeleteTable(Struct, frozen=True):
    """Delete the transaction's table with all it holds; an error if it is absent."""


class AddChain(Struct, frozen=True):
    """Add a chain; one that exists stays as it is."""

    chain: Chain


class DeleteChain(Struct, frozen=True):
    """Delete a chain and its rules; an error if it is absent or something still leads to it."""

    name: str


class FlushChain(Struct, frozen=True):
    """Delete the rules of a chain."""

    name: str


class AddRule(Struct, frozen=True):
    """Add a rule at the end of a chain."""

    chain: str
    rule: Rule


class InsertRule(Struct, frozen=True):
    """Add a rule at the beginning of a chain."""

    chain: str
    rule: Rule


class AddSet(Struct, frozen=True):
    """Add a set or map; one that exists with the same type stays as it is."""

    set: AnySet


class DeleteSet(Struct, frozen=True):
    """Delete a set and its elements; an error if it is absent or a rule still looks into it."""

    name: str


class FlushSet(Struct, frozen=True):
    """Delete the elements of a set."""

    name: str


class AddElements(Struct, frozen=True):
    """Add elements; an error if a map holds one of the keys with another value."""

    set: AnySet
    elements: Sequence[Element]


class DeleteElements(Struct, frozen=True):
    """Delete the elements with these keys; an error if one is absent."""

    set: AnySet
    elements: Sequence[Element]


class ReplaceElements(Struct, frozen=True):
    """Give keys that a map holds another value; an error if one is absent.

    The kernel has no such command: it is sent as a deletion with an addition right behind it, never cut apart.
    """

    set: AnySet
    elements: Sequence[Element]


Command = (
    AddTable
    | DeleteTable
    | AddChain
    | DeleteChain
    | FlushChain
    | AddRule
    | InsertRule
    | AddSet
    | DeleteSet
    | FlushSet
    | AddElements
    | DeleteElements
    | ReplaceElements
)


class Transaction(Struct, frozen=True):
    """Commands on one table, in order.

    One that is `separable` may as well be carried out in pieces, in order: every piece leaves a right state. For the
    kernel that is quicker where rows are very many (decision 0012). `commits` are places among the commands at which
    those before must have been committed, since packets see chains and rows as of two moments (decision 0013).
    """

    family: TableFamily
    table: str
    commands: tuple[Command, ...] = ()
    separable: bool = False
    commits: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.commands)

    def parts(self) -> "tuple[Transaction, ...]":
        """The transactions to carry out one after the other; itself where nothing must be committed in between."""
        cuts = sorted({place for place in self.commits if 0 < place < len(self.commands)})
        if not cuts:
            return (self,)
        ends = zip((0, *cuts), (*cuts, len(self.commands)), strict=True)
        return tuple(
            Transaction(self.family, self.table, self.commands[first:last], self.separable) for first, last in ends
        )
