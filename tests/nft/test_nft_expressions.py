"""Every expression survives the way to the wire and back, and reads as nft writes it."""

import os
import subprocess
from typing import get_args

import pytest

from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, new_namespace
from fairlead.nft.attributes import attribute, name, nest, number
from fairlead.nft.expressions import (
    Bitwise,
    Cmp,
    Comparison,
    Counter,
    Ct,
    CtKey,
    CtSet,
    Decide,
    Direction,
    Dynset,
    DynsetOperation,
    Expression,
    Fib,
    FibFlag,
    FibResult,
    Foreign,
    Header,
    Immediate,
    Limit,
    LimitUnit,
    Log,
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
    Range,
    Reject,
    RejectType,
)
from fairlead.nft.fields import DESTINATION_IPV4, DESTINATION_PORT, L4PROTO, RANDOM_CHOICE, SOURCE_IPV4
from fairlead.nft.objects import Chain, Map, Rule, Set, TableFamily, VerdictMap
from fairlead.nft.packets import host
from fairlead.nft.rule_text import ForeignError, spell_rule
from fairlead.nft.transactions import AddChain, AddRule, AddSet, AddTable, Transaction
from fairlead.nft.verdicts import ACCEPT, DROP, Verdict, VerdictCode, goto, jump
from fairlead.nft.wire_expressions import encode_expressions, parse_expressions

EVERY: tuple[Expression, ...] = (
    Payload(0, Header.NETWORK, 16, 4),
    Meta(1, MetaKey.L4PROTO),
    MetaSet(0, MetaKey.MARK),
    Ct(0, CtKey.STATUS),
    Ct(0, CtKey.DST_IP, Direction.ORIGINAL),
    CtSet(0, CtKey.MARK),
    Range(0, b"\0\x50", b"\0\x5a"),
    Range(0, b"\0\x50", b"\0\x5a", True),
    Dynset("affinity", DynsetOperation.UPDATE, 0, 4, 10_000),
    Dynset("seen", DynsetOperation.DELETE, 0),
    Log(5, "denied", 64),
    Log(7),
    Limit(10, LimitUnit.SECOND),
    Limit(3, LimitUnit.HOUR, 9, True),
    Cmp(0, Comparison.NEQ, b"\x0a\xf4\x01"),
    Bitwise(0, 4, b"\xff\xbf\xff\xff", b"\0\x40\0\0"),
    Lookup("hairpin", 0),
    Lookup("hairpin", 0, True),
    LookupValue("backends", 0, 2),
    LookupVerdict("frontends", 0),
    Decide(goto("refuse")),
    Decide(DROP),
    Immediate(3, b"\1\2\3\4"),
    Numgen(3, NumgenType.RANDOM, 7, 2),
    Nat(NatType.DNAT, 2, 0, 1),
    Nat(NatType.SNAT, 10, 4),
    Masquerade(),
    Masquerade(True),
    Reject(RejectType.TCP_RST),
    Reject(RejectType.ICMP_UNREACH, 3),
    Fib(0, FibResult.ADDRTYPE, FibFlag.DADDR),
    Counter(),
    Foreign("quota", attribute(1, b"12345678")),
)


def test_every_kind_of_expression_is_tried() -> None:
    assert {type(expression) for expression in EVERY} == set(get_args(Expression))


@pytest.mark.parametrize("expression", EVERY, ids=lambda expression: type(expression).__name__)
def test_an_expression_parses_to_what_was_encoded(expression: Expression) -> None:
    assert parse_expressions(encode_expressions((expression,))) == (expression,)


def test_payload_has_the_bytes_that_nft_sends() -> None:
    # nft --debug=mnl: ip saddr & 255.255.255.0, in chain cluster-2, loads three bytes
    sent = "340001800c0001007061796c6f6164002400028008000100000000080800020000000001080003000000000c0800040000000003"
    assert encode_expressions((Payload(0, Header.NETWORK, 12, 3),)).hex() == sent


def test_the_old_register_names_mean_four_words_each() -> None:
    old = nest(1, name(1, "meta") + nest(2, number(2, 16) + number(1, 2)))
    assert parse_expressions(old) == (Meta(4, MetaKey.L4PROTO),)


@pytest.mark.parametrize(
    "listed",
    [
        nest(1, name(1, "nat") + nest(2, number(1, 1) + number(2, 2) + number(3, 8) + number(7, 1 << 4))),
        nest(1, name(1, "meta") + nest(2, number(1, 8) + number(2, 999))),
        nest(1, name(1, "payload") + nest(2, number(5, 8))),
        nest(1, name(1, "last")),
        nest(1, name(1, "dynset") + nest(2, name(1, "seen") + number(3, 0) + number(4, 8) + number(9, 1))),
        nest(1, name(1, "log") + nest(2, number(5, 4))),
    ],
    ids=[
        "nat with random ports",
        "unknown meta key",
        "payload that writes",
        "expression without attributes",
        "inverted dynset",
        "log to syslog",
    ],
)
def test_what_is_never_written_here_is_listed_as_foreign(listed: bytes) -> None:
    (found,) = parse_expressions(listed)
    assert isinstance(found, Foreign)
    assert encode_expressions((found,))[: len(listed)] == listed or found.attributes == b""


