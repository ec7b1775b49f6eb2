"""What the kernel makes of a transaction, on a table held as a value.

Comes in: a table's contents, or None where there is no table, and a transaction. Goes out: the contents after it.
Refuses what the kernel refuses, and then leaves the table as it was; only loops of chains it does not look for, nor for
ranges that overlap. It holds no rows of sets whose rows come by rules or go by time.
"""

import errno
from typing import assert_never

from fairlead.nft.expressions import Decide, Expression, Lookup, LookupValue, LookupVerdict
from fairlead.nft.objects import AnySet, Element, Rule
from fairlead.nft.shapes import shape_of
from fairlead.nft.tables import ChainContents, SetContents, TableContents, row_key
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
    InsertRule,
    ReplaceElements,
    Transaction,
)
from fairlead.nft.verdicts import Verdict


class RefusedError(ValueError):
    """The kernel would refuse `command` with the errno `number`."""

    def __init__(self, number: int, command: Command) -> None:
        super().__init__(f"{errno.errorcode[number]}: {command}")
        self.number = number
        self.command = command


def apply_transaction(table: TableContents | None, transaction: Transaction) -> TableContents | None:
    """Return the table after a transaction; the one given stays as it was. Raises RefusedError."""
    after = None if table is None else copy_table(table)
    for command in transaction.commands:
        if isinstance(command, AddTable):
            after = after or TableContents(transaction.family, transaction.table)
        elif after is None:
            raise RefusedError(errno.ENOENT, command)
        elif isinstance(command, DeleteTable):
            after = None
        else:
            _apply(after, command)
    return after


def copy_table(table: TableContents) -> TableContents:
    """Return a table that shares nothing changeable with the one given."""
    chains = {name: ChainContents(held.chain, list(held.rules)) for name, held in table.chains.items()}
    sets = {name: SetContents(held.shape, dict(held.rows or {})) for name, held in table.sets.items()}
    return TableContents(table.family, table.name, chains, sets)


def _apply(table: TableContents, command: Command) -> None:
    match command:
        case AddTable() | DeleteTable():
            raise AssertionError("tables are made and deleted one level up")
        case AddChain(chain):
            held = table.chains.setdefault(chain.name, ChainContents(chain))
            _require(held.chain == chain, errno.EEXIST, command)
        case DeleteChain(name):
            _chain(table, name, command)
            _require(not _chain_in_use(table, name), errno.EBUSY, command)
            del table.chains[name]
        case FlushChain(name):
            _chain(table, name, command).rules.clear()
        case AddRule(name, rule):
            _check_rule(table, rule, command)
            _chain(table, name, command).rules.append(rule)
        case InsertRule(name, rule):
            _check_rule(table, rule, command)
            _chain(table, name, command).rules.insert(0, rule)
        case AddSet(target):
            held = table.sets.setdefault(target.name, SetContents.of(target))
            _require(held.shape == shape_of(target), errno.EEXIST, command)
        case DeleteSet(name):
            _require(name in table.sets, errno.ENOENT, command)
            _require(not _set_in_use(table, name), errno.EBUSY, command)
            del table.sets[name]
        case FlushSet(name):
            _require(name in table.sets, errno.ENOENT, command)
            table.sets[name].rows = {}
        case AddElements() | DeleteElements() | ReplaceElements():
            _apply_rows(table, command)
        case _:
            assert_never(command)


def _apply_rows(table: TableContents, command: AddElements | DeleteElements | ReplaceElements) -> None:
    rows = _rows(table, command.set, command)
    if table.sets[command.set.name].shape.is_state:
        return
    if not isinstance(command, AddElements):
        for element in command.elements:
            key = row_key(command.set, element)
            _require(key in rows, errno.ENOENT, command)
            del rows[key]
    if not isinstance(command, DeleteElements):
        for element in command.elements:
            _check_value(table, element, command)
            key = row_key(command.set, element)
            _require(rows.get(key, element.value) == element.value, errno.EEXIST, command)
            rows[key] = element.value


def _rows(table: TableContents, target: AnySet, command: Command) -> dict[bytes, bytes | Verdict | None]:
    _require(target.name in table.sets, errno.ENOENT, command)
    held = table.sets[target.name]
    if held.rows is None:
        held.rows = {}
    return held.rows


def _chain(table: TableContents, name: str, command: Command) -> ChainContents:
    _require(name in table.chains, errno.ENOENT, command)
    return table.chains[name]


def _check_value(table: TableContents, element: Element, command: Command) -> None:
    if isinstance(element.value, Verdict) and element.value.chain:
        _require(element.value.chain in table.chains, errno.ENOENT, command)


def _check_rule(table: TableContents, rule: Rule, command: Command) -> None:
    for expression in rule.expressions:
        target = _set_looked_into(expression)
        _require(target is None or target in table.sets, errno.ENOENT, command)
        if isinstance(expression, Decide) and expression.verdict.chain:
            _require(expression.verdict.chain in table.chains, errno.ENOENT, command)


def _set_looked_into(expression: Expression) -> str | None:
    return expression.set if isinstance(expression, Lookup | LookupValue | LookupVerdict) else None


def _set_in_use(table: TableContents, name: str) -> bool:
    return any(_set_looked_into(step) == name for step in _steps(table))


def _chain_in_use(table: TableContents, name: str) -> bool:
    in_rules = any(isinstance(step, Decide) and step.verdict.chain == name for step in _steps(table))
    values = (value for held in table.sets.values() for value in (held.rows or {}).values())
    return in_rules or any(isinstance(value, Verdict) and value.chain == name for value in values)


def _steps(table: TableContents) -> list[Expression]:
    return [step for held in table.chains.values() for rule in held.rules for step in rule.expressions]


def _require(holds: bool, number: int, command: Command) -> None:
    if not holds:
        raise RefusedError(number, command)
