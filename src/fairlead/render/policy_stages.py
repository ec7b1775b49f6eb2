"""One change of a policy table as up to three transactions, so that no packet finds anything half changed.

Comes in: the commands of the change. Goes out: the same commands in three stages. Refuses to know what policies say.

A packet reads the table at several moments: a chain's rules as of when it entered, each row as of when it looks it up
(kernel `net/netfilter/nf_tables_core.c`, `nft_set_hash.c`). Between two stages a grace period must pass, in which every
packet that entered before the earlier stage comes to its end. So a packet sees at most two stages next to each other,
and the stages are such that any two allow the same of what stays as it is (decision 0014):

- `before`: what nothing leads to yet, new chains and new sets; and members that join a set, where some leave one too.
- `rows`: what decides. From here on the change is in force.
- `after`: what nothing leads to any more, and the new generation, which nobody takes who was judged by former rows.
"""

from collections.abc import Collection, Iterable
from enum import Enum

from msgspec import Struct

from fairlead.nft.objects import AnySet, TableFamily
from fairlead.nft.transactions import (
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    Command,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    ReplaceElements,
    Transaction,
)


class Stages(Struct, frozen=True):
    """Transactions to carry out in this order, with a grace period between any two that are not empty."""

    before: Transaction
    rows: Transaction
    after: Transaction

    def __bool__(self) -> bool:
        return bool(self.before or self.rows or self.after)

    def each(self) -> tuple[Transaction, ...]:
        """Those that are not empty."""
        return tuple(stage for stage in (self.before, self.rows, self.after) if stage)


class Sets(Struct, frozen=True):
    """What is to be known of a table's sets, by their names.

    All but the `constant` ones have members that come and go one by one. Those of `first` are asked before others.
    `stamp` holds the generation that judged connections get.
    """

    constant: Collection[str]
    first: Collection[str]
    judged: str
    stamp: str


class Joining(Enum):
    """When members join sets that are there already."""

    EARLY = "early"
    """Before others leave, and sets that are asked first before the rest. Right where no flow has both its directions
    changed: what one of them allows already must not meet what the other one allows still."""
    WITH_THE_ROWS = "with the rows"


def stage_commands(
    family: TableFamily, table: str, commands: Iterable[Command], sets: Sets, joining: Joining
) -> Stages:
    """Distribute a change's commands, each stage in their order. A table made anew is one stage."""
    commands = tuple(commands)
    if any(isinstance(each, DeleteTable) for each in commands):
        return one_stage(Transaction(family, table, commands))
    places = _Places(commands, sets, joining)
    found: tuple[list[Command], ...] = ([], [], [])
    for command in commands:
        found[places.of(command)].append(command)
    before, rows, after = (Transaction(family, table, tuple(each)) for each in found)
    return Stages(before, rows, after)


def one_stage(transaction: Transaction) -> Stages:
    """A change that is carried out whole."""
    empty = Transaction(transaction.family, transaction.table)
    return Stages(empty, transaction, empty)


_BEFORE, _ROWS, _AFTER = range(3)


class _Places:
    """Where each command of one change belongs."""

    def __init__(self, commands: tuple[Command, ...], sets: Sets, joining: Joining) -> None:
        self._sets = sets
        self._joining = joining
        self._new_chains = {
            each.chain.name for each in commands if isinstance(each, AddChain) and each.chain.base is None
        }
        self._new_sets = {each.set.name for each in commands if isinstance(each, AddSet)}
        self._gone = {each.name for each in commands if isinstance(each, DeleteChain)}
        self._leaving = any(isinstance(each, DeleteElements) and self._is_of_members(each.set) for each in commands)

    def of(self, command: Command) -> int:
        """The stage of one of the commands."""
        match command:
            case AddSet():
                return _BEFORE
            case AddChain(chain):
                return _BEFORE if chain.name in self._new_chains else _ROWS
            case AddRule(chain):
                return _BEFORE if chain in self._new_chains else _ROWS
            case FlushChain(chain):
                return _AFTER if chain in self._gone else _ROWS
            case DeleteChain() | DeleteSet():
                return _AFTER
            case AddElements(target):
                return self._of_new_rows(target)
            case DeleteElements(target) | ReplaceElements(target):
                return _AFTER if target.name in (self._sets.judged, self._sets.stamp) else _ROWS
            case _:
                return _ROWS

    def _of_new_rows(self, target: AnySet) -> int:
        if target.name in self._new_sets:
            return _BEFORE
        if self._joining is Joining.EARLY and self._is_of_members(target):
            return _BEFORE if self._leaving or target.name in self._sets.first else _ROWS
        return _AFTER if target.name == self._sets.stamp else _ROWS

    def _is_of_members(self, target: AnySet) -> bool:
        return target.name not in self._sets.constant
