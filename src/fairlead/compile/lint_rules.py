"""Rules that can never match, whatever pods come: selectors that contradict themselves, rules nobody reads.

Comes in: policies, as written and compiled. Goes out: errors. Source: networking/v1 types.go for policyTypes;
network-policy-api v0.2.0: in a ClusterNetworkPolicy the first rule that matches decides.
"""

from collections.abc import Iterable, Iterator, Sequence

from fairlead.compile.lint_world import LintWorld, finding_at
from fairlead.compile.policy_groups import passes
from fairlead.kube.networking import NetworkPolicy
from fairlead.model import Finding, Origin, Severity
from fairlead.model.policies import (
    AddressBlock,
    Anyone,
    Direction,
    LabelTest,
    NamedPort,
    Operator,
    Peer,
    PodGroup,
    PolicyRule,
    PortMatch,
    Tier,
)


def lint_rules(world: LintWorld) -> Iterator[Finding]:
    """Yield an error for each part of a policy that nothing can ever match."""
    for written in world.policies:
        if isinstance(written, NetworkPolicy):
            yield from _lint_types(written)
    for policy in world.index.policies.values():
        field = "spec.podSelector" if policy.tier is Tier.NETWORK_POLICY else "spec.subject"
        yield from _lint_tests(policy.origin, field, policy.subject)
        for direction in Direction:
            rules = policy.rules(direction) or ()
            name = "from" if direction is Direction.INGRESS else "to"
            for rule in rules:
                for number, peer in enumerate(rule.peers or ()):
                    if isinstance(peer, PodGroup):
                        yield from _lint_tests(rule.origin, f"{name}[{number}]", peer)
            if policy.tier is not Tier.NETWORK_POLICY:
                yield from _lint_order(rules)


def contradicted(tests: Iterable[LabelTest]) -> str | None:
    """The key of a label that cannot be as all tests want it, None where there is none."""
    by_key: dict[str, list[LabelTest]] = {}
    for test in tests:
        by_key.setdefault(test.key, []).append(test)
    for key, own in by_key.items():
        kinds = {test.operator for test in own}
        wanted = [test for test in own if test.operator is Operator.IN]
        possible = {value for test in wanted for value in test.values if passes(own, {key: value})}
        absent = Operator.DOES_NOT_EXIST in kinds
        if (wanted and not possible) or (absent and Operator.EXISTS in kinds):
            return key
    return None


def _lint_tests(at: Origin, field: str, group: PodGroup) -> Iterator[Finding]:
    for tests, what in ((group.pods, "pod"), (group.namespaces, "namespace")):
        key = contradicted(tests)
        if key:  # an empty key is of a selector that could not be read, which is told already
            message = f"no {what} can have the label {key} as all parts of the selector want it"
            yield finding_at(at, field, message, "take one of the parts away", Severity.ERROR)


def _lint_types(policy: NetworkPolicy) -> Iterator[Finding]:
    """Rules of a direction that policyTypes leaves out are not read."""
    origin = Origin("NetworkPolicy", policy.metadata.namespace, policy.metadata.name)
    types = policy.spec.policy_types
    for kind, rules in (("Ingress", policy.spec.ingress), ("Egress", policy.spec.egress)):
        if rules and types and kind not in types:
            message = f"nobody reads these rules: policyTypes has no {kind}"
            yield finding_at(origin, f"spec.{kind.lower()}", message, f"add {kind} to policyTypes", Severity.ERROR)


def _lint_order(rules: Sequence[PolicyRule]) -> Iterator[Finding]:
    """A rule that an earlier one of the same policy leaves nothing to."""
    for number, rule in enumerate(rules):
        earlier = next((each for each in rules[:number] if _covers(each, rule)), None)
        if earlier is not None:
            message = f"never asked: {earlier.origin.field} ({earlier.action.value}) has decided all of it before"
            yield finding_at(rule.origin, "", message, "move the narrower rule up", Severity.ERROR)


def _covers(earlier: PolicyRule, later: PolicyRule) -> bool:
    if later.peers is None or later.peers == () or later.ports == ():
        return False  # matches nothing: told already
    whom = all(any(_covers_peer(own, peer) for own in earlier.peers or ()) for peer in later.peers)
    return whom and (
        earlier.ports is None
        or (
            later.ports is not None
            and all(any(_covers_port(own, port) for own in earlier.ports) for port in later.ports)
        )
    )


def _covers_peer(own: Peer, peer: Peer) -> bool:
    match own, peer:
        case Anyone(), _:
            return own is Anyone.EVERYBODY
        case PodGroup(), PodGroup():
            where = own.namespace == peer.namespace or (own.namespace is None and not own.namespaces)
            return where and set(own.namespaces) <= set(peer.namespaces) and set(own.pods) <= set(peer.pods)
        case AddressBlock(), AddressBlock():
            inside = own.prefix.length <= peer.prefix.length and peer.prefix.address in own.prefix
            return inside and not own.exceptions
        case _:
            return False


def _covers_port(own: PortMatch, port: PortMatch) -> bool:
    if isinstance(own, NamedPort) or isinstance(port, NamedPort):
        return own == port
    return own.protocol is port.protocol and own.first <= port.first and port.last <= own.last
