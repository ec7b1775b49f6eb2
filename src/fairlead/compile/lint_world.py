"""What policies are linted against: the pods, namespaces and Services that are known.

Comes in: objects. Goes out: one index of them, with what compiling the policies found. Where no pod is labelled as the
cluster's DNS, one that is stands in for it: people lint the manifests of their own application alone.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from fairlead.compile.cluster_policies import compile_cluster_policy
from fairlead.compile.policies import compile_network_policy
from fairlead.compile.policy_index import PolicyIndex
from fairlead.compile.policy_pods import compile_pod
from fairlead.kube.core import Namespace, Pod, Service
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.model import Finding, Origin, Severity
from fairlead.model.policies import PodPort, PolicyPod
from fairlead.net import Port, Protocol

DNS_NAMESPACE, DNS_LABELS, DNS_PORT = "kube-system", (("k8s-app", "kube-dns"),), Port(53)
"""Where clusters made by kubeadm have their DNS."""
STAND_IN = PolicyPod(DNS_NAMESPACE, "coredns", "", DNS_LABELS, (), (PodPort("dns", Protocol.UDP, DNS_PORT),))
"""The DNS of a cluster whose own is not known."""


class LintWorld(Struct, frozen=True):
    """Everything there is to judge policies by; `hosted` are pods in the hosts' network, which no policy judges."""

    index: PolicyIndex
    policies: tuple[NetworkPolicy | ClusterNetworkPolicy, ...]
    pods: Mapping[tuple[str, str], Pod]
    hosted: tuple[Pod, ...]
    namespaces: frozenset[str]
    services: tuple[Service, ...]
    resolver: PolicyPod
    findings: tuple[Finding, ...]


def read_world(
    policies: Iterable[NetworkPolicy | ClusterNetworkPolicy],
    pods: Iterable[Pod],
    namespaces: Sequence[Namespace],
    services: Iterable[Service] = (),
) -> LintWorld:
    """Compile policies and pods."""
    index, given, findings = PolicyIndex(), tuple(policies), list[Finding]()
    for namespace in namespaces:
        index.pods.put_namespace(namespace.metadata.name, namespace.metadata.labels)
    known = {(pod.metadata.namespace, pod.metadata.name): pod for pod in pods}
    for pod in known.values():
        compiled_pod = compile_pod(pod)
        if compiled_pod is not None:
            index.pods.put_pod(compiled_pod)
    resolver = next((pod for pod in index.pods.pods.values() if _is_resolver(pod)), None)
    if resolver is None:
        resolver = STAND_IN
        index.pods.put_pod(resolver)
    for policy in given:
        if isinstance(policy, NetworkPolicy):
            compiled, wrong = compile_network_policy(policy)
        else:
            compiled, wrong = compile_cluster_policy(policy)
        findings += wrong
        index.put_policy(compiled)
    return LintWorld(
        index=index,
        policies=given,
        pods=known,
        hosted=tuple(pod for pod in known.values() if pod.spec.host_network),
        namespaces=frozenset(each.metadata.name for each in namespaces),
        services=tuple(services),
        resolver=resolver,
        findings=tuple(findings),
    )


def finding_at(at: Origin, field: str, message: str, remedy: str, severity: Severity = Severity.WARNING) -> Finding:
    """A finding about a field inside `at`."""
    path = f"{at.field}.{field}" if at.field and field else at.field or field
    return Finding(severity, Origin(at.kind, at.namespace, at.name, path), message, remedy)


def _is_resolver(pod: PolicyPod) -> bool:
    return pod.namespace == DNS_NAMESPACE and set(DNS_LABELS) <= set(pod.labels)
