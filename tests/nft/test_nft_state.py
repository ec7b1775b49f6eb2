"""The wider language: rows that rules add and time takes, ranges, connections, interfaces, several tables."""

import pytest
from msgspec.structs import replace

from fairlead.net import Family, Port, Protocol, parse_address, parse_prefix
from fairlead.nft.evaluate import Ending, Ends, Entry, Packet, Passage, Remembered, Surroundings, UnknownError
from fairlead.nft.evaluate import evaluate_packet as evaluate
from fairlead.nft.expressions import (
    Cmp,
    Comparison,
    Ct,
    CtKey,
    CtSet,
    Decide,
    Direction,
    Dynset,
    DynsetOperation,
    Expression,
    Header,
    Immediate,
    Limit,
    LimitUnit,
    Log,
    Lookup,
    LookupValue,
    LookupVerdict,
    Meta,
    MetaKey,
    Nat,
    NatType,
    Payload,
    Range,
)
from fairlead.nft.fields import (
    DESTINATION_IPV4,
    DESTINATION_PORT,
    L4PROTO,
    SOURCE_IPV4,
    ct_address,
)
from fairlead.nft.objects import AnySet, Base, Chain, ChainType, Element, Hook, Map, Rule, Set, TableFamily, VerdictMap
from fairlead.nft.packets import host
from fairlead.nft.tables import ChainContents, SetContents, TableContents
from fairlead.nft.verdicts import ACCEPT, DROP, Verdict, VerdictCode, jump

CLIENT, SERVICE, POD, NODE = map(parse_address, ("198.51.100.2", "10.96.0.9", "10.244.1.2", "172.18.0.2"))
PACKET = Packet(
    source=CLIENT, destination=SERVICE, protocol=Protocol.TCP, source_port=Port(40000), destination_port=Port(80)
)
HERE = Surroundings(local=frozenset({NODE}))
FORWARD = Chain("forward", Base(ChainType.FILTER, Hook.FORWARD, 0))
PREROUTING = Chain("prerouting", Base(ChainType.NAT, Hook.PREROUTING, -100))
SOURCE, DESTINATION = Payload(0, Header.NETWORK, 12, 4), Payload(0, Header.NETWORK, 16, 4)
PORT = Payload(0, Header.TRANSPORT, 2, 2)


def table(*chains: tuple[Chain, list[tuple[Expression, ...]]], sets: tuple[SetContents, ...] = ()) -> TableContents:
    held = {chain.name: ChainContents(chain, [Rule(each) for each in rules]) for chain, rules in chains}
    return TableContents(TableFamily.IP, "t", held, {each.shape.name: each for each in sets})


def forward(*rules: tuple[Expression, ...], sets: tuple[SetContents, ...] = ()) -> TableContents:
    return table((FORWARD, list(rules)), sets=sets)


def matches(*steps: Expression, packet: Packet = PACKET, sets: tuple[SetContents, ...] = ()) -> bool:
    contents = forward((*steps, Decide(DROP)), sets=sets)
    return evaluate(contents, packet, Entry.ARRIVES, HERE).ending is Ending.DROP


AFFINITY = Map("affinity", (SOURCE_IPV4,), (DESTINATION_IPV4,), timeout=10_000, dynamic=True, size=2)
HELD = SetContents.of(AFFINITY)
KEEP = (SOURCE, Immediate(4, POD.packed), Dynset("affinity", DynsetOperation.UPDATE, 0, 4))
FIND = (SOURCE, LookupValue("affinity", 0, 1), Decide(DROP))
ROW = ("t", "affinity")


def at(now: int, passage: Passage | None = None) -> Surroundings:
    return replace(HERE, now=now, state=passage.state if passage else {})


def test_a_row_a_rule_adds_is_found_until_its_time_is_over() -> None:
    contents = forward(FIND, KEEP, sets=(HELD,))
    first = evaluate(contents, PACKET, Entry.ARRIVES, at(1000))
    assert first.ending is Ending.ACCEPT
    assert first.state == {ROW: {CLIENT.packed: Remembered(POD.packed, 11_000)}}
    second = evaluate(contents, PACKET, Entry.ARRIVES, at(10_999, first))
    assert second.ending is Ending.DROP
    assert second.steps[0].looked[0].value == POD.packed
    late = evaluate(contents, PACKET, Entry.ARRIVES, at(11_000, first))
    assert late.ending is Ending.ACCEPT
    assert late.state == {ROW: {CLIENT.packed: Remembered(POD.packed, 21_000)}}


