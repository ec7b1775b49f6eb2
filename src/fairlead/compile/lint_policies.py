"""What is doubtful in network policies: subjects and peers that are nobody here.

Comes in: a world. Goes out: findings. An error never works, whatever else there is; a warning depends on the pods and
namespaces that are known. Source: networking/v1 types.go.
"""

from collections.abc import Iterator

from fairlead.compile.lint_ports import lint_ports
from fairlead.compile.lint_rules import contradicted, lint_rules
from fairlead.compile.lint_world import STAND_IN, LintWorld, finding_at
from fairlead.compile.policy_groups import passes
from fairlead.model import Finding, Origin, Severity
from fairlead.model.policies import AddressBlock, Anyone, Direction, PodGroup, Policy, PolicyRule, Tier


def lint_policies(world: LintWorld) -> Iterator[Finding]:
    """Yield what is wrong or doubtful, policy by policy."""
    yield from world.findings
    yield from lint_rules(world)
    for policy in world.index.policies.values():
        yield from _lint_subject(world, policy)
        for direction in Direction:
            for rule in policy.rules(direction) or ():
                yield from _lint_peers(world, rule, direction)
                yield from lint_ports(world, policy, rule, direction)


def _lint_subject(world: LintWorld, policy: Policy) -> Iterator[Finding]:
    subject = policy.subject
    if any(pod is not STAND_IN for pod in world.index.pods.members(subject)) or _impossible(subject):
        return
    field = "spec.podSelector" if policy.tier is Tier.NETWORK_POLICY else "spec.subject"
    hosted = next(
        (pod for pod in world.hosted if _holds(world, subject, pod.metadata.namespace, pod.metadata.labels)), None
    )
    where = f" of namespace {subject.namespace}" if subject.namespace else ""
    message, remedy = f"selects no pod{where}", "compare it with the labels of the pods: kubectl get pods --show-labels"
    if hosted is not None:
        name = f"{hosted.metadata.namespace}/{hosted.metadata.name}"
        message = f"selects only pods with hostNetwork, such as {name}, which no policy judges"
        remedy = "such a pod is its node: guard it with the node's own firewall"
    elif subject.namespace is not None and _empty(world, subject.namespace):
        message = f"selects no pod: nothing here is in namespace {subject.namespace}"
        remedy = "correct metadata.namespace, or lint it together with the pods of that namespace"
    yield finding_at(policy.origin, field, message, remedy)


def _holds(world: LintWorld, group: PodGroup, namespace: str, labels: dict[str, str]) -> bool:
    """Whether a pod that no index knows would be in a group."""
    if group.namespace is not None and group.namespace != namespace:
        return False
    spaces = world.index.namespace_labels(namespace)
    return passes(group.namespaces, spaces) and passes(group.pods, labels)


def _empty(world: LintWorld, namespace: str) -> bool:
    return namespace not in world.namespaces and all(space != namespace for space, _ in world.pods)


def _impossible(group: PodGroup) -> bool:
    """Whether it is told already that no pod can be in a group."""
    return contradicted(group.pods) is not None or contradicted(group.namespaces) is not None


def _lint_peers(world: LintWorld, rule: PolicyRule, direction: Direction) -> Iterator[Finding]:
    name = "from" if direction is Direction.INGRESS else "to"
    for number, peer in enumerate(rule.peers or ()):
        field = f"{name}[{number}]"
        match peer:
            case PodGroup():
                yield from _lint_group(world, rule.origin, field, peer)
            case AddressBlock():
                yield from _lint_block(rule.origin, field, peer)
            case Anyone():
                pass  # what could not be understood is told already


def _lint_group(world: LintWorld, rule: Origin, field: str, group: PodGroup) -> Iterator[Finding]:
    index = world.index
    if next(index.pods.members(group), None) is not None or _impossible(group):
        return
    hosted = next(
        (pod for pod in world.hosted if _holds(world, group, pod.metadata.namespace, pod.metadata.labels)), None
    )
    if hosted is not None:
        name = f"{hosted.metadata.namespace}/{hosted.metadata.name}"
        message = f"matches only pods with hostNetwork, such as {name}, which are their nodes' addresses here"
        yield finding_at(rule, field, message, "write an ipBlock with the addresses of the nodes")
        return
    spaces = {pod.namespace for pod in index.pods.pods.values()}
    if group.namespace is None and not any(passes(group.namespaces, index.namespace_labels(each)) for each in spaces):
        remedy = "a namespaceSelector is about labels of namespaces: kubectl get namespaces --show-labels"
        yield finding_at(rule, field, "its namespaceSelector matches no namespace with pods", remedy)
        return
    remedy = "compare it with the labels of the pods in those namespaces: kubectl get pods -A --show-labels"
    if group.namespace is not None:
        remedy = "a podSelector without a namespaceSelector is about the policy's own namespace alone"
    yield finding_at(rule, field, "matches no pod", remedy)


def _lint_block(rule: Origin, field: str, block: AddressBlock) -> Iterator[Finding]:
    for number, part in enumerate(block.exceptions):
        spot = f"{field}.ipBlock.except[{number}]"
        if part.length <= block.prefix.length and block.prefix.address in part:
            message = f"{part} takes away all of {block.prefix}: the peer matches nobody"
            yield finding_at(rule, spot, message, "write a longer prefix", Severity.ERROR)
        elif part.address not in block.prefix:
            message, remedy = f"{part} is not inside {block.prefix}", "leave it out, or correct the cidr"
            yield finding_at(rule, spot, message, remedy, Severity.ERROR)
