"""The rules of the policy table: base chains, and the chains that a profile becomes.

Comes in: profiles. Goes out: chains with rules, and the sets these look into. Refuses to know pods: who is judged by a
profile, and who is meant by it, are rows.

A profile's chain is jumped into: it returns for a connection that is allowed on this side, so that the other side is
asked too, and drops what is denied. What both sides allow is stamped with the generation of the rules it was judged by.
An established connection passes with the current stamp only, so that after every change each connection is judged
again, by the first packet that comes, whichever way it goes.
"""

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

from msgspec import Struct

from fairlead.model.policies import Action, Direction, NamedPort, PodGroup, PortRange
from fairlead.model.policy_profiles import Profile, Term
from fairlead.net import Family
from fairlead.nft.expressions import (
    Bitwise,
    Cmp,
    Comparison,
    Counter,
    Ct,
    CtKey,
    CtSet,
    Decide,
    Expression,
    Header,
    Limit,
    LimitUnit,
    Log,
    Lookup,
    LookupValue,
    LookupVerdict,
    Meta,
    MetaKey,
    Payload,
    Range,
)
from fairlead.nft.expressions import Direction as Way
from fairlead.nft.objects import AnySet, Base, Chain, ChainType, Element, Hook, Rule
from fairlead.nft.verdicts import ACCEPT, DROP, Verdict, VerdictCode, goto, jump
from fairlead.render.policy_sets import PolicySets, block_elements, digest, is_everything, port_elements
from fairlead.render.service_steps import Steps, host

TABLE = "fairlead-policy"
ALLOW = "allow"
PRIORITY = 10
"""After the service table's filter chains: what has no endpoint is refused there, with an answer."""

_RETURN = Verdict(VerdictCode.RETURN)
_ESTABLISHED_RELATED, _INVALID_UNTRACKED = 2 | 4, 1 | 64
_ICMPV6 = 58
_FIRST_NEIGHBOUR_TYPE, _LAST_NEIGHBOUR_TYPE = 130, 137
_LISTENER_REPORT_V2 = 143
_DENIALS_A_SECOND = 100


_FilledSets: TypeAlias = dict[str, tuple[AnySet, tuple[Element, ...]]]


class Established(Enum):
    """What becomes of established connections that the policies would not allow any more."""

    CUT = "cut"
    KEEP = "keep"


class PolicySettings(Struct, frozen=True):
    """How the table is to be. `log_group` is the nflog group that hears of denied packets, None for none."""

    established: Established = Established.CUT
    log_group: int | None = None


class Chains(Struct, frozen=True):
    """The chains of a profile, those that lead to others first, and the sets its rules look into, with their rows.

    Sets of collections are not among them: those have rows of their own.
    """

    chains: tuple[tuple[Chain, tuple[Rule, ...]], ...]
    sets: tuple[tuple[AnySet, tuple[Element, ...]], ...]


