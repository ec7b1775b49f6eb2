"""The evaluator on tables written by hand: each expression, each verdict, each hook."""

import sys
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from fairlead.net import Port, Protocol, parse_address
from fairlead.nft.evaluate import (
    Ending,
    Entry,
    Packet,
    Passage,
    Surroundings,
    UnknownError,
    evaluate_every_draw,
    evaluate_packet,
)
from fairlead.nft.expressions import (
    Bitwise,
    Cmp,
    Comparison,
    Counter,
    Ct,
    CtKey,
    Decide,
    Expression,
    Fib,
    FibFlag,
    FibResult,
    Foreign,
    Header,
    Immediate,
    Lookup,
    LookupValue,
    LookupVerdict,
    Masquerade,
    Meta,
    MetaKey,
    MetaSet,
    Nat,
    NatType,
    Numgen,
    NumgenType,
    Payload,
    Reject,
    RejectType,
)
from fairlead.nft.fields import DESTINATION_IPV4, DESTINATION_PORT, L4PROTO, RANDOM_CHOICE
from fairlead.nft.objects import (
    Base,
    Chain,
    ChainType,
    Element,
    Hook,
    Map,
    Policy,
    Priority,
    Rule,
    Set,
    TableFamily,
    VerdictMap,
)
from fairlead.nft.tables import ChainContents, SetContents, TableContents
from fairlead.nft.verdicts import ACCEPT, DROP, Verdict, VerdictCode, goto, jump

NODE = parse_address("172.18.0.2")
PACKET = Packet(
    source=parse_address("198.51.100.2"),
    destination=parse_address("10.96.0.9"),
    protocol=Protocol.TCP,
    source_port=Port(40000),
    destination_port=Port(80),
)
HERE = Surroundings(local=frozenset({NODE}))
PREROUTING = Chain("prerouting", Base(ChainType.NAT, Hook.PREROUTING, Priority.DSTNAT))
FORWARD = Chain("forward", Base(ChainType.FILTER, Hook.FORWARD, Priority.FILTER))
LOAD_DESTINATION = Payload(0, Header.NETWORK, 16, 4)


def host(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)


def table(*chains: tuple[Chain, Sequence[tuple[Expression, ...]]], sets: tuple[SetContents, ...] = ()) -> TableContents:
    held = {chain.name: ChainContents(chain, [Rule(each) for each in rules]) for chain, rules in chains}
    return TableContents(TableFamily.INET, "t", held, {each.shape.name: each for each in sets})


def go(contents: TableContents, packet: Packet = PACKET, entry: Entry = Entry.ARRIVES) -> Passage:
    return evaluate_packet(contents, packet, entry, HERE)


def forward(*rules: tuple[Expression, ...], packet: Packet = PACKET) -> Ending:
    return go(table((FORWARD, list(rules))), packet).ending


def matches(*expressions: Expression, packet: Packet = PACKET) -> bool:
    return forward((*expressions, Decide(DROP)), packet=packet) is Ending.DROP


def test_an_empty_table_lets_everything_pass_unchanged() -> None:
    assert go(table()) == Passage(Ending.ACCEPT, PACKET, False, (), ())


@pytest.mark.parametrize(
    ("loads", "value"),
    [
        (Payload(0, Header.NETWORK, 12, 4), PACKET.source.packed),
        (Payload(0, Header.NETWORK, 16, 4), PACKET.destination.packed),
        (Payload(0, Header.NETWORK, 16, 2), PACKET.destination.packed[:2]),
        (Payload(0, Header.NETWORK, 9, 1), b"\6"),
        (Payload(0, Header.TRANSPORT, 0, 2), (40000).to_bytes(2, "big")),
        (Payload(0, Header.TRANSPORT, 2, 2), (80).to_bytes(2, "big")),
        (Meta(0, MetaKey.L4PROTO), b"\6"),
        (Meta(0, MetaKey.MARK), host(0)),
        (Ct(0, CtKey.STATE), host(8)),
        (Ct(0, CtKey.STATUS), host(0)),
        (Fib(0, FibResult.ADDRTYPE, FibFlag.DADDR), host(1)),
        (Immediate(0, b"\1\2"), b"\1\2"),
    ],
)
def test_each_load_puts_what_the_kernel_puts(loads: Expression, value: bytes) -> None:
    assert matches(loads, Cmp(0, Comparison.EQ, value))
    assert not matches(loads, Cmp(0, Comparison.NEQ, value))


