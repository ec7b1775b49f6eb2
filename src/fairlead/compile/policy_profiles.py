"""The policies that select a pod to the profiles it is judged by.

Comes in: policies, and the ports that the pod names. Goes out: a profile for each direction. Refuses to know who is in
a group. Equal policies give equal profiles whatever their order, and a question that another one answers is left out.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from fairlead.model.policies import (
    Action,
    AddressBlock,
    Anyone,
    Direction,
    NamedPort,
    Peer,
    PodGroup,
    PodPort,
    Policy,
    PolicyRule,
    PortRange,
    Tier,
)
from fairlead.model.policy_profiles import Profile, Subject, Term

_Ports: TypeAlias = tuple[PortRange, ...] | NamedPort | None
_Who: TypeAlias = PodGroup | AddressBlock | None


def compile_subject(policies: Iterable[Policy], ports: Iterable[PodPort]) -> Subject | None:
    """Return the profiles of a pod that these policies select, None where nobody judges it."""
    ordered = sorted(policies, key=lambda policy: (policy.tier, policy.priority, policy.origin))
    named = frozenset(ports)
    ingress = _profile(ordered, Direction.INGRESS, named)
    egress = _profile(ordered, Direction.EGRESS, named)
    return Subject(ingress, egress) if ingress or egress else None


def _profile(policies: Sequence[Policy], direction: Direction, ports: frozenset[PodPort]) -> Profile | None:
    judging = [policy for policy in policies if policy.rules(direction) is not None]
    if not judging:
        return None
    own = ports if direction is Direction.INGRESS else None
    isolating = [policy for policy in judging if policy.tier is Tier.NETWORK_POLICY]
    admin = _ordered(judging, Tier.ADMIN, direction, own)
    if isolating:
        rest = _union((rule for policy in isolating for rule in policy.rules(direction) or ()), own)
        asked = [policy.origin for policy in judging if policy.tier is not Tier.BASELINE]
    else:
        rest = _ordered(judging, Tier.BASELINE, direction, own)
        asked = [policy.origin for policy in judging]
    return Profile(direction, admin, rest, bool(isolating), tuple(asked))


def _ordered(
    policies: Iterable[Policy], tier: Tier, direction: Direction, own: frozenset[PodPort] | None
) -> tuple[Term, ...]:
    """The questions of a tier whose order counts, up to one that answers everything."""
    terms: list[Term] = []
    for policy in policies:
        if policy.tier is not tier:
            continue
        for rule in policy.rules(direction) or ():
            for who in _peers(rule.peers):
                terms += (Term(who, ports, rule.action) for ports in _ports(rule, own))
    whole = next((index for index, term in enumerate(terms) if term.peer is None and term.ports is None), None)
    return tuple(terms if whole is None else terms[: whole + 1])


def _union(rules: Iterable[PolicyRule], own: frozenset[PodPort] | None) -> tuple[Term, ...]:
    """The questions of rules that only add up: by peer, with all of its ports; blocks with the same ports as one."""
    by_peer: dict[_Who, set[PortRange] | None] = {}
    named: set[tuple[_Who, NamedPort]] = set()
    for rule in rules:
        whos = _whos(rule.peers)
        for ports in _ports(rule, own):
            for who in whos:
                if isinstance(ports, NamedPort):
                    named.add((who, ports))
                elif ports is None:
                    by_peer[who] = None
                else:
                    known = by_peer.setdefault(who, set())
                    if known is not None:
                        known.update(ports)
    everybody = by_peer.get(None, set[PortRange]())
    if everybody is None:
        return (Term(None, None, Action.ACCEPT),)
    blocks: dict[tuple[PortRange, ...] | NamedPort | None, set[AddressBlock]] = {}
    terms: list[Term] = []
    found: list[tuple[_Who, _Ports]] = [
        (who, None if ports is None else merge_ranges(ports if who is None else ports - everybody))
        for who, ports in by_peer.items()
    ]
    for who, ports in (*found, *named):
        if ports == ():
            continue
        if isinstance(who, AddressBlock):
            blocks.setdefault(ports, set()).add(who)
        else:
            terms.append(Term(who, ports, Action.ACCEPT))
    terms += (Term(tuple(sorted(who, key=_block_order)), ports, Action.ACCEPT) for ports, who in blocks.items())
    return tuple(sorted(terms, key=repr))


def _peers(peers: tuple[Peer, ...] | None) -> list[PodGroup | tuple[AddressBlock, ...] | None]:
    return [(who,) if isinstance(who, AddressBlock) else who for who in _whos(peers)]


def _whos(peers: tuple[Peer, ...] | None) -> list[_Who]:
    if peers is None or Anyone.EVERYBODY in peers:
        return [None]
    return [peer for peer in peers if not isinstance(peer, Anyone)]


def _ports(rule: PolicyRule, own: frozenset[PodPort] | None) -> list[_Ports]:
    """A rule's ports as questions; those it names are looked up in `own`, or left to each destination."""
    if rule.ports is None:
        return [None]
    ranges: set[PortRange] = set()
    named: list[NamedPort] = []
    for match in rule.ports:
        if isinstance(match, PortRange):
            ranges.add(match)
        elif own is None:
            named.append(match)
        else:
            ranges.update(
                PortRange(each.protocol, each.port, each.port)
                for each in own
                if each.name == match.name and match.protocol in (None, each.protocol)
            )
    merged = merge_ranges(ranges)
    return [*([merged] if merged else []), *named]


def merge_ranges(ranges: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """Return the same ports in as few ranges as there can be, in rising order."""
    merged: list[PortRange] = []
    for each in sorted(ranges):
        last = merged[-1] if merged else None
        if last is not None and last.protocol is each.protocol and each.first <= last.last + 1:
            if each.last > last.last:
                merged[-1] = PortRange(each.protocol, last.first, each.last)
        else:
            merged.append(each)
    return tuple(merged)


def _block_order(block: AddressBlock) -> tuple[object, ...]:
    return block.prefix.address, block.prefix.length, block.exceptions