def test_updating_renews_the_time_but_never_the_value_and_adding_neither() -> None:
    other = replace(KEEP[2], operation=DynsetOperation.ADD)
    before = {ROW: {CLIENT.packed: Remembered(SERVICE.packed, 5_000)}}
    for step, expires in ((KEEP[2], 14_000), (other, 5_000)):
        contents = forward((*KEEP[:2], step), sets=(HELD,))
        after = evaluate(contents, PACKET, Entry.ARRIVES, replace(HERE, now=4_000, state=before))
        assert after.state == {ROW: {CLIENT.packed: Remembered(SERVICE.packed, expires)}}


def test_a_rule_deletes_a_row_and_goes_on() -> None:
    before = {ROW: {CLIENT.packed: Remembered(SERVICE.packed, 5_000)}}
    contents = forward((SOURCE, Dynset("affinity", DynsetOperation.DELETE, 0), Decide(DROP)), sets=(HELD,))
    for state in (before, {}):
        after = evaluate(contents, PACKET, Entry.ARRIVES, replace(HERE, state=state))
        assert (after.ending, after.state) == (Ending.DROP, {})


def test_a_full_set_takes_no_more_rows_and_ends_the_rule() -> None:
    contents = forward((*KEEP, Decide(DROP)), sets=(HELD,))
    others = {bytes((10, 0, 0, last)): Remembered(POD.packed, 5_000) for last in range(2)}
    full = replace(HERE, state={ROW: others}, now=4_999)
    assert evaluate(contents, PACKET, Entry.ARRIVES, full).ending is Ending.ACCEPT
    assert evaluate(contents, PACKET, Entry.ARRIVES, replace(full, now=5_000)).ending is Ending.DROP


def test_a_step_may_set_a_row_s_own_time() -> None:
    step = replace(KEEP[2], timeout=3_000)
    after = evaluate(forward((*KEEP[:2], step), sets=(HELD,)), PACKET, Entry.ARRIVES, at(0))
    assert after.state == {ROW: {CLIENT.packed: Remembered(POD.packed, 3_000)}}


def rows(target: AnySet, *elements: Element) -> SetContents:
    return SetContents.of(target, elements)


def test_a_key_is_found_in_the_range_that_holds_it() -> None:
    blocks = rows(
        VerdictMap("blocks", (SOURCE_IPV4,), interval=True),
        Element(parse_address("198.51.100.0").packed, ACCEPT, parse_address("198.51.100.2").packed),
        Element(parse_address("198.51.100.4").packed, DROP, parse_address("198.51.100.9").packed),
    )
    contents = forward((SOURCE, LookupVerdict("blocks", 0)), (Decide(DROP),), sets=(blocks,))
    for last, ending, found in ((2, Ending.ACCEPT, True), (3, Ending.DROP, False), (4, Ending.DROP, True)):
        packet = replace(PACKET, source=parse_address(f"198.51.100.{last}"))
        passage = evaluate(contents, packet, Entry.ARRIVES, HERE)
        assert (passage.ending, passage.steps[0].looked[0].found) == (ending, found)


def test_each_field_of_a_concatenated_range_has_its_own_bounds() -> None:
    tcp = b"\6\0\0\0"
    low, high = (parse_address(f"198.51.100.{last}").packed for last in (0, 255))
    peers = rows(
        Set("peers", (SOURCE_IPV4, L4PROTO, DESTINATION_PORT), interval=True),
        Element(low + tcp + b"\0\x50\0\0", None, high + tcp + b"\0\x5a\0\0"),
    )
    steps = (SOURCE, Meta(1, MetaKey.L4PROTO), replace(PORT, register=2), Lookup("peers", 0))
    for change, found in (
        ({}, True),
        ({"destination_port": Port(90)}, True),
        ({"destination_port": Port(91)}, False),
        ({"protocol": 17}, False),
        ({"source": POD}, False),
    ):
        assert matches(*steps, packet=replace(PACKET, **change), sets=(peers,)) is found


def test_a_number_is_compared_with_a_range() -> None:
    for low, high, inside in ((79, 81, True), (80, 80, True), (81, 90, False)):
        for inverted in (False, True):
            step = Range(0, low.to_bytes(2, "big"), high.to_bytes(2, "big"), inverted)
            assert matches(PORT, step) is (inside is not inverted)


