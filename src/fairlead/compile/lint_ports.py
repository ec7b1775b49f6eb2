"""Ports of rules that nobody has: names no container declares, and a Service's port in place of its pods'.

Comes in: a world, a rule and what it is about. Goes out: findings. Source: networking/v1 types.go for names; policies
judge a connection after a Service's address was translated (reference of NetworkPolicy, "Behavior of ipBlock").
"""

from collections.abc import Iterator, Sequence

from fairlead.compile.lint_world import LintWorld, finding_at
from fairlead.kube.core import Pod, Service
from fairlead.model import Finding
from fairlead.model.policies import (
    AddressBlock,
    Direction,
    NamedPort,
    Peer,
    PodGroup,
    Policy,
    PolicyPod,
    PolicyRule,
    PortRange,
)
from fairlead.net import Protocol


def lint_ports(world: LintWorld, policy: Policy, rule: PolicyRule, direction: Direction) -> Iterator[Finding]:
    """Yield what is doubtful in the ports of one rule."""
    names = [port for port in rule.ports or () if isinstance(port, NamedPort)]
    if direction is Direction.EGRESS and names and rule.peers and all(isinstance(p, AddressBlock) for p in rule.peers):
        message = "a port by name means nothing at an ipBlock whose addresses are no pods"
        yield finding_at(rule.origin, "ports", message, "give the number of the port")
        return
    targets = list(_targets(world, policy, rule.peers, direction))
    for port in names:
        if targets and not any(_names(pod, port) for pod in targets):
            whose = "selected pod" if direction is Direction.INGRESS else "destination pod"
            message = f"no {whose} has a container port of that name and protocol: {port.name}"
            remedy = "name the port in the pods' containers, or give its number"
            yield finding_at(rule.origin, "ports", message, remedy)
    for port in rule.ports or ():
        if isinstance(port, PortRange) and port.first == port.last:
            yield from _lint_number(world, rule, port, targets)


def _targets(
    world: LintWorld, policy: Policy, peers: Sequence[Peer] | None, direction: Direction
) -> Iterator[PolicyPod]:
    """The pods whose ports a rule is about."""
    if direction is Direction.INGRESS:
        yield from world.index.pods.members(policy.subject)
    elif peers is None or any(not isinstance(peer, PodGroup) for peer in peers):
        yield from world.index.pods.pods.values()
    else:
        for peer in peers:
            assert isinstance(peer, PodGroup)
            yield from world.index.pods.members(peer)


def _lint_number(
    world: LintWorld, rule: PolicyRule, asked: PortRange, targets: Sequence[PolicyPod]
) -> Iterator[Finding]:
    """A number that no pod declares, and that a Service of one of them translates to one that it does."""
    pods = [pod for target in targets if (pod := world.pods.get(target.key)) is not None]
    if any(asked.first in _declared(pod, asked.protocol).values() for pod in pods):
        return
    for pod in pods:
        for service in world.services:
            target = _translated(service, pod, asked)
            if target and target != asked.first and target in _declared(pod, asked.protocol).values():
                name = f"{service.metadata.namespace}/{service.metadata.name}"
                message = (
                    f"{asked.first} is the port of Service {name}, which leads to {target}: "
                    "policies judge what it was translated to"
                )
                yield finding_at(rule.origin, "ports", message, f"write {target}, the port of the pods")
                return


def _translated(service: Service, pod: Pod, asked: PortRange) -> int:
    """The port of a pod that a Service's port of that number leads to, 0 where there is none."""
    selector, meta = service.spec.selector, pod.metadata
    if not selector or service.metadata.namespace != meta.namespace or not selector.items() <= meta.labels.items():
        return 0
    for port in service.spec.ports:
        if port.port == asked.first and port.protocol == asked.protocol.name:
            target = port.target_port
            return _declared(pod, asked.protocol).get(target, 0) if isinstance(target, str) else target or port.port
    return 0


def _declared(pod: Pod, protocol: Protocol) -> dict[str, int]:
    """The ports that a pod's containers declare, by name, or by number where they have none."""
    staying = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    return {
        port.name or str(port.container_port): port.container_port
        for container in (*pod.spec.containers, *staying)
        for port in container.ports
        if (port.protocol or "TCP") == protocol.name
    }


def _names(pod: PolicyPod, port: NamedPort) -> bool:
    return any(each.name == port.name and port.protocol in (None, each.protocol) for each in pod.ports)