def test_sixteen_bytes_of_an_ipv6_address_are_found_where_its_header_has_them() -> None:
    six = replace(PACKET, source=parse_address("fd00::1"), destination=parse_address("fd00::2"))
    assert matches(Payload(0, Header.NETWORK, 24, 16), Cmp(0, Comparison.EQ, six.destination.packed), packet=six)


@pytest.mark.parametrize(
    ("comparison", "below", "same", "above"),
    [
        (Comparison.EQ, False, True, False),
        (Comparison.NEQ, True, False, True),
        (Comparison.LT, True, False, False),
        (Comparison.LTE, True, True, False),
        (Comparison.GT, False, False, True),
        (Comparison.GTE, False, True, True),
    ],
)
def test_comparisons_go_by_the_bytes(comparison: Comparison, below: bool, same: bool, above: bool) -> None:
    for held, expected in ((b"\0\4", below), (b"\1\3", same), (b"\2\0", above)):
        assert matches(Immediate(0, held), Cmp(0, comparison, b"\1\3")) is expected


def test_a_mark_is_set_kept_and_compared_under_a_mask() -> None:
    mark = (Immediate(1, host(0x4001)), MetaSet(1, MetaKey.MARK))
    read = (Meta(0, MetaKey.MARK), Bitwise(0, 0, host(0x4000), host(0)), Cmp(0, Comparison.EQ, host(0x4000)))
    passage = go(table((FORWARD, [mark, (*read, Decide(DROP))])))
    assert passage.ending is Ending.DROP
    assert passage.packet.mark == 0x4001


def test_a_jump_comes_back_and_a_goto_does_not() -> None:
    empty = Chain("other")
    for verdict, ending in ((jump("other"), Ending.DROP), (goto("other"), Ending.ACCEPT)):
        assert go(table((FORWARD, [(Decide(verdict),), (Decide(DROP),)]), (empty, []))).ending is ending


def test_return_ends_the_chain_and_the_policy_decides() -> None:
    back = (Decide(Verdict(VerdictCode.RETURN)),)
    closed = Chain("forward", Base(ChainType.FILTER, Hook.FORWARD, 0, Policy.DROP))
    assert forward(back, (Decide(DROP),)) is Ending.ACCEPT
    assert go(table((closed, [back, (Decide(ACCEPT),)]))).ending is Ending.DROP


def test_accept_ends_one_base_chain_and_drop_ends_all() -> None:
    later = Chain("later", Base(ChainType.FILTER, Hook.FORWARD, 10))
    sooner = Chain("sooner", Base(ChainType.FILTER, Hook.FORWARD, -10))
    passage = go(table((later, [(Decide(DROP),)]), (sooner, [(Decide(ACCEPT),)])))
    assert [step.chain for step in passage.steps] == ["sooner", "later"]
    assert passage.ending is Ending.DROP
    assert len(go(table((later, [()]), (sooner, [(Decide(DROP),)]))).steps) == 1


def test_a_reject_is_told_from_a_drop() -> None:
    assert forward((Reject(RejectType.TCP_RST),)) is Ending.REJECT
    assert forward((Decide(DROP),)) is Ending.DROP


def rows(*elements: tuple[str, Verdict]) -> SetContents:
    return SetContents.of(
        VerdictMap("by-address", (DESTINATION_IPV4,)),
        [Element(parse_address(address).packed, verdict) for address, verdict in elements],
    )


def test_a_verdict_map_decides_by_its_row_and_passes_over_what_has_none() -> None:
    look = (LOAD_DESTINATION, LookupVerdict("by-address", 0))
    for address, ending in (("10.96.0.9", Ending.DROP), ("10.96.0.8", Ending.ACCEPT)):
        passage = go(table((FORWARD, [look]), sets=(rows((address, DROP)),)))
        assert passage.ending is ending
        assert passage.steps[0].looked[0].found is (ending is Ending.DROP)
        assert passage.steps[0].looked[0].key == PACKET.destination.packed


def test_a_set_lookup_can_be_turned_round() -> None:
    held = SetContents.of(Set("some", (DESTINATION_IPV4,)), [Element(PACKET.destination.packed)])
    for inverted in (False, True):
        rule = (LOAD_DESTINATION, Lookup("some", 0, inverted), Decide(DROP))
        ending = go(table((FORWARD, [rule]), sets=(held,))).ending
        assert (ending is Ending.DROP) is not inverted


BACKENDS = SetContents.of(
    Map("backends", (L4PROTO, RANDOM_CHOICE), (DESTINATION_IPV4, DESTINATION_PORT)),
    [
        Element(bytes((6, 0, 0, 0)) + host(index), parse_address(f"10.244.1.{index}").packed + b"\x1f\x90\0\0")
        for index in range(3)
    ],
)
TRANSLATE = (
    Meta(0, MetaKey.L4PROTO),
    Numgen(1, NumgenType.RANDOM, 3),
    LookupValue("backends", 0, 0),
    Nat(NatType.DNAT, TableFamily.IP, 0, 1),
)


