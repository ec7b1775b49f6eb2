"""Two states of a table to the commands between them.

Comes in: what the kernel lists and what should be there. Goes out: commands, empty when both are equal. Refuses to know
what the rows mean. Rows that rules add, or that time takes away, are state: they are neither compared nor touched.
"""

from collections.abc import Iterator, Sequence

from fairlead.nft.objects import AnySet
from fairlead.nft.shapes import shape_of
from fairlead.nft.tables import ChainContents, Rows, TableContents, row_element
from fairlead.nft.transactions import (
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    Command,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    FlushSet,
    ReplaceElements,
)


def build_table(sets: Sequence[AnySet], desired: TableContents) -> tuple[Command, ...]:
    """Return the commands that make a table with all it holds, in place of any of that name.

    `sets` are the definitions of the sets in `desired`. Sets of values come before sets of verdicts as `sets` has them.
    """
    return (
        AddTable(),
        DeleteTable(),
        AddTable(),
        *(AddSet(target) for target in sets),
        *(AddChain(contents.chain) for contents in desired.chains.values()),
        *(AddRule(name, rule) for name, contents in desired.chains.items() for rule in contents.rules),
        *_add_rows(sets, desired),
    )


def diff_tables(sets: Sequence[AnySet], current: TableContents, desired: TableContents) -> tuple[Command, ...]:
    """Return the commands from `current` to `desired`.

    Rows and rules are mended where they stand. Where a set's types or a chain's hook differ the whole table is built
    anew, in the one transaction all the same; a set whose rows were not listed is emptied and filled.
    """
    if not _same_frame(current, desired):
        return build_table(sets, desired)
    return (
        *(AddSet(target) for target in sets if target.name not in current.sets),
        *_mend_chains(current.chains, desired.chains),
        *(command for target in sets for command in _mend_rows(target, current, desired)),
        *(DeleteChain(name) for name in current.chains if name not in desired.chains),
        *(DeleteSet(name) for name in current.sets if name not in desired.sets),
    )


def _same_frame(current: TableContents, desired: TableContents) -> bool:
    shapes = all(
        contents.shape == desired.sets[name].shape for name, contents in current.sets.items() if name in desired.sets
    )
    return shapes and all(
        contents.chain == desired.chains[name].chain
        for name, contents in current.chains.items()
        if name in desired.chains
    )


def _mend_chains(current: dict[str, ChainContents], desired: dict[str, ChainContents]) -> Iterator[Command]:
    """Yield what empties foreign and wrong chains, makes the missing ones, and then fills both."""
    wrong = [name for name, contents in desired.items() if name in current and current[name].rules != contents.rules]
    missing = [name for name in desired if name not in current]
    yield from (FlushChain(name) for name in wrong)
    yield from (FlushChain(name) for name in current if name not in desired)
    yield from (AddChain(desired[name].chain) for name in missing)
    yield from (AddRule(name, rule) for name in (*missing, *wrong) for rule in desired[name].rules)


def _mend_rows(target: AnySet, current: TableContents, desired: TableContents) -> Iterator[Command]:
    want = desired.sets[target.name].rows or {}
    have: Rows | None = current.sets[target.name].rows if target.name in current.sets else {}
    if have == want or shape_of(target).is_state:
        return
    if have is None:
        yield FlushSet(target.name)
        have = {}
    surplus = [row_element(target, key) for key in have if key not in want]
    missing = [row_element(target, key, value) for key, value in want.items() if key not in have]
    wrong = [row_element(target, key, value) for key, value in want.items() if key in have and have[key] != value]
    if surplus:
        yield DeleteElements(target, surplus)
    if wrong:
        yield ReplaceElements(target, wrong)
    if missing:
        yield AddElements(target, missing)


def _add_rows(sets: Sequence[AnySet], desired: TableContents) -> Iterator[Command]:
    for target in sets:
        rows = desired.sets[target.name].rows
        if rows:
            yield AddElements(target, [row_element(target, key, value) for key, value in rows.items()])
