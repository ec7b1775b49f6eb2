"""What is doubtful in network policies: subjects and rules that match nobody, and pods that cannot ask for names.

Comes in: pods, namespaces and policies. Goes out: findings. An error never works, whatever else there is; a warning
depends on the pods and namespaces that are known. Source: networking/v1 types.go.
"""

from collections.abc import Iterable, Iterator, Sequence

from fairlead.compile.cluster_policies import compile_cluster_policy
from fairlead.compile.policies import compile_network_policy
from fairlead.compile.policy_groups import passes
from fairlead.compile.policy_index import PolicyIndex
from fairlead.compile.policy_pods import compile_pod
from fairlead.kube.core import Namespace, Pod
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.model import Finding, Origin, Severity
from fairlead.model.policies import (
    AddressBlock,
    Anyone,
    Direction,
    NamedPort,
    Peer,
    PodGroup,
    PodPort,
    Policy,
    PolicyPod,
    PolicyRule,
    PortMatch,
    Tier,
)
from fairlead.net import Port, Protocol

DNS_NAMESPACE, DNS_LABELS, DNS_PORT = "kube-system", (("k8s-app", "kube-dns"),), Port(53)
"""Where clusters made by kubeadm have their DNS."""
_STAND_IN = PolicyPod(DNS_NAMESPACE, "coredns", "", DNS_LABELS, (), (PodPort("dns", Protocol.UDP, DNS_PORT),))


def lint_policies(
    policies: Iterable[NetworkPolicy | ClusterNetworkPolicy], pods: Iterable[Pod], namespaces: Sequence[Namespace]
) -> Iterator[Finding]:
    """Yield what is wrong or doubtful, policy by policy, then what cuts DNS.

    Where no pod is labelled as the cluster's DNS one that is stands in for it.
    """
    index = PolicyIndex()
    known = {namespace.metadata.name: namespace.metadata.labels for namespace in namespaces}
    for name, labels in known.items():
        index.pods.put_namespace(name, labels)
    for pod in pods:
        compiled_pod = compile_pod(pod)
        if compiled_pod is not None:
            index.pods.put_pod(compiled_pod)
    resolver = next((pod for pod in index.pods.pods.values() if _is_resolver(pod)), None)
    if resolver is None:
        resolver = _STAND_IN
        index.pods.put_pod(resolver)
    for policy in policies:
        if isinstance(policy, NetworkPolicy):
            compiled, wrong = compile_network_policy(policy)
        else:
            compiled, wrong = compile_cluster_policy(policy)
        yield from wrong
        index.put_policy(compiled)
    for policy in index.policies.values():
        yield from _lint_policy(index, policy)
    yield from _lint_names(index, resolver)


def _is_resolver(pod: PolicyPod) -> bool:
    return pod.namespace == DNS_NAMESPACE and set(DNS_LABELS) <= set(pod.labels)


def _lint_policy(index: PolicyIndex, policy: Policy) -> Iterator[Finding]:
    if not any(pod is not _STAND_IN for pod in index.pods.members(policy.subject)):
        field = "spec.podSelector" if policy.tier is Tier.NETWORK_POLICY else "spec.subject"
        where = f" of namespace {policy.subject.namespace}" if policy.subject.namespace else ""
        remedy = "compare it with the labels of the pods: kubectl get pods --show-labels"
        yield _finding(policy.origin, field, f"selects no pod{where}", remedy)
    for direction in Direction:
        for rule in policy.rules(direction) or ():
            yield from _lint_peers(index, rule, direction)
            yield from _lint_ports(index, policy, rule, direction)


def _lint_peers(index: PolicyIndex, rule: PolicyRule, direction: Direction) -> Iterator[Finding]:
    name = "from" if direction is Direction.INGRESS else "to"
    for number, peer in enumerate(rule.peers or ()):
        field = f"{name}[{number}]"
        match peer:
            case PodGroup():
                yield from _lint_group(index, rule.origin, field, peer)
            case AddressBlock():
                yield from _lint_block(rule.origin, field, peer)
            case Anyone():
                pass  # what could not be understood is told already


def _lint_group(index: PolicyIndex, rule: Origin, field: str, group: PodGroup) -> Iterator[Finding]:
    if next(index.pods.members(group), None) is not None:
        return
    spaces = {pod.namespace for pod in index.pods.pods.values()}
    if group.namespace is None and not any(passes(group.namespaces, index.namespace_labels(each)) for each in spaces):
        remedy = "a namespaceSelector is about labels of namespaces: kubectl get namespaces --show-labels"
        yield _finding(rule, field, "its namespaceSelector matches no namespace with pods", remedy)
        return
    remedy = "a podSelector without a namespaceSelector is about the policy's own namespace alone"
    yield _finding(rule, field, "matches no pod", remedy)


