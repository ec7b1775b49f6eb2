"""The constant part of the service table: its sets, base chains and rules, and the shape of a chain per width.

Comes in: an address family, the local pods' prefixes, the Service range. Goes out: sets, chains and rules. Refuses to
know any frontend: their number changes rows, never this. The rules are those of kube-proxy's nftables mode
(k/pkg/proxy/nftables/proxier.go), on keyed rows instead of chains per Service.
"""

import sys
from enum import IntEnum
from typing import assert_never

from fairlead.model import Masquerade as MasqueradeClass
from fairlead.net import Family, Prefix, Protocol
from fairlead.nft.expressions import (
    Bitwise,
    Cmp,
    Comparison,
    Ct,
    CtKey,
    Decide,
    Expression,
    Header,
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
from fairlead.nft.fields import DESTINATION_PORT, L4PROTO, RANDOM_CHOICE, destination_address, source_address
from fairlead.nft.objects import (
    AnySet,
    Base,
    Chain,
    ChainType,
    Hook,
    Map,
    Priority,
    Rule,
    Set,
    TableFamily,
    VerdictMap,
)
from fairlead.nft.verdicts import DROP, Verdict, goto

TABLE = "fairlead"
REFUSE = "refuse"
MASQUERADE_MARK = 0x4000
"""The bit of the packet mark that asks for masquerade, the same as kube-proxy's default `iptablesMasqueradeBit` 14."""

_CT_STATE_NEW = 8
_CT_STATUS_DNAT = 32
_ALL_BITS = 0xFFFFFFFF


class ChainClass(IntEnum):
    """The three ways into a width, by whose packets are masqueraded; the name in small letters begins the chain's."""

    PICK = 0
    CLUSTER = 1
    EXTERNAL = 2


def class_of(masquerade: MasqueradeClass) -> ChainClass:
    """Return the way that masquerades so."""
    match masquerade:
        case MasqueradeClass.UNLESS_LOCAL_POD:
            return ChainClass.CLUSTER
        case MasqueradeClass.ALWAYS:
            return ChainClass.EXTERNAL
        case MasqueradeClass.NEVER:
            return ChainClass.PICK
        case _:
            assert_never(masquerade)


class ServiceLayout:
    """The sets and rules of one family's service table."""

    def __init__(self, family: Family, pod_prefixes: tuple[Prefix, ...], service_prefix: Prefix | None) -> None:
        self.family = family
        self.table_family = TableFamily.of(family)
        self.pod_prefixes = tuple(prefix for prefix in pod_prefixes if prefix.family is family)
        in_family = service_prefix is not None and service_prefix.family is family
        self.service_prefix = service_prefix if in_family else None
        source, destination = source_address(family), destination_address(family)
        frontend = (destination, L4PROTO, DESTINATION_PORT)
        self.backends = Map("backends", (*frontend, RANDOM_CHOICE), (destination, DESTINATION_PORT))
        self.frontends = VerdictMap("frontends", frontend)
        self.no_endpoints = VerdictMap("no-endpoints", frontend)
        self.hairpin = Set("hairpin", (source, destination))
        self.cluster_ips = Set("cluster-ips", (destination,))
        self._words = family.size // 4
        self._source_offset, self._destination_offset = (12, 16) if family is Family.IPV4 else (8, 24)

    @property
    def sets(self) -> tuple[AnySet, ...]:
        """Every set and map of the table."""
        sets: tuple[AnySet, ...] = (self.backends, self.frontends, self.no_endpoints, self.hairpin)
        return (*sets, self.cluster_ips) if self.service_prefix else sets

    def chains(self) -> tuple[tuple[Chain, tuple[Rule, ...]], ...]:
        """Return the chains that are always there, each with its rules, a chain before those that lead to it."""
        translate = (self._by_frontend(self.frontends),)
        refused = self._refusals()
        nat, filtering = ChainType.NAT, ChainType.FILTER
        return (
            (Chain(REFUSE), self._refuse()),
            (Chain("nat-prerouting", Base(nat, Hook.PREROUTING, Priority.DSTNAT)), translate),
            (Chain("nat-output", Base(nat, Hook.OUTPUT, Priority.DSTNAT)), translate),
            (Chain("nat-postrouting", Base(nat, Hook.POSTROUTING, Priority.SRCNAT)), self._postrouting()),
            (Chain("filter-input", Base(filtering, Hook.INPUT, Priority.FILTER)), refused[:1]),
            (Chain("filter-forward", Base(filtering, Hook.FORWARD, Priority.FILTER)), refused),
            (Chain("filter-output", Base(filtering, Hook.OUTPUT, Priority.FILTER)), refused),
        )

    def width_rules(self, way: ChainClass, width: int) -> tuple[Rule, ...]:
        """Return the rules of the chain that spreads new connections evenly over `width` backends."""
        return (*self._mark(way), self._translate(width))

    def _mark(self, way: ChainClass) -> tuple[Rule, ...]:
        """Mark for masquerade: everything, or what comes from no local pod, or with no pods known nothing."""
        mark = (
            Meta(0, MetaKey.MARK),
            Bitwise(0, 0, _host(_ALL_BITS ^ MASQUERADE_MARK), _host(MASQUERADE_MARK)),
            MetaSet(0, MetaKey.MARK),
        )
        if way is ChainClass.EXTERNAL:
            return (Rule(mark),)
        if way is ChainClass.PICK or not self.pod_prefixes:
            return ()
        outside = tuple(step for prefix in self.pod_prefixes for step in self._compare_source(prefix))
        return (Rule((*outside, *mark)),)

    def _translate(self, width: int) -> Rule:
        index = self._words + 2
        return Rule(
            (
                *self._load_frontend(),
                Numgen(index, NumgenType.RANDOM, width),
                LookupValue(self.backends.name, 0, 0),
                Nat(NatType.DNAT, self.table_family, 0, self._words),
            )
        )

    def _load_frontend(self) -> tuple[Expression, ...]:
        return (
            Payload(0, Header.NETWORK, self._destination_offset, self.family.size),
            Meta(self._words, MetaKey.L4PROTO),
            Payload(self._words + 1, Header.TRANSPORT, 2, 2),
        )

    def _by_frontend(self, verdicts: VerdictMap) -> Rule:
        return Rule((*self._load_frontend(), LookupVerdict(verdicts.name, 0)))

    def _compare_source(self, prefix: Prefix) -> tuple[Expression, ...]:
        return self._compare(self._source_offset, prefix, Comparison.NEQ)

    def _compare(self, offset: int, prefix: Prefix, comparison: Comparison) -> tuple[Expression, ...]:
        """Compare an address with a prefix: its whole bytes alone where it ends on one, as nft does."""
        packed = prefix.address.packed
        if prefix.length % 8 == 0 and prefix.length:
            length = prefix.length // 8
            return (Payload(0, Header.NETWORK, offset, length), Cmp(0, comparison, packed[:length]))
        bits = 8 * len(packed)
        mask = ((1 << bits) - (1 << (bits - prefix.length))).to_bytes(len(packed), "big")
        return (
            Payload(0, Header.NETWORK, offset, len(packed)),
            Bitwise(0, 0, mask, bytes(len(packed))),
            Cmp(0, comparison, packed),
        )

    def _postrouting(self) -> tuple[Rule, ...]:
        marked = Rule(
            (
                Meta(0, MetaKey.MARK),
                Bitwise(0, 0, _host(MASQUERADE_MARK), _host(0)),
                Cmp(0, Comparison.EQ, _host(MASQUERADE_MARK)),
                Meta(0, MetaKey.MARK),
                Bitwise(0, 0, _host(_ALL_BITS ^ MASQUERADE_MARK), _host(0)),
                MetaSet(0, MetaKey.MARK),
                Masquerade(True),
            )
        )
        hairpin = Rule(
            (
                Ct(0, CtKey.STATUS),
                Bitwise(0, 0, _host(_CT_STATUS_DNAT), _host(0)),
                Cmp(0, Comparison.NEQ, _host(0)),
                Payload(0, Header.NETWORK, self._source_offset, self.family.size),
                Payload(self._words, Header.NETWORK, self._destination_offset, self.family.size),
                Lookup(self.hairpin.name, 0),
                Masquerade(True),
            )
        )
        return (marked, hairpin)

    def _refusals(self) -> tuple[Rule, ...]:
        """Refuse new connections: frontends without backends, other ports of a known address, the Service range."""
        new = (
            Ct(0, CtKey.STATE),
            Bitwise(0, 0, _host(_CT_STATE_NEW), _host(0)),
            Cmp(0, Comparison.NEQ, _host(0)),
        )
        by_frontend = Rule((*new, *self._by_frontend(self.no_endpoints).expressions))
        if self.service_prefix is None:
            return (by_frontend,)
        load = Payload(0, Header.NETWORK, self._destination_offset, self.family.size)
        known = Rule((*new, load, Lookup(self.cluster_ips.name, 0), Decide(goto(REFUSE))))
        inside = self._compare(self._destination_offset, self.service_prefix, Comparison.EQ)
        return (by_frontend, known, Rule((*new, *inside, Decide(DROP))))

    def _refuse(self) -> tuple[Rule, ...]:
        """Answer TCP with a reset and everything else with port unreachable."""
        tcp = (Meta(0, MetaKey.L4PROTO), Cmp(0, Comparison.EQ, bytes((Protocol.TCP,))))
        unreachable = 3 if self.family is Family.IPV4 else 4
        return (
            Rule((*tcp, Reject(RejectType.TCP_RST))),
            Rule((Reject(RejectType.ICMP_UNREACH, unreachable),)),
        )


def chain_name(way: ChainClass, width: int) -> str:
    """Return the name of the chain of a class and width, such as `cluster-3`."""
    return f"{way.name.lower()}-{width}"


def width_verdict(way: ChainClass, width: int) -> Verdict:
    """Return the verdict that leads a frontend to the chain of its class and width."""
    return goto(chain_name(way, width))


def _host(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)