class PolicyChains:
    """The chains of one family's policy table."""

    def __init__(self, family: Family, settings: PolicySettings) -> None:
        self._family = family
        self._settings = settings
        self._words = family.size // 4
        self._steps = Steps(family)
        self.sets = PolicySets(family)
        self.of_profile = lru_cache(maxsize=4096)(self._of_profile)

    def base(self) -> tuple[tuple[Chain, tuple[Rule, ...]], ...]:
        """Return the chains that are always there, a chain before those that lead to it."""
        sets = self.sets
        pass_on = self._established()
        unjudgeable = [
            Rule((*_state(_INVALID_UNTRACKED), load, Lookup(sets.isolated.name, 0), Decide(DROP)))
            for load in (self._steps.load_source(), self._steps.load_destination())
        ]
        own = (self._load(Direction.EGRESS), self._load(Direction.INGRESS, self._words))
        hairpin = Rule((*own, Lookup(sets.own.name, 0), Decide(goto(ALLOW))))
        egress = Rule((self._load(Direction.EGRESS), LookupVerdict(sets.egress.name, 0)))
        ingress = Rule((self._load(Direction.INGRESS), LookupVerdict(sets.ingress.name, 0)))
        allow = Rule((Decide(goto(ALLOW)),))
        return (
            (Chain(ALLOW), (self._stamp(),)),
            (self._filter("forward", Hook.FORWARD), (pass_on, *unjudgeable, hairpin, egress, ingress, allow)),
            (self._filter("input", Hook.INPUT), (pass_on, *self._neighbours(), unjudgeable[0], egress, allow)),
        )

    def verdict(self, profile: Profile) -> Verdict:
        """What leads to a profile."""
        return _jump(name_of(profile))

    def _of_profile(self, profile: Profile) -> Chains:
        """Return the chains of a profile and the sets that are its own."""
        name = name_of(profile)
        denial = self._denial(profile, name)
        deny = Decide(goto(f"{name}-deny")) if len(denial) > 1 else Decide(DROP)
        sets: _FilledSets = {}
        separate = any(term.action is Action.PASS for term in profile.admin)
        rest, accept = Decide(goto(f"{name}-rest")), Decide(_RETURN)
        before = {Action.ACCEPT: accept, Action.DENY: deny, Action.PASS: rest}
        admin = list(self._rules(profile.direction, profile.admin, before, sets))
        after = list(self._rules(profile.direction, profile.rest, {**before, Action.PASS: accept}, sets))
        if profile.isolated:
            after.append(Rule((deny,)))
        chains: list[tuple[Chain, tuple[Rule, ...]]] = []
        if separate:
            chains.append((Chain(name), (*admin, Rule((rest,)))))
            chains.append((Chain(f"{name}-rest"), tuple(after)))
        else:
            chains.append((Chain(name), (*admin, *after)))
        if len(denial) > 1:
            chains.append((Chain(f"{name}-deny"), denial))
        return Chains(tuple(chains), tuple(sets.values()))

    def _denial(self, profile: Profile, name: str) -> tuple[Rule, ...]:
        if self._settings.log_group is None:
            return (Rule((Decide(DROP),)),)
        limit = Limit(_DENIALS_A_SECOND, LimitUnit.SECOND, _DENIALS_A_SECOND)
        return Rule((limit, Log(self._settings.log_group, name, 64))), Rule((Counter(), Decide(DROP)))

    def _rules(
        self,
        direction: Direction,
        terms: tuple[Term, ...],
        verdicts: dict[Action, Decide],
        sets: _FilledSets,
    ) -> Iterator[Rule]:
        for term in terms:
            peer = self._peer(direction, term, sets)
            if peer is not None:
                yield Rule((*peer, *self._ports(term, sets), verdicts[term.action]))

    def _peer(self, direction: Direction, term: Term, sets: _FilledSets) -> tuple[Expression, ...] | None:
        """What makes sure of the peer, None where nobody of this family can be it."""
        load = self._load(Direction.EGRESS if direction is Direction.INGRESS else Direction.INGRESS)
        match term.peer:
            case None:
                return ()
            case PodGroup():
                return (load, Lookup(self.sets.of_collection(term.peer).name, 0))
            case blocks:
                elements = block_elements(blocks, self._family)
                if not elements:
                    return None
                if is_everything(elements, self._family):
                    return ()
                target = self.sets.of_blocks(blocks)
                sets[target.name] = target, tuple(elements)
                return (load, Lookup(target.name, 0))

    def _ports(self, term: Term, sets: _FilledSets) -> tuple[Expression, ...]:
        match term.ports:
            case None:
                return ()
            case NamedPort():
                answerer = self._load(Direction.INGRESS)
                return (answerer, *_load_port(self._words), Lookup(self.sets.of_collection(term.ports).name, 0))
            case (PortRange(protocol, first, last),):
                whole = (Ct(0, CtKey.PROTOCOL), Cmp(0, Comparison.EQ, bytes((protocol,))))
                return (*whole, *_compare_port(first, last))
            case several:
                target = self.sets.of_ports(several)
                sets[target.name] = target, tuple(port_elements(several))
                return (*_load_port(0), Lookup(target.name, 0))

    def _established(self) -> Rule:
        """Let established connections pass, and errors about them."""
        if self._settings.established is Established.KEEP:
            return Rule((*_state(_ESTABLISHED_RELATED), Decide(ACCEPT)))
        stamped = (Ct(0, CtKey.MARK), Lookup(self.sets.judged.name, 0))
        return Rule((*_state(_ESTABLISHED_RELATED), *stamped, Decide(ACCEPT)))

    def _stamp(self) -> Rule:
        """Stamp a connection with the current generation, and accept it."""
        load = (Meta(0, MetaKey.NFPROTO), LookupValue(self.sets.stamp.name, 0, 0))
        return Rule((*load, CtSet(0, CtKey.MARK), Decide(ACCEPT)))

    def _neighbours(self) -> tuple[Rule, ...]:
        """Let a pod find its node, and listen to groups: connection tracking knows nothing of either (RFC 4861)."""
        if self._family is Family.IPV4:
            return ()
        icmp = (Meta(0, MetaKey.L4PROTO), Cmp(0, Comparison.EQ, bytes((_ICMPV6,))), Payload(0, Header.TRANSPORT, 0, 1))
        known = Range(0, bytes((_FIRST_NEIGHBOUR_TYPE,)), bytes((_LAST_NEIGHBOUR_TYPE,)))
        report = Cmp(0, Comparison.EQ, bytes((_LISTENER_REPORT_V2,)))
        return Rule((*icmp, known, Decide(ACCEPT))), Rule((*icmp, report, Decide(ACCEPT)))

    def _load(self, side: Direction, register: int = 0) -> Expression:
        """Load the address of the pod that `side` judges: who opened the connection, or who answers."""
        four = self._family is Family.IPV4
        way = Way.ORIGINAL if side is Direction.EGRESS else Way.REPLY
        return Ct(register, CtKey.SRC_IP if four else CtKey.SRC_IP6, way)

    def _filter(self, name: str, hook: Hook) -> Chain:
        return Chain(name, Base(ChainType.FILTER, hook, PRIORITY))


def _load_port(register: int) -> tuple[Expression, ...]:
    return Ct(register, CtKey.PROTOCOL), Ct(register + 1, CtKey.PROTO_SRC, Way.REPLY)


def _compare_port(first: int, last: int) -> tuple[Expression, ...]:
    load = Ct(0, CtKey.PROTO_SRC, Way.REPLY)
    if first == last:
        return load, Cmp(0, Comparison.EQ, first.to_bytes(2, "big"))
    if first <= 1 and last == 65535:
        return ()
    return load, Range(0, first.to_bytes(2, "big"), last.to_bytes(2, "big"))


def _state(bits: int) -> tuple[Expression, ...]:
    return Ct(0, CtKey.STATE), Bitwise(0, 0, host(bits), host(0)), Cmp(0, Comparison.NEQ, host(0))


@lru_cache(maxsize=4096)
def name_of(profile: Profile) -> str:
    """The name of a profile's first chain and the prefix of its log, the same in every process."""
    return f"{profile.direction.value}-{digest(profile)}"


@lru_cache(maxsize=4096)
def _jump(name: str) -> Verdict:
    return jump(name)
