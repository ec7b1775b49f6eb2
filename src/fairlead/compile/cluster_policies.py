"""One ClusterNetworkPolicy to a model policy and findings.

Comes in: a ClusterNetworkPolicy. Goes out: its rules with peers and ports as values. It fails closed: what is not
understood is nobody where a rule accepts, and everybody, denied, where it denies or passes on. Refuses to know pods.
Source: network-policy-api v0.2.0, apis/v1alpha2/clusternetworkpolicy_types.go.
"""

from collections.abc import Iterator, Sequence

from fairlead.compile.policies import compile_group
from fairlead.kube.policy import (
    ClusterNetworkPolicy,
    ClusterNetworkPolicyEgressRule,
    ClusterNetworkPolicyIngressRule,
    ClusterNetworkPolicyPeer,
    ClusterNetworkPolicyProtocol,
    ClusterNetworkPolicySubject,
    DestinationPort,
)
from fairlead.model import Finding, Origin, Severity
from fairlead.model.policies import (
    ALL_PORTS,
    Action,
    AddressBlock,
    Anyone,
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

_TIERS = {"Admin": Tier.ADMIN, "Baseline": Tier.BASELINE}
_NOBODY = PodGroup(None, (), (LabelTest("", Operator.IN, ()),))


class _NotUnderstoodError(Exception):
    """A part of a rule that this version cannot carry out."""


def compile_cluster_policy(policy: ClusterNetworkPolicy) -> tuple[Policy, tuple[Finding, ...]]:
    """Return the policy's meaning, and what to tell its author.

    It judges a direction where it has a rule for it. One whose tier is unknown is taken for an Admin policy.
    """
    spec = policy.spec
    origin = Origin("ClusterNetworkPolicy", "", policy.metadata.name)
    found: list[Finding] = []
    tier = _TIERS.get(spec.tier)
    if tier is None:
        found.append(_error(_at(origin, "spec.tier"), f"{spec.tier!r} is neither Admin nor Baseline"))
    compiled = Policy(
        origin=origin,
        tier=Tier.ADMIN if tier is None else tier,
        priority=spec.priority,
        subject=_subject(spec.subject, _at(origin, "spec.subject"), found),
        ingress=_rules(spec.ingress, origin, "ingress", found),
        egress=_rules(spec.egress, origin, "egress", found),
    )
    return compiled, tuple(found)


def _subject(subject: ClusterNetworkPolicySubject, at: Origin, found: list[Finding]) -> PodGroup:
    try:
        if subject.namespaces is not None:
            return compile_group(None, subject.namespaces, None)
        if subject.pods is not None:
            return compile_group(None, subject.pods.namespace_selector, subject.pods.pod_selector)
    except ValueError as error:
        found.append(_error(at, str(error)))
        return _NOBODY
    found.append(_error(at, "a subject needs namespaces or pods"))
    return _NOBODY


def _rules(
    rules: Sequence[ClusterNetworkPolicyIngressRule] | Sequence[ClusterNetworkPolicyEgressRule],
    origin: Origin,
    direction: str,
    found: list[Finding],
) -> tuple[PolicyRule, ...] | None:
    if not rules:
        return None
    return tuple(_rule(rule, _at(origin, f"spec.{direction}[{index}]"), found) for index, rule in enumerate(rules))


def _rule(
    rule: ClusterNetworkPolicyIngressRule | ClusterNetworkPolicyEgressRule, at: Origin, found: list[Finding]
) -> PolicyRule:
    ingress = isinstance(rule, ClusterNetworkPolicyIngressRule)
    given, name = (rule.from_, "from") if ingress else (rule.to, "to")
    peers: list[Peer] = []
    ports: list[PortMatch] = []
    closed = False
    action = Action.__members__.get(rule.action.upper())
    if action is None:
        found.append(_error(_at(at, "action"), f"{rule.action!r} is none of Accept, Deny and Pass"))
    for index, peer in enumerate(given):
        try:
            peers += _peer(peer)
        except (_NotUnderstoodError, ValueError) as error:
            peers.append(Anyone.NOBODY)
            found.append(_error(_at(at, f"{name}[{index}]"), str(error)))
            closed = True
    for index, protocol in enumerate(rule.protocols or ()):
        try:
            ports += _ports(protocol)
        except (_NotUnderstoodError, ValueError) as error:
            found.append(_error(_at(at, f"protocols[{index}]"), str(error)))
            closed = True
    if action is None or (closed and action is not Action.ACCEPT):
        return PolicyRule((Anyone.EVERYBODY,), None, Action.DENY, at)
    return PolicyRule(tuple(peers), None if rule.protocols is None else tuple(ports), action, at)


def _peer(peer: ClusterNetworkPolicyPeer) -> Iterator[Peer]:
    """Yield what a peer means, a network for each of several. Raises _NotUnderstoodError or ValueError."""
    if peer.namespaces is not None:
        yield compile_group(None, peer.namespaces, None)
    elif peer.pods is not None:
        yield compile_group(None, peer.pods.namespace_selector, peer.pods.pod_selector)
    elif peer.networks:
        yield from [AddressBlock(parse_lenient_prefix(each)) for each in peer.networks]
    else:
        raise _NotUnderstoodError("this kind of peer is not supported: use namespaces, pods or networks")


def _ports(protocol: ClusterNetworkPolicyProtocol) -> Iterator[PortMatch]:
    """Yield the ports a protocol means. Raises _NotUnderstoodError."""
    if protocol.destination_named_port:
        yield NamedPort(None, protocol.destination_named_port)
        return
    by_protocol = ((Protocol.TCP, protocol.tcp), (Protocol.UDP, protocol.udp), (Protocol.SCTP, protocol.sctp))
    known = [(number, ported.destination_port) for number, ported in by_protocol if ported is not None]
    if not known:
        raise _NotUnderstoodError("this kind of protocol is not supported: use tcp, udp, sctp or destinationNamedPort")
    for number, port in known:
        yield _port_range(number, port)


def _port_range(protocol: Protocol, port: DestinationPort | None) -> PortRange:
    if port is None:
        return PortRange(protocol, *ALL_PORTS)
    if port.number is not None:
        first = last = port.number
    elif port.range is not None:
        first, last = port.range.start, port.range.end
    else:
        raise _NotUnderstoodError("a destinationPort needs a number or a range")
    if not 0 < first <= last <= ALL_PORTS[1]:
        raise _NotUnderstoodError(f"{first} to {last} is no range of ports")
    return PortRange(protocol, Port(first), Port(last))


def _at(origin: Origin, field: str) -> Origin:
    path = f"{origin.field}.{field}" if origin.field else field
    return Origin(origin.kind, origin.namespace, origin.name, path)


def _error(at: Origin, message: str) -> Finding:
    return Finding(Severity.ERROR, at, message, "until it is mended its rule allows nothing")
