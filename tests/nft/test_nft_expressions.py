"""Every expression survives the way to the wire and back, and reads as nft writes it."""

from typing import get_args

import pytest

from fairlead.nft.attributes import attribute, name, nest, number
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
from fairlead.nft.fields import DESTINATION_IPV4, DESTINATION_PORT, L4PROTO, RANDOM_CHOICE, SOURCE_IPV4
from fairlead.nft.objects import Map, Rule, Set, VerdictMap
from fairlead.nft.rule_text import ForeignError, spell_rule
from fairlead.nft.verdicts import ACCEPT, DROP, goto, jump
from fairlead.nft.wire_expressions import encode_expressions, parse_expressions

EVERY: tuple[Expression, ...] = (
    Payload(0, Header.NETWORK, 16, 4),
    Meta(1, MetaKey.L4PROTO),
    MetaSet(0, MetaKey.MARK),
    Ct(0, CtKey.STATUS),
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
    ],
    ids=["nat with random ports", "unknown meta key", "payload that writes", "expression without attributes"],
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


def test_a_foreign_expression_has_no_words() -> None:
    with pytest.raises(ForeignError, match="quota"):
        spell_rule(Rule((Foreign("quota", b""),)), SETS)