def test_every_draw_leads_to_its_own_row() -> None:
    contents = table((PREROUTING, [TRANSLATE]), sets=(BACKENDS,))
    passages = list(evaluate_every_draw(contents, PACKET, Entry.ARRIVES, HERE))
    assert [str(each.packet.destination) for each in passages] == ["10.244.1.0", "10.244.1.1", "10.244.1.2"]
    assert {each.packet.destination_port for each in passages} == {8080}
    assert {each.moduli for each in passages} == {(3,)}


def test_every_sequence_of_draws_is_tried_once() -> None:
    both = Rule((Numgen(0, NumgenType.RANDOM, 2), Numgen(1, NumgenType.RANDOM, 3), Decide(DROP)))
    mark = [(Numgen(0, NumgenType.RANDOM, 2), MetaSet(0, MetaKey.MARK)), (Numgen(1, NumgenType.RANDOM, 3),)]
    passages = list(evaluate_every_draw(table((FORWARD, [*mark, both.expressions])), PACKET, Entry.ARRIVES, HERE))
    assert len(passages) == 2 * 3 * 2 * 3
    assert [each.packet.mark for each in passages].count(1) == 18


def test_routing_follows_the_translated_destination() -> None:
    to_node = (
        Immediate(0, NODE.packed),
        Immediate(1, b"\x1f\x90"),
        Nat(NatType.DNAT, TableFamily.IP, 0, 1),
    )
    filters = [Chain(hook.name, Base(ChainType.FILTER, hook, 0)) for hook in Hook]
    watch = [(chain, [(Counter(),)]) for chain in filters]
    straight = go(table(*watch))
    assert [step.hook for step in straight.steps] == [Hook.PREROUTING, Hook.FORWARD, Hook.POSTROUTING]
    turned = go(table((PREROUTING, [to_node]), *watch))
    assert [step.hook for step in turned.steps if step.chain != "prerouting"] == [Hook.PREROUTING, Hook.INPUT]
    assert turned.packet.ct_status == 32
    sent = go(table(*watch), entry=Entry.SENT)
    assert [step.hook for step in sent.steps] == [Hook.OUTPUT, Hook.POSTROUTING]
    home = go(table(*watch), replace(PACKET, destination=NODE), Entry.SENT)
    assert [step.hook for step in home.steps] == [Hook.OUTPUT, Hook.POSTROUTING, Hook.PREROUTING, Hook.INPUT]


def test_a_connection_is_translated_by_the_first_chain_that_does_and_only_when_new() -> None:
    second = Chain("second", Base(ChainType.NAT, Hook.PREROUTING, 0))
    contents = table((PREROUTING, [TRANSLATE]), (second, [(Decide(DROP),)]), sets=(BACKENDS,))
    assert go(contents).ending is Ending.ACCEPT
    old = go(contents, replace(PACKET, ct_state=2))
    assert (old.steps, old.packet.destination) == ((), PACKET.destination)


def test_masquerade_is_told() -> None:
    chain = Chain("postrouting", Base(ChainType.NAT, Hook.POSTROUTING, Priority.SRCNAT))
    assert go(table((chain, [(Masquerade(True),)]))).masqueraded
    assert not go(table((chain, []))).masqueraded


@pytest.mark.parametrize(
    "rule",
    [
        (Foreign("quota", b""),),
        (Payload(0, Header.NETWORK, 8, 1),),
        (Payload(0, Header.TRANSPORT, 4, 4),),
        (Meta(0, MetaKey.IIFNAME),),
        (Cmp(0, Comparison.EQ, b"\0"),),
        (Meta(0, MetaKey.L4PROTO), Lookup("absent", 0)),
        (Fib(0, FibResult.OIF, FibFlag.DADDR),),
        (LOAD_DESTINATION, Nat(NatType.SNAT, TableFamily.IP, 0)),
        (Decide(jump("absent")),),
        (Decide(jump("forward")),),
    ],
)
def test_what_is_not_known_is_an_error_and_no_guess(rule: tuple[Expression, ...]) -> None:
    with pytest.raises(UnknownError):
        forward(rule)


def test_rows_a_listing_left_out_are_an_error() -> None:
    held = rows()
    held.rows = None
    with pytest.raises(UnknownError, match="by-address"):
        go(table((FORWARD, [(LOAD_DESTINATION, LookupVerdict("by-address", 0))]), sets=(held,)))
