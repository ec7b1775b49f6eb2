"""One NetworkPolicy to a model policy and findings.

Comes in: a NetworkPolicy. Goes out: its rules with peers and ports as values. What cannot be understood matches
nothing, so that a mistake never opens a pod. Refuses to know pods: who is in a group is found out elsewhere. Source:
k/staging/src/k8s.io/api/networking/v1/types.go.
"""

from collections.abc import Iterable, Iterator

from fairlead.kube.meta import LabelSelector
from fairlead.kube.networking import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)
from fairlead.model import Finding, Origin, Severity
from fairlead.model.policies import (
    ALL_PORTS,
    Action,
    AddressBlock,
    Anyone,
    Direction,
    LabelTest,
    NamedPort,
    Operator,
    Peer,
    PodGroup,
    Policy,
    PolicyRule,
    PortMatch,
    PortRange,
    Tier,
)
from fairlead.net import Port, Protocol, parse_lenient_prefix

_LAST_PORT = 65535


def compile_network_policy(policy: NetworkPolicy) -> tuple[Policy, tuple[Finding, ...]]:
    """Return the policy's meaning, and what to tell its author.

    Without policyTypes it judges ingress, and egress where it has a rule for that.
    """
    meta, spec = policy.metadata, policy.spec
    origin = Origin("NetworkPolicy", meta.namespace, meta.name)
    found: list[Finding] = []
    types = spec.policy_types or (("Ingress", "Egress") if spec.egress else ("Ingress",))
    subject = _group(meta.namespace, spec.pod_selector, None, _at(origin, "spec.podSelector"), found)
    if subject is None:  # whom it selects is not known: it isolates nobody, which is an error to tell, not to guess
        subject = PodGroup(meta.namespace, (), (LabelTest("", Operator.IN, ()),))
    ingress = egress = None
    if "Ingress" in types:
        ingress = tuple(
            _rule(rule, Direction.INGRESS, meta.namespace, _at(origin, f"spec.ingress[{index}]"), found)
            for index, rule in enumerate(spec.ingress)
        )
    if "Egress" in types:
        egress = tuple(
            _rule(rule, Direction.EGRESS, meta.namespace, _at(origin, f"spec.egress[{index}]"), found)
            for index, rule in enumerate(spec.egress)
        )
    compiled = Policy(origin=origin, tier=Tier.NETWORK_POLICY, subject=subject, ingress=ingress, egress=egress)
    return compiled, tuple(found)


def _rule(
    rule: NetworkPolicyIngressRule | NetworkPolicyEgressRule,
    direction: Direction,
    namespace: str,
    at: Origin,
    found: list[Finding],
) -> PolicyRule:
    given = rule.from_ if isinstance(rule, NetworkPolicyIngressRule) else rule.to
    name = "from" if direction is Direction.INGRESS else "to"
    peers = tuple(_peer(peer, namespace, _at(at, f"{name}[{index}]"), found) for index, peer in enumerate(given))
    ports = tuple(
        match for index, port in enumerate(rule.ports) for match in _port(port, _at(at, f"ports[{index}]"), found)
    )
    return PolicyRule(peers if given else None, ports if rule.ports else None, Action.ACCEPT, at)


def _peer(peer: NetworkPolicyPeer, namespace: str, at: Origin, found: list[Finding]) -> Peer:
    pods, namespaces = peer.pod_selector, peer.namespace_selector
    if peer.ip_block is not None:
        if pods is not None or namespaces is not None:
            found.append(_error(at, "ipBlock cannot be combined with podSelector and namespaceSelector"))
            return Anyone.NOBODY
        return _block(peer.ip_block, _at(at, "ipBlock"), found)
    if pods is None and namespaces is None:
        found.append(_error(at, "a peer needs a podSelector, a namespaceSelector or an ipBlock"))
        return Anyone.NOBODY
    return _group(namespace, pods, namespaces, at, found) or Anyone.NOBODY


def _block(block: IPBlock, at: Origin, found: list[Finding]) -> Peer:
    try:
        prefix = parse_lenient_prefix(block.cidr)
        exceptions = tuple(parse_lenient_prefix(each) for each in block.except_)
    except ValueError as error:
        found.append(_error(at, str(error)))
        return Anyone.NOBODY
    return AddressBlock(prefix, exceptions)


def _port(port: NetworkPolicyPort, at: Origin, found: list[Finding]) -> Iterator[PortMatch]:
    protocol = Protocol.__members__.get(port.protocol or "TCP")
    if protocol is None:
        found.append(_error(at, f"protocol {port.protocol!r} is none of TCP, UDP and SCTP"))
    elif port.port is None:
        yield PortRange(protocol, *ALL_PORTS)
    elif isinstance(port.port, str):
        yield NamedPort(protocol, port.port)
    else:
        last = port.port if port.end_port is None else port.end_port
        if 0 < port.port <= last <= _LAST_PORT:
            yield PortRange(protocol, Port(port.port), Port(last))
        else:
            found.append(_error(at, f"{port.port} to {last} is no range of ports"))


def _group(
    namespace: str, pods: LabelSelector | None, namespaces: LabelSelector | None, at: Origin, found: list[Finding]
) -> PodGroup | None:
    try:
        return compile_group(None if namespaces is not None else namespace, namespaces, pods)
    except ValueError as error:
        found.append(_error(at, str(error)))
        return None


def compile_group(namespace: str | None, namespaces: LabelSelector | None, pods: LabelSelector | None) -> PodGroup:
    """Return the pods that selectors mean: an absent one asks for nothing. Raises ValueError for unknown operators."""
    tests = compile_selector(namespaces) if namespaces is not None else ()
    return PodGroup(namespace, tests, compile_selector(pods) if pods is not None else ())


def compile_selector(selector: LabelSelector) -> tuple[LabelTest, ...]:
    """Return a selector's tests in one order whatever its own. Raises ValueError for an unknown operator."""
    tests = {LabelTest(key, Operator.IN, (value,)) for key, value in selector.match_labels.items()}
    for each in selector.match_expressions:
        tests.add(LabelTest(each.key, Operator(each.operator), tuple(sorted(set(each.values)))))
    return tuple(sorted(tests, key=_test_order))


def _test_order(test: LabelTest) -> tuple[str, str, tuple[str, ...]]:
    return test.key, test.operator.value, test.values


def _at(origin: Origin, field: str) -> Origin:
    path = f"{origin.field}.{field}" if origin.field else field
    return Origin(origin.kind, origin.namespace, origin.name, path)


def _error(at: Origin, message: str) -> Finding:
    return Finding(Severity.ERROR, at, message, "until it is mended this part matches nothing")


def groups_of(policy: Policy) -> frozenset[PodGroup]:
    """Every group a policy asks about: its subject and its peers."""
    found = {policy.subject}
    for rules in (policy.ingress, policy.egress):
        found |= _groups_in(rules or ())
    return frozenset(found)


def _groups_in(rules: Iterable[PolicyRule]) -> set[PodGroup]:
    return {peer for rule in rules for peer in rule.peers or () if isinstance(peer, PodGroup)}