def test_the_original_destination_is_known_after_translation() -> None:
    translate = (Immediate(0, POD.packed), Immediate(1, b"\x1f\x90"), Nat(NatType.DNAT, TableFamily.IP, 0, 1))
    looks = (
        (Ct(0, CtKey.DST_IP, Direction.ORIGINAL), SERVICE.packed),
        (Ct(0, CtKey.SRC_IP, Direction.ORIGINAL), CLIENT.packed),
        (Ct(0, CtKey.PROTO_DST, Direction.ORIGINAL), b"\0\x50"),
        (Ct(0, CtKey.PROTO_SRC, Direction.ORIGINAL), (40000).to_bytes(2, "big")),
        (Ct(0, CtKey.SRC_IP, Direction.REPLY), POD.packed),
        (Ct(0, CtKey.PROTO_SRC, Direction.REPLY), b"\x1f\x90"),
        (Ct(0, CtKey.PROTOCOL), b"\6"),
        (Ct(0, CtKey.DIRECTION), b"\0"),
        (DESTINATION, POD.packed),
    )
    for load, value in looks:
        rule = (load, Cmp(0, Comparison.EQ, value), Decide(DROP))
        contents = table((PREROUTING, [translate]), (FORWARD, [rule]))
        assert evaluate(contents, PACKET, Entry.ARRIVES, HERE).ending is Ending.DROP, load


def test_an_answer_knows_what_its_connection_was_made_with() -> None:
    answer = Packet(
        source=POD,
        destination=CLIENT,
        protocol=6,
        ct_state=2,
        ct_direction=Direction.REPLY,
        original=Ends(CLIENT, SERVICE, Port(40000), Port(80)),
    )
    assert matches(Ct(0, CtKey.DST_IP, Direction.ORIGINAL), Cmp(0, Comparison.EQ, SERVICE.packed), packet=answer)
    assert matches(Ct(0, CtKey.DIRECTION), Cmp(0, Comparison.EQ, b"\1"), packet=answer)
    with pytest.raises(UnknownError, match="answers of the connection"):
        matches(Ct(0, CtKey.SRC_IP, Direction.REPLY), packet=answer)
    with pytest.raises(UnknownError, match="another family"):
        matches(Ct(0, CtKey.SRC_IP6, Direction.ORIGINAL), packet=answer)


def test_a_connection_keeps_its_mark() -> None:
    contents = forward((Immediate(0, host(7)), CtSet(0, CtKey.MARK)))
    assert evaluate(contents, PACKET, Entry.ARRIVES, HERE).packet.ct_mark == 7
    assert matches(Ct(0, CtKey.MARK), Cmp(0, Comparison.EQ, host(7)), packet=replace(PACKET, ct_mark=7))


def test_the_kind_of_an_icmp_message_is_known_where_it_is_told() -> None:
    ping = replace(PACKET, protocol=1, icmp_type=8)
    load = Payload(0, Header.TRANSPORT, 0, 1)
    assert matches(load, Cmp(0, Comparison.EQ, b"\x08"), packet=ping)
    with pytest.raises(UnknownError, match="transport header"):
        matches(load, packet=replace(ping, icmp_type=None))


def test_what_a_packet_is_logged_for_is_told_and_the_rule_goes_on() -> None:
    log = Log(5, "denied")
    passage = evaluate(forward((log, Decide(DROP))), PACKET, Entry.ARRIVES, HERE)
    assert (passage.ending, passage.logged) == (Ending.DROP, (log,))


def test_one_packet_is_within_every_limit() -> None:
    assert matches(Limit(1, LimitUnit.DAY))
    assert not matches(Limit(1, LimitUnit.DAY, over=True))


ROUTES = replace(
    HERE,
    routes=((parse_prefix("0.0.0.0/0"), "eth0"), (parse_prefix("10.244.1.2/32"), "veth2")),
)


def named(key: MetaKey, name: str) -> tuple[Expression, ...]:
    return Meta(0, key), Cmp(0, Comparison.EQ, name.encode().ljust(16, b"\0"))


