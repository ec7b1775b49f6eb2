"""The contents of a table as a value one can compare, and what a transaction makes of it.

Comes in: a transaction, or what the kernel listed. Goes out: the table's next state. Refuses what the kernel
refuses, so that a test against it finds the same mistakes.
"""

from collections.abc import Sequence

from msgspec import Struct, field

from fairlead.nft.intervals import join_range, split_range
from fairlead.nft.objects import AnySet, Chain, Element, Rule, TableFamily
from fairlead.nft.shapes import SetShape, shape_of
from fairlead.nft.verdicts import Verdict

Value = bytes | Verdict | None
Rows = dict[bytes, Value]


class ChainContents(Struct):
    """A chain and its rules in order."""

    chain: Chain
    rules: list[Rule] = field(default_factory=list[Rule])


class SetContents(Struct):
    """A set's shape and its rows by key; of intervals by the first and the last key of a range, joined.

    `rows` is None where a listing left them out for being too many, and empty where they are state.
    """

    shape: SetShape
    rows: Rows | None = field(default_factory=dict[bytes, Value])

    @staticmethod
    def of(target: AnySet, elements: Sequence[Element] = ()) -> "SetContents":
        """Return a set with these elements."""
        return SetContents(shape_of(target), {row_key(target, element): element.value for element in elements})


def row_key(target: AnySet, element: Element) -> bytes:
    """Return the key an element's row has in the contents of a set."""
    return join_range(element.key, element.end) if target.interval else element.key


def row_element(target: AnySet, key: bytes, value: Value = None) -> Element:
    """Return the element that a row in the contents of a set is."""
    if not target.interval:
        return Element(key, value)
    first, last = split_range(key)
    return Element(first, value, last)


class TableContents(Struct):
    """One table with all it holds; equal exactly when everything in it is."""

    family: TableFamily
    name: str
    chains: dict[str, ChainContents] = field(default_factory=dict[str, ChainContents])
    sets: dict[str, SetContents] = field(default_factory=dict[str, SetContents])