FRONTEND = (DESTINATION_IPV4, L4PROTO, DESTINATION_PORT)
SETS = {
    "backends": Map("backends", (*FRONTEND, RANDOM_CHOICE), (DESTINATION_IPV4, DESTINATION_PORT)),
    "frontends": VerdictMap("frontends", FRONTEND),
    "hairpin": Set("hairpin", (SOURCE_IPV4, DESTINATION_IPV4)),
    "affinity": Map(
        "affinity", (SOURCE_IPV4, RANDOM_CHOICE), (DESTINATION_IPV4, DESTINATION_PORT), timeout=0, dynamic=True
    ),
    "seen": Set("seen", (SOURCE_IPV4,), dynamic=True),
}
LOAD = (Payload(0, Header.NETWORK, 16, 4), Meta(1, MetaKey.L4PROTO), Payload(2, Header.TRANSPORT, 2, 2))
ADDRESSES = (Payload(0, Header.NETWORK, 12, 4), Payload(1, Header.NETWORK, 16, 4))
MARK = Meta(0, MetaKey.MARK)


@pytest.mark.parametrize(
    ("text", "expressions"),
    [
        ("ip daddr . meta l4proto . th dport vmap @frontends", (*LOAD, LookupVerdict("frontends", 0))),
        (
            "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 3 map @backends",
            (*LOAD, Numgen(3, NumgenType.RANDOM, 3), LookupValue("backends", 0, 0), Nat(NatType.DNAT, 2, 0, 1)),
        ),
        (
            "ip saddr != 10.244.1.0/24 drop",
            (Payload(0, Header.NETWORK, 12, 3), Cmp(0, Comparison.NEQ, b"\x0a\xf4\x01"), Decide(DROP)),
        ),
        (
            "ip daddr 10.96.0.0/12 accept",
            (
                Payload(0, Header.NETWORK, 16, 4),
                Bitwise(0, 0, b"\xff\xf0\0\0", bytes(4)),
                Cmp(0, Comparison.EQ, b"\x0a\x60\0\0"),
                Decide(ACCEPT),
            ),
        ),
        (
            "ip saddr . ip daddr != @hairpin jump elsewhere",
            (*ADDRESSES, Lookup("hairpin", 0, True), Decide(jump("elsewhere"))),
        ),
        (
            "ct status dnat masquerade",
            (
                Ct(0, CtKey.STATUS),
                Bitwise(0, 0, b"\x20\0\0\0", bytes(4)),
                Cmp(0, Comparison.NEQ, bytes(4)),
                Masquerade(),
            ),
        ),
        (
            "meta mark set meta mark | 0x00004000",
            (MARK, Bitwise(0, 0, b"\xff\xbf\xff\xff", b"\0\x40\0\0"), MetaSet(0, MetaKey.MARK)),
        ),
        (
            "meta mark & 0x00004000 == 0x00004000 counter",
            (MARK, Bitwise(0, 0, b"\0\x40\0\0", bytes(4)), Cmp(0, Comparison.EQ, b"\0\x40\0\0"), Counter()),
        ),
        (
            "meta l4proto tcp reject with tcp reset",
            (Meta(0, MetaKey.L4PROTO), Cmp(0, Comparison.EQ, b"\6"), Reject(RejectType.TCP_RST)),
        ),
        (
            "th dport 80 reject with icmp port-unreachable",
            (Payload(0, Header.TRANSPORT, 2, 2), Cmp(0, Comparison.EQ, b"\0\x50"), Reject(RejectType.ICMP_UNREACH, 3)),
        ),
    ],
)
def test_a_rule_reads_as_nft_writes_it(text: str, expressions: tuple[Expression, ...]) -> None:
    assert spell_rule(Rule(expressions), SETS) == text


SOURCE = Payload(0, Header.NETWORK, 12, 4)


def is_equal(load: Expression, value: bytes) -> tuple[Expression, ...]:
    return load, Cmp(0, Comparison.EQ, value)


