"""Transactions as text for `nft -f`: for reading, and as the baseline that netlink is measured against.

Comes in: a transaction and the definitions of the sets it touches. Goes out: one command per line. Elements of all
kinds and the rules of our own rendering can be written; ForeignError says what cannot.
"""

from collections.abc import Iterator, Sequence
from typing import assert_never

from fairlead.nft.fields import spell_concatenation, spell_milliseconds, spell_ranges
from fairlead.nft.objects import AnySet, Chain, Element, Map, Set
from fairlead.nft.rule_text import spell_rule
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


def write_transaction(transaction: Transaction, sets: Sequence[AnySet]) -> str:
    """Return the transaction as `nft -f` reads it; one file is one transaction there too."""
    known = {target.name: target for target in sets}
    table = f"{transaction.family.name.lower()} {transaction.table}"
    return "".join(f"{line}\n" for command in transaction.commands for line in _lines(table, command, known))


def _lines(table: str, command: Command, sets: dict[str, AnySet]) -> Iterator[str]:  # noqa: PLR0912
    match command:
        case AddTable():
            yield f"add table {table}"
        case DeleteTable():
            yield f"delete table {table}"
        case AddChain(chain):
            yield f"add chain {table} {chain.name}{_spell_base(chain)}"
        case DeleteChain(name):
            yield f"delete chain {table} {name}"
        case FlushChain(name):
            yield f"flush chain {table} {name}"
        case AddRule(chain, rule):
            yield f"add rule {table} {chain} {spell_rule(rule, sets)}"
        case InsertRule(chain, rule):
            yield f"insert rule {table} {chain} {spell_rule(rule, sets)}"
        case AddSet(target):
            described = f"typeof {_spell_type(target)};{_spell_traits(target)}"
            yield f"add {_kind(target)} {table} {target.name} {{ {described} }}"
        case DeleteSet(name):
            yield f"delete {_kind(sets[name])} {table} {name}"
        case FlushSet(name):
            yield f"flush {_kind(sets[name])} {table} {name}"
        case AddElements(target, elements):
            yield f"add element {table} {target.name} {{ {_spell_elements(target, elements)} }}"
        case DeleteElements(target, elements):
            yield f"delete element {table} {target.name} {{ {_spell_keys(target, elements)} }}"
        case ReplaceElements(target, elements):
            yield f"delete element {table} {target.name} {{ {_spell_keys(target, elements)} }}"
            yield f"add element {table} {target.name} {{ {_spell_elements(target, elements)} }}"
        case _:
            assert_never(command)


def _kind(target: AnySet) -> str:
    return "set" if isinstance(target, Set) else "map"


def _spell_base(chain: Chain) -> str:
    base = chain.base
    if base is None:
        return ""
    hook = f"type {base.type.value} hook {base.hook.name.lower()} priority {int(base.priority)}"
    return f" {{ {hook}; policy {base.policy.name.lower()}; }}"


def _spell_type(target: AnySet) -> str:
    key = " . ".join(field.spelling for field in target.key)
    if isinstance(target, Set):
        return key
    value = " . ".join(field.spelling for field in target.value) if isinstance(target, Map) else "verdict"
    return f"{key} : {value}"


def _spell_traits(target: AnySet) -> str:
    named = (("interval", target.interval), ("timeout", target.timeout is not None), ("dynamic", target.dynamic))
    flags = ",".join(name for name, given in named if given)
    words = f" flags {flags};" if flags else ""
    words += f" timeout {spell_milliseconds(target.timeout)};" if target.timeout else ""
    return words + (f" size {target.size};" if target.size else "")


def _spell_keys(target: AnySet, elements: Sequence[Element]) -> str:
    return ", ".join(spell_key(target, element) for element in elements)


def _spell_elements(target: AnySet, elements: Sequence[Element]) -> str:
    return ", ".join(spell_element(target, element) for element in elements)


def spell_key(target: AnySet, element: Element) -> str:
    """Return the key of an element, in a set of intervals with its last one."""
    if element.end is None:
        return spell_concatenation(target.key, element.key)
    return spell_ranges(target.key, element.key, element.end)


def spell_element(target: AnySet, element: Element) -> str:
    """Return one element as nft writes it: the key, how long it stays, and in a map a colon and the value."""
    key = spell_key(target, element)
    if element.timeout is not None:
        key += f" timeout {spell_milliseconds(element.timeout)}"
    match element.value:
        case None:
            return key
        case Verdict():
            return f"{key} : {element.value}"
        case packed:
            assert isinstance(target, Map), f"{target.name} has no values"
            return f"{key} : {spell_concatenation(target.value, packed)}"
