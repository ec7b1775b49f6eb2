"""A world from manifests alone: what the controllers of a cluster would make of them, as soon as all is ready.

Comes in: documents. Goes out: a World, with addresses, node ports and endpoints filled in where nobody wrote them.
Every pod is taken for ready. Addresses that are filled in are synthetic: a cluster would choose others.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from fairlead.kube.core import Node, NodeAddress, NodeSpec, NodeStatus, Pod, PodStatus, Service, ServicePort
from fairlead.kube.discovery import SERVICE_NAME_LABEL, Endpoint, EndpointConditions, EndpointSlice, SlicePort
from fairlead.kube.documents import Document, mapping_at, number_at, text_at
from fairlead.kube.meta import Condition, KubeObject, ObjectMeta, ObjectReference
from fairlead.kube.pods import PodIP
from fairlead.sim.world import World, pod_prefixes

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
    return World.of(nodes, pods, services, (*written, *derived))


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
            metadata=ObjectMeta(name=f"node-{number}"),
            spec=NodeSpec(pod_cidr=f"10.244.{number}.0/24"),
            status=NodeStatus(addresses=(NodeAddress(type="InternalIP", address=f"172.18.0.{1 + number}"),)),
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
    }
    spec = mapping_at(template, "spec")
    return _read({"kind": "Pod", "metadata": name, "spec": {**spec, "nodeName": node} if node else spec}, Pod)


def _place(number: int, pod: Pod, nodes: Sequence[Node]) -> Pod:
    """Give a pod a node in turn, an address of that node, and readiness, as far as it has none."""
    names = [node.metadata.name for node in nodes]
    at = names.index(pod.spec.node_name) if pod.spec.node_name in names else number % len(nodes)
    if pod.spec.host_network:
        address = nodes[at].status.addresses[0].address
    else:
        address = str(pod_prefixes(nodes[at])[0].address + (2 + number))
    ready = Condition(type="Ready", status="True")
    status = PodStatus(phase="Running", conditions=(ready,), pod_ip=address, pod_ips=(PodIP(ip=address),))
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
    addresses = (f"10.96.{number >> 8}.{number & 255}" for number in range(_FIRST_SERVICE, 1 << 16))
    unused = (address for address in addresses if address not in used)
    return [_number_service(service, unused, free) for service in services]


def _number_service(service: Service, addresses: Iterator[str], free: Iterator[int]) -> Service:
    spec = service.spec
    if spec.type == "ExternalName":
        return service
    opened = spec.type in ("NodePort", "LoadBalancer") and spec.allocate_load_balancer_node_ports is not False
    ports = tuple(replace(port, node_port=next(free)) if opened and not port.node_port else port for port in spec.ports)
    address = spec.cluster_ip or next(addresses)
    return replace(
        service, spec=replace(spec, ports=ports, cluster_ip=address, cluster_ips=spec.cluster_ips or (address,))
    )


def _slices(service: Service, pods: Sequence[Pod]) -> Iterator[EndpointSlice]:
    """Yield a slice for each way the Service's ports resolve in its pods; at least one, without endpoints."""
    by_ports: dict[tuple[SlicePort, ...], list[Pod]] = {}
    for pod in pods:
        same = pod.metadata.namespace == service.metadata.namespace
        if same and service.spec.selector.items() <= pod.metadata.labels.items():
            by_ports.setdefault(_resolve_ports(service, pod), []).append(pod)
    for number, (ports, members) in enumerate(by_ports.items() or ((_resolve_ports(service, None), []),)):
        yield EndpointSlice(
            metadata=ObjectMeta(
                name=f"{service.metadata.name}-{number}",
                namespace=service.metadata.namespace,
                labels={SERVICE_NAME_LABEL: service.metadata.name},
            ),
            address_type="IPv4",
            ports=ports,
            endpoints=tuple(_endpoint(pod) for pod in members),
        )


def _endpoint(pod: Pod) -> Endpoint:
    target = ObjectReference(kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name)
    ready = any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions)
    return Endpoint(
        addresses=(pod.status.pod_ip,),
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
