"""A world from manifests alone: what the controllers of a cluster would make of them, as soon as all is ready.

Comes in: documents. Goes out: a World, with addresses, node ports and endpoints filled in where nobody wrote them.
Every pod is taken for ready. Addresses that are filled in are synthetic: a cluster would choose others.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from fairlead.kube.core import Namespace, Node, NodeAddress, NodeSpec, NodeStatus, Pod, PodStatus, Service, ServicePort
from fairlead.kube.discovery import SERVICE_NAME_LABEL, Endpoint, EndpointConditions, EndpointSlice, SlicePort
from fairlead.kube.documents import Document, mapping_at, number_at, text_at
from fairlead.kube.meta import Condition, KubeObject, ObjectMeta, ObjectReference
from fairlead.kube.metallb import BGPAdvertisement, IPAddressPool, L2Advertisement
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.pods import PodIP
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.net import Family, parse_address
from fairlead.sim.world import Announcing, World, addresses_of_node, addresses_of_pod, pod_prefixes

T = TypeVar("T", bound=KubeObject)

_NODES = 3
_FIRST_NODE_PORT = 30000
_FIRST_SERVICE = 100
"""Where filled-in service addresses begin, past those that clusters give their own services."""
_REPLICATED = ("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController")


def derive_world(documents: Sequence[Document]) -> World:
    """Return the world these manifests would make. Raises ValueError for an object whose fields have wrong types."""
    nodes = tuple(_read(each, Node) for each in documents if text_at(each, "kind") == "Node") or _usual_nodes()
    pods = tuple(_place(number, pod, nodes) for number, pod in enumerate(_pods(documents, nodes)))
    services = _number_services([_read(each, Service) for each in documents if text_at(each, "kind") == "Service"])
    written = [_read(each, EndpointSlice) for each in documents if text_at(each, "kind") == "EndpointSlice"]
    derived = (piece for service in services if service.spec.selector for piece in _slices(service, pods))
    namespaces = (_read(each, Namespace) for each in documents if text_at(each, "kind") == "Namespace")
    policies = [_read(each, NetworkPolicy) for each in documents if text_at(each, "kind") == "NetworkPolicy"]
    tiered = [
        _read(each, ClusterNetworkPolicy) for each in documents if text_at(each, "kind") == "ClusterNetworkPolicy"
    ]
    announcing = Announcing(
        pools=tuple(_read(each, IPAddressPool) for each in documents if text_at(each, "kind") == "IPAddressPool"),
        l2=tuple(_read(each, L2Advertisement) for each in documents if text_at(each, "kind") == "L2Advertisement"),
        bgp=tuple(_read(each, BGPAdvertisement) for each in documents if text_at(each, "kind") == "BGPAdvertisement"),
    )
    return World.of(nodes, pods, services, (*written, *derived), namespaces, (*policies, *tiered), announcing)


def _read(document: Document, kind: type[T]) -> T:
    metadata: Document = {**mapping_at(document, "metadata")}
    if kind is not Node:
        metadata.setdefault("namespace", "default")
    try:
        return msgspec.convert({**document, "metadata": metadata}, kind)
    except msgspec.ValidationError as error:
        where = f"{text_at(document, 'kind')} {metadata.get('namespace', '')}/{metadata.get('name', '')}"
        raise ValueError(f"{where}: {error}") from None


def _usual_nodes() -> tuple[Node, ...]:
    """The nodes `fairlead up` makes: node-1, node-2 and node-3."""
    return tuple(
        Node(
            metadata=ObjectMeta(name=f"node-{number}", labels={"kubernetes.io/hostname": f"node-{number}"}),
            spec=NodeSpec(
                pod_cidr=f"10.244.{number}.0/24",
                pod_cidrs=(f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"),
            ),
            status=NodeStatus(
                conditions=(Condition(type="Ready", status="True"),),
                addresses=(
                    NodeAddress(type="InternalIP", address=f"172.18.0.{1 + number}"),
                    NodeAddress(type="InternalIP", address=f"fd00:172:18::{1 + number}"),
                ),
            ),
        )
        for number in range(1, _NODES + 1)
    )


def _pods(documents: Sequence[Document], nodes: Sequence[Node]) -> Iterator[Pod]:
    """Yield the pods written, and those the workloads would make, named by number."""
    for document in documents:
        kind = text_at(document, "kind")
        if kind == "Pod":
            yield _read(document, Pod)
        elif kind == "DaemonSet":
            yield from (_pod_of(document, number, node.metadata.name) for number, node in enumerate(nodes))
        elif kind in _REPLICATED:
            replicas = number_at(document, "spec", "replicas")
            yield from (_pod_of(document, number, "") for number in range(1 if replicas is None else replicas))


def _pod_of(workload: Document, number: int, node: str) -> Pod:
    template, metadata = mapping_at(workload, "spec", "template"), mapping_at(workload, "metadata")
    name: Document = {
        **mapping_at(template, "metadata"),
        "name": f"{metadata.get('name', '')}-{number}",
        "namespace": metadata.get("namespace", "default"),
        "ownerReferences": [{"kind": workload.get("kind"), "name": metadata.get("name", ""), "controller": True}],
    }
    spec = mapping_at(template, "spec")
    return _read({"kind": "Pod", "metadata": name, "spec": {**spec, "nodeName": node} if node else spec}, Pod)


def _place(number: int, pod: Pod, nodes: Sequence[Node]) -> Pod:
    """Give a pod a node in turn, an address of that node in each of its families, and readiness, as far as it lacks."""
    names = [node.metadata.name for node in nodes]
    at = names.index(pod.spec.node_name) if pod.spec.node_name in names else number % len(nodes)
    if pod.spec.host_network:
        addresses = tuple(str(each) for each in addresses_of_node(nodes[at]))
    else:
        addresses = tuple(str(prefix.address + (2 + number)) for prefix in pod_prefixes(nodes[at]))
    ready = Condition(type="Ready", status="True")
    held = tuple(PodIP(ip=each) for each in addresses)
    status = PodStatus(phase="Running", conditions=(ready,), pod_ip=addresses[0], pod_ips=held)
    return replace(
        pod,
        spec=replace(pod.spec, node_name=names[at]),
        status=pod.status if pod.status.pod_ip or pod.status.pod_ips else status,
    )


def _number_services(services: Sequence[Service]) -> list[Service]:
    """Give Services the addresses and node ports an API server would."""
    taken = {port.node_port for service in services for port in service.spec.ports}
    free = iter(sorted(set(range(_FIRST_NODE_PORT, 32768)) - taken))
    used = {service.spec.cluster_ip for service in services}
    unused = (number for number in range(_FIRST_SERVICE, 1 << 16) if f"10.96.{number >> 8}.{number & 255}" not in used)
    return [_number_service(service, unused, free) for service in services]


def _number_service(service: Service, unused: Iterator[int], free: Iterator[int]) -> Service:
    spec = service.spec
    if spec.type == "ExternalName":
        return service
    opened = spec.type in ("NodePort", "LoadBalancer") and spec.allocate_load_balancer_node_ports is not False
    ports = tuple(replace(port, node_port=next(free)) if opened and not port.node_port else port for port in spec.ports)
    addresses = spec.cluster_ips or _cluster_ips(service, unused)
    return replace(service, spec=replace(spec, ports=ports, cluster_ip=addresses[0], cluster_ips=addresses))


def _cluster_ips(service: Service, unused: Iterator[int]) -> tuple[str, ...]:
    """An address for each family the Service asks for, the one it names first; a cluster has both (KEP-563)."""
    spec = service.spec
    if spec.cluster_ip == "None":
        return ("None",)
    number = next(unused)
    own = {
        Family.IPV4.value: f"10.96.{number >> 8}.{number & 255}",
        Family.IPV6.value: str(parse_address("fd00:10:96::") + number),
    }
    wanted = list(spec.ip_families) or [Family.IPV4.value]
    if spec.ip_family_policy in ("PreferDualStack", "RequireDualStack"):
        wanted += [family for family in own if family not in wanted]
    if spec.cluster_ip:
        own[parse_address(spec.cluster_ip).family.value] = spec.cluster_ip
    return tuple(own[family] for family in wanted)


def _slices(service: Service, pods: Sequence[Pod]) -> Iterator[EndpointSlice]:
    """Yield a slice for each family and each way the Service's ports resolve in its pods; at least one, if empty."""
    by_ports: dict[tuple[SlicePort, ...], list[Pod]] = {}
    for pod in pods:
        same = pod.metadata.namespace == service.metadata.namespace
        if same and service.spec.selector.items() <= pod.metadata.labels.items():
            by_ports.setdefault(_resolve_ports(service, pod), []).append(pod)
    for family in _families(service):
        for number, (ports, members) in enumerate(by_ports.items() or ((_resolve_ports(service, None), []),)):
            held = ((pod, _address_of(pod, family)) for pod in members)
            yield EndpointSlice(
                metadata=ObjectMeta(
                    name=f"{service.metadata.name}-{number}-{family.value.lower()}",
                    namespace=service.metadata.namespace,
                    labels={SERVICE_NAME_LABEL: service.metadata.name},
                ),
                address_type=family.value,
                ports=ports,
                endpoints=tuple(_endpoint(pod, address) for pod, address in held if address),
            )


