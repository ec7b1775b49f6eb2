"""From objects to the question who reaches whom: pods by their workloads, namespaces, policies, and what leads to pods.

Comes in: API objects, of a cluster or of manifests. Goes out: a Reach, with the findings of its policies, and the
Services that are other names for pods. Refuses to know where objects come from.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from fairlead.compile.cluster_policies import compile_cluster_policy
from fairlead.compile.policies import compile_network_policy
from fairlead.compile.policy_index import PolicyIndex
from fairlead.compile.policy_pods import compile_pod
from fairlead.kube.core import Namespace, Pod, Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.networking import Ingress, NetworkPolicy
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.model import Finding
from fairlead.model.policies import AddressBlock, Policy, PolicyPod, PortMatch
from fairlead.sim.reach import Reach
from fairlead.sim.reach_parties import AddressSpace, gather_parties
from fairlead.sim.reach_ports import PortPieces

_HASH = "pod-template-hash"
_CONTROLLER = PolicyPod("nginx-ingress", "nginx-ingress", "", (("app", "nginx-ingress"),), ())
"""Who stands for the ingress controller where there are Ingresses and no pod of its namespace is known."""


class PolicyObjects(Struct, frozen=True, kw_only=True):
    """Everything that decides who may talk to whom."""

    namespaces: Sequence[Namespace] = ()
    pods: Sequence[Pod] = ()
    policies: Sequence[NetworkPolicy | ClusterNetworkPolicy] = ()
    services: Sequence[Service] = ()
    slices: Sequence[EndpointSlice] = ()
    ingresses: Sequence[Ingress] = ()


class Question(Struct, frozen=True):
    """The compiled objects, ready to be asked about."""

    index: PolicyIndex
    workloads: Mapping[str, Sequence[PolicyPod]]
    findings: tuple[Finding, ...]

    def reach(self) -> Reach:
        """Answer for all pairs."""
        policies = tuple(self.index.policies.values())
        space = AddressSpace(_blocks(policies))
        parties = [*gather_parties(self.workloads, space), *space.outside()]
        named = {port for members in self.workloads.values() for pod in members for port in pod.ports}
        return Reach(parties, self.index, PortPieces(_ports(policies), named))


def read_objects(objects: PolicyObjects) -> Question:
    """Compile the objects."""
    index = PolicyIndex()
    findings: list[Finding] = []
    for namespace in objects.namespaces:
        index.pods.put_namespace(namespace.metadata.name, namespace.metadata.labels)
    for policy in objects.policies:
        if isinstance(policy, NetworkPolicy):
            compiled, found = compile_network_policy(policy)
        else:
            compiled, found = compile_cluster_policy(policy)
        findings += found
        index.put_policy(compiled)
    workloads: dict[str, list[PolicyPod]] = {}
    for pod in objects.pods:
        compiled_pod = compile_pod(pod)
        if compiled_pod is not None:
            index.pods.put_pod(compiled_pod)
            workloads.setdefault(workload_of(pod), []).append(compiled_pod)
    if objects.ingresses and not any(pod.namespace == _CONTROLLER.namespace for pod in index.pods.pods.values()):
        index.pods.put_pod(_CONTROLLER)
        workloads["{ingress-controller}"] = [_CONTROLLER]
    return Question(index, workloads, tuple(findings))


def workload_of(pod: Pod) -> str:
    """What people call a pod's workload, as `shop/web[Deployment]`; a pod of its own by its own name."""
    meta, owner = pod.metadata, pod.metadata.controller
    if owner is None:
        return f"{meta.namespace}/{meta.name}"
    suffix = "-" + meta.labels.get(_HASH, "")
    if owner.kind == "ReplicaSet" and len(suffix) > 1 and owner.name.endswith(suffix):
        return f"{meta.namespace}/{owner.name.removesuffix(suffix)}[Deployment]"
    return f"{meta.namespace}/{owner.name}[{owner.kind}]"


class Alias(Struct, frozen=True, order=True):
    """A Service's port that leads to a workload's port."""

    service: str
    port: int
    protocol: str
    target: int

    def __str__(self) -> str:
        return f"{self.service}:{self.port} -> {self.protocol} {self.target}"


def services_of(objects: PolicyObjects) -> dict[str, list[Alias]]:
    """The Services that lead to each workload."""
    by_name = {(service.metadata.namespace, service.metadata.name): service for service in objects.services}
    at: dict[tuple[str, str], str] = {
        (pod.metadata.namespace, pod.metadata.name): workload_of(pod) for pod in objects.pods
    }
    found: dict[str, set[Alias]] = {}
    for piece in objects.slices:
        service = by_name.get((piece.metadata.namespace, piece.metadata.labels.get("kubernetes.io/service-name", "")))
        if service is None:
            continue
        for endpoint in piece.endpoints:
            target = endpoint.target_ref
            workload = at.get((target.namespace, target.name)) if target is not None else None
            if workload is not None:
                found.setdefault(workload, set()).update(_aliases(service, piece))
    return {workload: sorted(names) for workload, names in found.items()}


def _aliases(service: Service, piece: EndpointSlice) -> Iterator[Alias]:
    numbers = {(port.name, port.protocol): port.port for port in piece.ports}
    for port in service.spec.ports:
        target = numbers.get((port.name, port.protocol))
        if target:
            name = f"{service.metadata.namespace}/{service.metadata.name}"
            yield Alias(name, port.port, port.protocol, target)


def _blocks(policies: Iterable[Policy]) -> set[AddressBlock]:
    rules = (rule for policy in policies for side in (policy.ingress, policy.egress) for rule in side or ())
    return {peer for rule in rules for peer in rule.peers or () if isinstance(peer, AddressBlock)}


def _ports(policies: Iterable[Policy]) -> set[PortMatch]:
    rules = (rule for policy in policies for side in (policy.ingress, policy.egress) for rule in side or ())
    return {port for rule in rules for port in rule.ports or ()}
