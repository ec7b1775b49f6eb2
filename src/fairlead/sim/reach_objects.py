"""From objects to the question who reaches whom: pods by their workloads, namespaces, policies, and what leads to pods.

Comes in: API objects, of a cluster or of manifests. Goes out: a Reach, with the findings of its policies, and other
names for pods. Where there are Ingresses and no controller is known, one stands in for it: nobody talks to it, and it
talks to what Ingresses show. Refuses to know where objects come from.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct

from fairlead.compile.cluster_policies import compile_cluster_policy
from fairlead.compile.policies import compile_network_policy
from fairlead.compile.policy_index import PolicyIndex
from fairlead.compile.policy_pods import compile_pod
from fairlead.kube.core import Namespace, Pod, Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.networking import Ingress, NetworkPolicy
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.model import Finding, Severity
from fairlead.model.policies import AddressBlock, PodPort, Policy, PolicyPod, PortMatch, PortRange
from fairlead.net import Port, Protocol
from fairlead.sim.reach import Reach
from fairlead.sim.reach_aliases import Aliases, Exposure, find_aliases, find_exposures
from fairlead.sim.reach_forms import covers
from fairlead.sim.reach_parties import AddressSpace, Party, gather_parties
from fairlead.sim.reach_ports import PortPieces

_HASH = "pod-template-hash"
STAND_IN = "{ingress-controller}"
"""What the stand-in for an unknown ingress controller is called."""
_CONTROLLER_NAMESPACES = ("nginx-ingress", "ingress-nginx")
_CONTROLLER = PolicyPod(
    "nginx-ingress",
    "nginx-ingress",
    "",
    (("app.kubernetes.io/component", "controller"), ("app.kubernetes.io/name", "nginx-ingress")),
    (),
)


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
    aliases: Aliases = {}
    exposures: Mapping[str, Sequence[Exposure]] = {}

    def blocks(self) -> frozenset[AddressBlock]:
        """The blocks of addresses that policies ask about."""
        return frozenset(_blocks(self.index.policies.values()))

    def reach(self, more: AbstractSet[AddressBlock] = frozenset()) -> Reach:
        """Answer for all pairs; addresses outside are told apart by `more` blocks too."""
        policies = tuple(self.index.policies.values())
        space = AddressSpace({*self.blocks(), *more})
        parties = [*gather_parties(self.workloads, space), *space.outside()]
        named = {port for members in self.workloads.values() for pod in members for port in pod.ports}
        named |= {PodPort("", Protocol.TCP, Port(each.target)) for found in self.exposures.values() for each in found}
        return Reach(parties, self.index, PortPieces(_ports(policies), named))

    def lines(self, answer: Reach) -> Iterator[tuple[Party, Party, str]]:
        """Yield every pair that can talk, and on what."""
        if STAND_IN not in self.workloads:
            yield from answer.lines()
            return
        at = next(number for number, party in enumerate(answer.parties) if party.name == STAND_IN)
        yield from (line for line in answer.lines() if STAND_IN not in (line[0].name, line[1].name))
        for index, target in enumerate(answer.parties):
            chosen = answer.connections(at, index) & self.asked(answer.ports, answer.parties[at], target)
            if chosen:
                yield answer.parties[at], target, answer.ports.tell(chosen)

    def asked(self, ports: PortPieces, source: Party, target: Party) -> int:
        """The pieces of ports to speak of: nobody talks to the stand-in, and it talks as Ingresses ask."""
        if target.name == STAND_IN:
            return 0
        return ports.all if source.name != STAND_IN else self._exposed(ports, target)

    def closed(self, answer: Reach) -> Iterator[Finding]:
        """Yield what policies keep from ingress controllers, though an Ingress shows it."""
        for number, source in enumerate(answer.parties):
            if source.pod is None or source.pod.namespace not in _CONTROLLER_NAMESPACES:
                continue
            for index, target in enumerate(answer.parties):
                missing = self._exposed(answer.ports, target) & ~answer.connections(number, index)
                for each in self.exposures.get(target.workload, ()) if missing else ():
                    if missing & answer.ports.of_range(_port(each)):
                        message = f"{each.url} leads to {target.name}, and policies keep {source.name} from it"
                        remedy = f"ask why: fairlead reach --explain --from '{source.name}' --to '{target.name}'"
                        yield Finding(Severity.WARNING, each.origin, message, remedy)

    def means(self, text: str, party: Party) -> bool:
        """Whether a text is part of a party's name, or of another name for it: `svc/shop/web:80`, an Ingress's URL."""
        if text in party.name:
            return True
        other = (f"svc/{each}" for each in self.aliases.get(party.workload, ()))
        shown = (str(each) for each in self.exposures.get(party.workload, ()))
        return any(text in each for each in (*other, *shown))

    def through(self, source: Party, target: Party, conn: str) -> list[str]:
        """The Services and, for ingress controllers, the Ingresses that lead to what may be talked on."""
        found = [
            str(each) for each in self.aliases.get(target.workload, ()) if covers(conn, each.protocol, each.target)
        ]
        if source.pod is not None and source.pod.namespace in _CONTROLLER_NAMESPACES:
            exposures = self.exposures.get(target.workload, ())
            found += [str(each) for each in exposures if covers(conn, Protocol.TCP.name, each.target)]
        return found

    def _exposed(self, ports: PortPieces, target: Party) -> int:
        found = 0
        for each in self.exposures.get(target.workload, ()):
            found |= ports.of_range(_port(each))
        return found


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
    if objects.ingresses and not any(pod.namespace in _CONTROLLER_NAMESPACES for pod in index.pods.pods.values()):
        index.pods.put_pod(_CONTROLLER)
        workloads[STAND_IN] = [_CONTROLLER]
    named = {(pod.metadata.namespace, pod.metadata.name): workload_of(pod) for pod in objects.pods}
    aliases = find_aliases(objects.services, objects.slices, named)
    exposures = find_exposures(objects.ingresses, objects.services, aliases)
    return Question(index, workloads, tuple(findings), aliases, exposures)


def workload_of(pod: Pod) -> str:
    """What people call a pod's workload, as `shop/web[Deployment]`; a pod of its own by its own name."""
    meta, owner = pod.metadata, pod.metadata.controller
    if owner is None:
        return f"{meta.namespace}/{meta.name}"
    suffix = "-" + meta.labels.get(_HASH, "")
    if owner.kind == "ReplicaSet" and len(suffix) > 1 and owner.name.endswith(suffix):
        return f"{meta.namespace}/{owner.name.removesuffix(suffix)}[Deployment]"
    return f"{meta.namespace}/{owner.name}[{owner.kind}]"


def _port(exposure: Exposure) -> PortRange:
    return PortRange(Protocol.TCP, Port(exposure.target), Port(exposure.target))


def _blocks(policies: Iterable[Policy]) -> set[AddressBlock]:
    rules = (rule for policy in policies for side in (policy.ingress, policy.egress) for rule in side or ())
    return {peer for rule in rules for peer in rule.peers or () if isinstance(peer, AddressBlock)}


def _ports(policies: Iterable[Policy]) -> set[PortMatch]:
    rules = (rule for policy in policies for side in (policy.ingress, policy.egress) for rule in side or ())
    return {port for rule in rules for port in rule.ports or ()}