LISTED: dict[str, tuple[Expression, ...]] = {
    "update @affinity { ip saddr . meta mark timeout 1h30m : 10.244.1.3 . 8080 }": (
        SOURCE,
        Meta(1, MetaKey.MARK),
        Immediate(4, b"\x0a\xf4\1\3"),
        Immediate(5, b"\x1f\x90"),
        Dynset("affinity", DynsetOperation.UPDATE, 0, 4, 5_400_000),
    ),
    "add @seen { ip saddr }": (SOURCE, Dynset("seen", DynsetOperation.ADD, 0)),
    "delete @seen { ip saddr } counter": (SOURCE, Dynset("seen", DynsetOperation.DELETE, 0), Counter()),
    'log prefix "denied" group 5 snaplen 64': (Log(5, "denied", 64),),
    "limit rate 10/second log group 7": (Limit(10, LimitUnit.SECOND), Log(7)),
    "limit rate over 3/minute burst 9 packets drop": (Limit(3, LimitUnit.MINUTE, 9, True), Decide(DROP)),
    "ct mark 0x00000007": is_equal(Ct(0, CtKey.MARK), host(7)),
    "ct mark & 0x0000000f == 0x00000004": (
        Ct(0, CtKey.MARK),
        Bitwise(0, 0, host(0xF), host(0)),
        Cmp(0, Comparison.EQ, host(4)),
    ),
    "ct mark set 0x00000001": (Immediate(0, host(1)), CtSet(0, CtKey.MARK)),
    "ct mark set meta mark": (MARK, CtSet(0, CtKey.MARK)),
    "ct direction original": is_equal(Ct(0, CtKey.DIRECTION), b"\0"),
    "ct state established,related accept": (
        Ct(0, CtKey.STATE),
        Bitwise(0, 0, host(6), host(0)),
        Cmp(0, Comparison.NEQ, host(0)),
        Decide(ACCEPT),
    ),
    "ct original ip daddr 10.0.0.1": is_equal(Ct(0, CtKey.DST_IP, Direction.ORIGINAL), b"\x0a\0\0\1"),
    "ct reply ip saddr 10.0.0.1": is_equal(Ct(0, CtKey.SRC_IP, Direction.REPLY), b"\x0a\0\0\1"),
    "meta l4proto tcp ct original proto-dst 80": (
        *is_equal(Meta(0, MetaKey.L4PROTO), b"\6"),
        *is_equal(Ct(0, CtKey.PROTO_DST, Direction.ORIGINAL), b"\0\x50"),
    ),
    "ct protocol tcp": is_equal(Ct(0, CtKey.PROTOCOL), b"\6"),
    "meta protocol ip": is_equal(Meta(0, MetaKey.PROTOCOL), b"\x08\0"),
    "meta nfproto ipv4": is_equal(Meta(0, MetaKey.NFPROTO), b"\2"),
    'iifname "lo"': is_equal(Meta(0, MetaKey.IIFNAME), b"lo".ljust(16, b"\0")),
    'oifname != "veth*"': (Meta(0, MetaKey.OIFNAME), Cmp(0, Comparison.NEQ, b"veth")),
    "meta pkttype multicast": is_equal(Meta(0, MetaKey.PKTTYPE), b"\2"),
    "icmp type echo-request": (
        *is_equal(Meta(0, MetaKey.L4PROTO), b"\1"),
        *is_equal(Payload(0, Header.TRANSPORT, 0, 1), b"\x08"),
    ),
    "tcp dport 1000-2000 return": (
        *is_equal(Meta(0, MetaKey.L4PROTO), b"\6"),
        Payload(0, Header.TRANSPORT, 2, 2),
        Range(0, b"\x03\xe8", b"\x07\xd0"),
        Decide(Verdict(VerdictCode.RETURN)),
    ),
    "th sport != 1000-2000 jump elsewhere": (
        Payload(0, Header.TRANSPORT, 0, 2),
        Range(0, b"\x03\xe8", b"\x07\xd0", True),
        Decide(jump("elsewhere")),
    ),
    "ip saddr 10.0.0.1-10.0.0.9": (SOURCE, Range(0, b"\x0a\0\0\1", b"\x0a\0\0\x09")),
}
"""Rules by the very words of `nft list ruleset`, which says `tcp dport` and `icmp type` for two expressions each."""


@pytest.mark.parametrize("text", LISTED)
def test_a_rule_of_the_wider_language_reads_as_nft_lists_it(text: str) -> None:
    ours = spell_rule(Rule(LISTED[text]), SETS)
    assert ours.replace("meta l4proto tcp th ", "tcp ").replace("meta l4proto icmp icmp", "icmp") == text


@pytest.mark.kernel
def test_the_kernel_takes_the_wider_language_and_nft_lists_it_in_those_words() -> None:
    rules = [Rule(steps) for steps in LISTED.values()]
    sets = (SETS["affinity"], SETS["seen"])
    chains = (AddChain(Chain("elsewhere")), AddChain(Chain("c")))
    made = (AddTable(), *map(AddSet, sets), *chains, *(AddRule("c", rule) for rule in rules))
    netns = new_namespace()
    with entered(netns), NftSocket() as nft_socket:
        nft_socket.apply(Transaction(TableFamily.IP, "t", made))
        table = nft_socket.list_table(TableFamily.IP, "t")
        shown = subprocess.run(["nft", "list", "chain", "ip", "t", "c"], check=True, capture_output=True, text=True)
    os.close(netns)
    assert table is not None
    assert table.chains["c"].rules == rules
    lines = [line.strip().replace(" packets 0 bytes 0", "") for line in shown.stdout.splitlines()[2:-2]]
    assert lines == list(LISTED)


def test_a_foreign_expression_has_no_words() -> None:
    with pytest.raises(ForeignError, match="quota"):
        spell_rule(Rule((Foreign("quota", b""),)), SETS)