def watched(packet: Packet, entry: Entry) -> dict[Hook, tuple[str | None, str | None]]:
    """The interfaces a packet has in each hook, as rules see them."""
    found: dict[Hook, tuple[str | None, str | None]] = {}
    for hook in Hook:
        seen: list[str | None] = []
        for key in (MetaKey.IIFNAME, MetaKey.OIFNAME):
            for name in ("", "lo", "eth0", "veth2", "veth9"):
                chain = Chain("c", Base(ChainType.FILTER, hook, 0))
                passage = evaluate(table((chain, [(*named(key, name), Decide(DROP))])), packet, entry, ROUTES)
                if passage.ending is Ending.DROP:
                    seen.append(name)
        if seen:
            found[hook] = (seen[0], seen[1])
    return found


def test_each_hook_sees_the_interfaces_the_kernel_shows_it() -> None:
    arrived = replace(PACKET, iifname="veth9", destination=POD)
    assert watched(arrived, Entry.ARRIVES) == {
        Hook.PREROUTING: ("veth9", ""),
        Hook.FORWARD: ("veth9", "veth2"),
        Hook.POSTROUTING: ("veth9", "veth2"),
    }
    assert watched(replace(arrived, destination=NODE), Entry.ARRIVES) == {
        Hook.PREROUTING: ("veth9", ""),
        Hook.INPUT: ("veth9", ""),
    }
    sent = replace(PACKET, source=NODE)
    assert watched(sent, Entry.SENT) == {Hook.OUTPUT: ("", "eth0"), Hook.POSTROUTING: ("", "eth0")}
    assert watched(replace(sent, destination=NODE), Entry.SENT) == {
        Hook.PREROUTING: ("lo", ""),
        Hook.INPUT: ("lo", ""),
        Hook.OUTPUT: ("", "lo"),
        Hook.POSTROUTING: ("", "lo"),
    }


def test_an_interface_nobody_knows_is_never_guessed() -> None:
    for key in (MetaKey.IIFNAME, MetaKey.OIFNAME):
        with pytest.raises(UnknownError, match=key.name.lower()):
            matches(*named(key, "eth0"))
    assert matches(*named(MetaKey.OIFNAME, "eth0"), packet=replace(PACKET, oifname="eth0"))


def test_base_chains_of_several_tables_take_turns_by_priority() -> None:
    def one(name: str, priority: int, family: TableFamily, verdict: Verdict) -> TableContents:
        chain = Chain("forward", Base(ChainType.FILTER, Hook.FORWARD, priority))
        return TableContents(family, name, {"forward": ChainContents(chain, [Rule((Decide(verdict),))])})

    late, soon = one("late", 10, TableFamily.INET, DROP), one("soon", -10, TableFamily.IP, ACCEPT)
    six = one("six", -20, TableFamily.IP6, DROP)
    passage = evaluate([late, six, soon], PACKET, Entry.ARRIVES, HERE)
    assert passage.ending is Ending.DROP
    assert [step.table for step in passage.steps] == ["soon", "late"]
    assert evaluate([soon, six], PACKET, Entry.ARRIVES, HERE).ending is Ending.ACCEPT


def test_each_table_has_its_own_chains_sets_and_rows() -> None:
    keep = table((FORWARD, [KEEP]), sets=(HELD,))
    other = table((Chain("forward", Base(ChainType.FILTER, Hook.FORWARD, 1)), [FIND]), sets=(HELD,))
    other.name = "other"
    assert evaluate([keep, other], PACKET, Entry.ARRIVES, HERE).ending is Ending.ACCEPT
    other.name = "t"
    assert evaluate([keep, other], PACKET, Entry.ARRIVES, HERE).ending is Ending.DROP


def test_a_verdict_map_may_jump_and_return() -> None:
    ways = rows(VerdictMap("ways", (SOURCE_IPV4,)), Element(CLIENT.packed, jump("judge")))
    for verdict, ending in ((Verdict(VerdictCode.RETURN), Ending.DROP), (ACCEPT, Ending.ACCEPT)):
        contents = table(
            (FORWARD, [(SOURCE, LookupVerdict("ways", 0)), (Decide(DROP),)]),
            (Chain("judge"), [(Decide(verdict),), (Decide(DROP),)]),
            sets=(ways,),
        )
        assert evaluate(contents, PACKET, Entry.ARRIVES, HERE).ending is ending


def test_addresses_of_a_connection_are_fields_of_each_family() -> None:
    assert ct_address(Family.IPV6, "daddr", 1).spelling == "ct reply ip6 daddr"
    assert ct_address(Family.IPV4, "saddr", 0).spelling == "ct original ip saddr"
