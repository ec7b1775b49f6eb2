"""A table held as a value: the difference leads from any state to any other, and refusals are the kernel's."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.nft.apply import RefusedError, apply_transaction
from fairlead.nft.diff import build_table, diff_tables
from fairlead.nft.expressions import Counter, Decide, Lookup
from fairlead.nft.fields import DESTINATION_IPV4, DESTINATION_PORT
from fairlead.nft.objects import AnySet, Base, Chain, ChainType, Element, Hook, Map, Rule, Set, TableFamily, VerdictMap
from fairlead.nft.tables import ChainContents, SetContents, TableContents
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
from fairlead.nft.verdicts import ACCEPT, DROP, goto

ADDRESSES = Set("addresses", (DESTINATION_IPV4,))
PORTS = Map("ports", (DESTINATION_IPV4,), (DESTINATION_PORT,))
WAYS = VerdictMap("ways", (DESTINATION_IPV4,))
SETS: tuple[AnySet, ...] = (ADDRESSES, PORTS, WAYS)
INPUT, FORWARD = (Chain("hooked", Base(ChainType.FILTER, hook, 0)) for hook in (Hook.INPUT, Hook.FORWARD))
RULES = [Rule((Counter(),)), Rule((Decide(DROP),)), Rule((Counter(), Decide(ACCEPT)))]

rules = st.lists(st.sampled_from(RULES), max_size=3)
keys = st.binary(min_size=4, max_size=4).map(lambda key: bytes(3) + key[:1])
ports = st.sampled_from([b"\0\x50\0\0", b"\1\xbb\0\0"])


@st.composite
def tables(draw: st.DrawFn) -> TableContents:
    """A table that could be: every verdict leads to a chain there is."""
    hooked = draw(st.sampled_from([INPUT, FORWARD]))
    chains = {"hooked": ChainContents(hooked, draw(rules))}
    for name in draw(st.sets(st.sampled_from(["a", "b", "c"]))):
        chains[name] = ChainContents(Chain(name), draw(rules))
    verdicts = st.sampled_from([DROP, *(goto(name) for name in sorted(chains) if name != "hooked")])
    rows = {
        "addresses": draw(st.dictionaries(keys, st.none(), max_size=4)),
        "ports": draw(st.dictionaries(keys, ports, max_size=4)),
        "ways": draw(st.dictionaries(keys, verdicts, max_size=4)),
    }
    sets = {target.name: SetContents(SetContents.of(target).shape, dict(rows[target.name])) for target in SETS}
    return TableContents(TableFamily.IP, "t", chains, sets)


def run(table: TableContents | None, *commands: Command) -> TableContents | None:
    return apply_transaction(table, Transaction(TableFamily.IP, "t", commands))


@given(current=tables(), desired=tables())
def test_the_difference_leads_from_any_table_to_any_other(current: TableContents, desired: TableContents) -> None:
    assert run(current, *diff_tables(SETS, current, desired)) == desired


@given(table=tables())
def test_equal_tables_have_no_difference(table: TableContents) -> None:
    assert diff_tables(SETS, table, table) == ()


@given(table=tables())
def test_a_table_can_be_built_where_there_is_none(table: TableContents) -> None:
    assert run(None, *build_table(SETS, table)) == table


def test_a_set_whose_rows_were_left_out_is_emptied_and_filled() -> None:
    desired = plain()
    desired.sets["ports"].rows = {b"\0\0\0\1": b"\0\x50\0\0"}
    listed = plain()
    listed.sets["ports"].rows = None
    commands = diff_tables(SETS, listed, desired)
    assert [type(command) for command in commands] == [FlushSet, AddElements]
    assert run(listed, *commands) == desired


def test_a_foreign_set_and_chain_go() -> None:
    current = plain()
    current.chains["theirs"] = ChainContents(Chain("theirs"), [Rule((Lookup("their-set", 0),))])
    current.sets["their-set"] = SetContents.of(Set("their-set", (DESTINATION_IPV4,)))
    commands = diff_tables(SETS, current, plain())
    assert commands == (FlushChain("theirs"), DeleteChain("theirs"), DeleteSet("their-set"))
    assert run(current, *commands) == plain()


def test_another_type_of_a_set_makes_the_table_anew() -> None:
    current = plain()
    current.sets["addresses"] = SetContents.of(Set("addresses", (DESTINATION_PORT,)))
    assert diff_tables(SETS, current, plain())[:2] == (AddTable(), DeleteTable())


def plain() -> TableContents:
    sets = {target.name: SetContents.of(target) for target in SETS}
    return TableContents(TableFamily.IP, "t", {"hooked": ChainContents(INPUT)}, sets)


KEY = b"\0\0\0\1"


@pytest.mark.parametrize(
    ("number", "commands"),
    [
        (errno.ENOENT, [DeleteChain("absent")]),
        (errno.ENOENT, [FlushChain("absent")]),
        (errno.ENOENT, [DeleteSet("absent")]),
        (errno.ENOENT, [FlushSet("absent")]),
        (errno.ENOENT, [AddRule("absent", RULES[0])]),
        (errno.ENOENT, [InsertRule("absent", RULES[0])]),
        (errno.ENOENT, [AddRule("hooked", Rule((Lookup("absent", 0),)))]),
        (errno.ENOENT, [AddRule("hooked", Rule((Decide(goto("absent")),)))]),
        (errno.ENOENT, [AddElements(WAYS, [Element(KEY, goto("absent"))])]),
        (errno.ENOENT, [DeleteElements(ADDRESSES, [Element(KEY)])]),
        (errno.ENOENT, [ReplaceElements(PORTS, [Element(KEY, b"\0\x50\0\0")])]),
        (errno.ENOENT, [DeleteTable(), AddChain(Chain("a"))]),
        (
            errno.EEXIST,
            [AddElements(PORTS, [Element(KEY, b"\0\1\0\0")]), AddElements(PORTS, [Element(KEY, b"\0\2\0\0")])],
        ),
        (errno.EEXIST, [AddSet(Set("ports", (DESTINATION_IPV4,)))]),
        (errno.EEXIST, [AddChain(FORWARD)]),
        (errno.EBUSY, [AddChain(Chain("a")), AddElements(WAYS, [Element(KEY, goto("a"))]), DeleteChain("a")]),
        (errno.EBUSY, [AddChain(Chain("a")), AddRule("hooked", Rule((Decide(goto("a")),))), DeleteChain("a")]),
        (errno.EBUSY, [AddRule("hooked", Rule((Lookup("addresses", 0),))), DeleteSet("addresses")]),
    ],
)
def test_a_refused_command_leaves_the_table_as_it_was(number: int, commands: list[Command]) -> None:
    table = plain()
    with pytest.raises(RefusedError) as caught:
        run(table, AddElements(ADDRESSES, [Element(b"\0\0\0\7")]), *commands)
    assert caught.value.number == number
    assert caught.value.command == commands[-1]
    assert table == plain()


def test_an_inserted_rule_comes_first() -> None:
    table = run(plain(), AddRule("hooked", RULES[0]), InsertRule("hooked", RULES[1]))
    assert table is not None
    assert table.chains["hooked"].rules == [RULES[1], RULES[0]]


def test_adding_what_is_there_changes_nothing() -> None:
    commands = (AddTable(), AddChain(INPUT), AddSet(PORTS), AddElements(PORTS, [Element(KEY, b"\0\1\0\0")]))
    once = run(plain(), *commands)
    assert run(once, *commands) == once