def _families(service: Service) -> tuple[Family, ...]:
    """The families of a Service's addresses; of a headless one those it names."""
    spec = service.spec
    if spec.cluster_ips == ("None",):
        return tuple(family for family in Family if family.value in (spec.ip_families or (Family.IPV4.value,)))
    return tuple(dict.fromkeys(parse_address(each).family for each in spec.cluster_ips))


def _address_of(pod: Pod, family: Family) -> str:
    return next((str(each) for each in addresses_of_pod(pod) if each.family is family), "")


def _endpoint(pod: Pod, address: str) -> Endpoint:
    target = ObjectReference(kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name)
    ready = any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions)
    return Endpoint(
        addresses=(address,),
        conditions=EndpointConditions(ready=ready),
        node_name=pod.spec.node_name,
        target_ref=target,
    )


def _resolve_ports(service: Service, pod: Pod | None) -> tuple[SlicePort, ...]:
    numbers = ((port, _resolve(port, pod)) for port in service.spec.ports)
    return tuple(SlicePort(name=port.name, protocol=port.protocol, port=number) for port, number in numbers if number)


def _resolve(port: ServicePort, pod: Pod | None) -> int | None:
    """The number a target port has in a pod; None for a name no container has."""
    if port.target_port is None:
        return port.port
    if isinstance(port.target_port, int):
        return port.target_port
    offered = (each for container in pod.spec.containers for each in container.ports) if pod else ()
    named = (each.container_port for each in offered if (each.name, each.protocol) == (port.target_port, port.protocol))
    return next(named, None)
