"""The constant part of the service table: its sets, and base chains with their rules.

Comes in: an address family, the local pods' prefixes, the Service ranges. Goes out: sets, chains and rules. Refuses to
know any frontend: their number changes rows, never this. The rules are those of kube-proxy's nftables mode
(k/pkg/proxy/nftables/proxier.go), on keyed rows instead of chains per Service.
"""

from fairlead.net import Family, Prefix, Protocol
from fairlead.nft.expressions import (
    Cmp,
    Comparison,
    Decide,
    Lookup,
    LookupVerdict,
    Masquerade,
    Meta,
    MetaKey,
    Reject,
    RejectType,
)
from fairlead.nft.objects import Base, Chain, ChainType, Hook, Priority, Rule, TableFamily, VerdictMap
from fairlead.nft.verdicts import DROP, goto
from fairlead.render.service_affinity import CLEAR
from fairlead.render.service_chains import ChoiceChains
from fairlead.render.service_sets import ServiceSets
from fairlead.render.service_steps import MARKED, NEW, TRANSLATED, Steps

TABLE = "fairlead"
REFUSE = "refuse"
_BEFORE_DSTNAT = Priority.DSTNAT - 10


class ServiceLayout:
    """The sets and rules of one family's service table."""

    def __init__(self, family: Family, pod_prefixes: tuple[Prefix, ...], service_prefixes: tuple[Prefix, ...]) -> None:
        self.family = family
        self.table_family = TableFamily.of(family)
        self.service_prefixes = tuple(prefix for prefix in service_prefixes if prefix.family is family)
        self.sets = ServiceSets(family, self.service_prefixes)
        local = tuple(prefix for prefix in pod_prefixes if prefix.family is family)
        self.choices = ChoiceChains(family, self.sets, local)
        self._steps = Steps(family)

    def chains(self) -> tuple[tuple[Chain, tuple[Rule, ...]], ...]:
        """Return the chains that are always there, each with its rules, a chain before those that lead to it."""
        translate = (self._by_frontend(self.sets.frontends),)
        refused, admitted = self._refusals(), (self._admission(),)
        nat, filtering = ChainType.NAT, ChainType.FILTER
        return (
            (Chain(REFUSE), self._refuse()),
            (Chain("filter-prerouting", Base(filtering, Hook.PREROUTING, _BEFORE_DSTNAT)), admitted),
            (Chain("filter-output-early", Base(filtering, Hook.OUTPUT, _BEFORE_DSTNAT)), admitted),
            (Chain("nat-prerouting", Base(nat, Hook.PREROUTING, Priority.DSTNAT)), translate),
            (Chain("nat-output", Base(nat, Hook.OUTPUT, Priority.DSTNAT)), translate),
            (Chain("nat-postrouting", Base(nat, Hook.POSTROUTING, Priority.SRCNAT)), self._postrouting()),
            (Chain("filter-input", Base(filtering, Hook.INPUT, Priority.FILTER)), refused[:1]),
            (Chain("filter-forward", Base(filtering, Hook.FORWARD, Priority.FILTER)), refused),
            (Chain("filter-output", Base(filtering, Hook.OUTPUT, Priority.FILTER)), refused),
        )

    def _by_frontend(self, verdicts: VerdictMap) -> Rule:
        return Rule((*self._steps.load_frontend(), LookupVerdict(verdicts.name, 0)))

    def _postrouting(self) -> tuple[Rule, ...]:
        steps = self._steps
        ends = (steps.load_source(), steps.load_destination(steps.words), Lookup(self.sets.hairpin.name, 0))
        return (CLEAR, Rule((*MARKED, Masquerade(True))), Rule((*TRANSLATED, *ends, Masquerade(True))))

    def _admission(self) -> Rule:
        """Drop new connections to load balancer addresses from outside the ranges they are for, before translation."""
        steps = self._steps
        restricted = (*steps.load_frontend(), Lookup(self.sets.restricted.name, 0))
        source = (*steps.load_frontend(), steps.load_source(steps.frontend_words))
        return Rule((*NEW, *restricted, *source, Lookup(self.sets.source_ranges.name, 0, True), Decide(DROP)))

    def _refusals(self) -> tuple[Rule, ...]:
        """Refuse new connections: frontends without backends, other ports of a known address, Service ranges."""
        by_frontend = Rule((*NEW, *self._by_frontend(self.sets.no_endpoints).expressions))
        if not self.service_prefixes:
            return (by_frontend,)
        known = (self._steps.load_destination(), Lookup(self.sets.cluster_ips.name, 0), Decide(goto(REFUSE)))
        inside = map(self._steps.destination_in, self.service_prefixes)
        return (by_frontend, Rule((*NEW, *known)), *(Rule((*NEW, *each, Decide(DROP))) for each in inside))

    def _refuse(self) -> tuple[Rule, ...]:
        """Answer TCP with a reset and everything else with port unreachable."""
        tcp = (Meta(0, MetaKey.L4PROTO), Cmp(0, Comparison.EQ, bytes((Protocol.TCP,))))
        unreachable = 3 if self.family is Family.IPV4 else 4
        return (
            Rule((*tcp, Reject(RejectType.TCP_RST))),
            Rule((Reject(RejectType.ICMP_UNREACH, unreachable),)),
        )