def _lint_block(rule: Origin, field: str, block: AddressBlock) -> Iterator[Finding]:
    for number, part in enumerate(block.exceptions):
        spot = f"{field}.ipBlock.except[{number}]"
        if part.length <= block.prefix.length and block.prefix.address in part:
            message, remedy = (
                f"{part} takes away all of {block.prefix}: the peer matches nobody",
                "write a longer prefix",
            )
            yield _finding(rule, spot, message, remedy, Severity.ERROR)
        elif part.address not in block.prefix:
            message, remedy = f"{part} is not inside {block.prefix}", "leave it out, or correct the cidr"
            yield _finding(rule, spot, message, remedy, Severity.ERROR)


def _lint_ports(index: PolicyIndex, policy: Policy, rule: PolicyRule, direction: Direction) -> Iterator[Finding]:
    names = [port for port in rule.ports or () if isinstance(port, NamedPort)]
    if direction is Direction.EGRESS and names and rule.peers and all(isinstance(p, AddressBlock) for p in rule.peers):
        message = "a port by name means nothing at an ipBlock whose addresses are no pods"
        yield _finding(rule.origin, "ports", message, "give the number of the port")
        return
    targets = list(_targets(index, policy, rule.peers, direction))
    for port in names:
        if targets and not any(_declares(pod, port) for pod in targets):
            whose = "selected pod" if direction is Direction.INGRESS else "destination pod"
            message = f"no {whose} has a container port of that name and protocol: {port.name}"
            yield _finding(rule.origin, "ports", message, "name the port in the pods' containers, or give its number")


def _targets(
    index: PolicyIndex, policy: Policy, peers: Sequence[Peer] | None, direction: Direction
) -> Iterator[PolicyPod]:
    """The pods that a named port is looked up in."""
    if direction is Direction.INGRESS:
        yield from index.pods.members(policy.subject)
    elif peers is None or any(not isinstance(peer, PodGroup) for peer in peers):
        yield from index.pods.pods.values()
    else:
        for peer in peers:
            assert isinstance(peer, PodGroup)
            yield from index.pods.members(peer)


def _declares(pod: PolicyPod, port: NamedPort) -> bool:
    return any(each.name == port.name and port.protocol in (None, each.protocol) for each in pod.ports)


def _lint_names(index: PolicyIndex, resolver: PolicyPod) -> Iterator[Finding]:
    """Yield one finding for each set of policies that together keep pods from asking the cluster's DNS."""
    told: set[tuple[Origin, ...]] = set()
    for pod in index.pods.pods.values():
        judging = [policy for policy in index.selecting(pod) if policy.egress is not None]
        isolating = sorted((each for each in judging if each.tier is Tier.NETWORK_POLICY), key=lambda each: each.origin)
        origins = tuple(policy.origin for policy in isolating)
        if pod is resolver or not isolating or origins in told or any(each.tier is Tier.ADMIN for each in judging):
            continue  # what an administrator's policy decides before is not for the team to mend
        if not any(_lets_ask(index, rule, resolver) for policy in isolating for rule in policy.egress or ()):
            told.add(origins)
            others = f", with {', '.join(each.name for each in origins[1:])}" if origins[1:] else ""
            message = f"cuts pods such as {pod.namespace}/{pod.name} off from the cluster's DNS{others}"
            remedy = "allow UDP and TCP 53 to pods k8s-app=kube-dns in kube-system, if they are to resolve names"
            yield _finding(origins[0], "spec.egress", message, remedy)


def _lets_ask(index: PolicyIndex, rule: PolicyRule, resolver: PolicyPod) -> bool:
    def means(peer: Peer) -> bool:
        match peer:
            case PodGroup():
                return index.holds(peer, resolver)
            case AddressBlock():
                return not resolver.addresses or any(address in peer for address in resolver.addresses)
            case Anyone():
                return peer is Anyone.EVERYBODY

    def covers(port: PortMatch) -> bool:
        if isinstance(port, NamedPort):
            return any(each.name == port.name and each.protocol is Protocol.UDP for each in resolver.ports)
        return port.protocol is Protocol.UDP and port.first <= DNS_PORT <= port.last

    whom = rule.peers is None or any(means(peer) for peer in rule.peers)
    return whom and (rule.ports is None or any(covers(port) for port in rule.ports))


def _finding(at: Origin, field: str, message: str, remedy: str, severity: Severity = Severity.WARNING) -> Finding:
    path = f"{at.field}.{field}" if at.field else field
    return Finding(severity, Origin(at.kind, at.namespace, at.name, path), message, remedy)
