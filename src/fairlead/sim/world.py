"""The objects and addresses a trace walks through.

Comes in: Nodes, Pods, Services and EndpointSlices, as an API server lists them. Goes out: who owns an address, and what
is where. Refuses to know where the objects come from, and rules. Outside the nodes it knows one network, that of the
embedded cluster: a fabric that joins a client, a load-balancer host and the nodes.
"""

from collections.abc import Iterable

from msgspec import Struct

from fairlead.kube.core import Namespace, Node, Pod, Service
from fairlead.kube.discovery import SERVICE_NAME_LABEL, EndpointSlice
from fairlead.kube.metallb import BGPAdvertisement, IPAddressPool, L2Advertisement, ServiceL2Status
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.net import Address, Prefix, Protocol, parse_address, parse_prefix

Name = tuple[str, str]
"""Namespace and name."""


class Network(Struct, frozen=True, kw_only=True):
    """Addresses outside the nodes, and the ranges no router has a route for; of both families."""

    client: tuple[Address, ...] = (parse_address("198.51.100.2"), parse_address("fd00:198:51:100::2"))
    lb: tuple[Address, ...] = (parse_address("172.18.255.2"), parse_address("fd00:172:18::ff02"))
    fabric: tuple[Address, ...] = (parse_address("172.18.0.1"), parse_address("fd00:172:18::1"))
    service_prefixes: tuple[Prefix, ...] = (parse_prefix("10.96.0.0/16"), parse_prefix("fd00:10:96::/112"))


class Announcing(Struct, frozen=True, kw_only=True):
    """What there is to say who announces which addresses of load balancers."""

    pools: tuple[IPAddressPool, ...] = ()
    l2: tuple[L2Advertisement, ...] = ()
    bgp: tuple[BGPAdvertisement, ...] = ()
    l2_states: tuple[ServiceL2Status, ...] = ()


NOTHING_ANNOUNCED = Announcing()


class World(Struct, frozen=True):
    """Everything by its name; slices by the name of their Service."""

    nodes: dict[str, Node]
    pods: dict[Name, Pod]
    services: dict[Name, Service]
    slices: dict[Name, tuple[EndpointSlice, ...]]
    network: Network = Network()
    namespaces: tuple[Namespace, ...] = ()
    policies: tuple[NetworkPolicy | ClusterNetworkPolicy, ...] = ()
    announcing: Announcing = NOTHING_ANNOUNCED

    @staticmethod
    def of(
        nodes: Iterable[Node],
        pods: Iterable[Pod],
        services: Iterable[Service],
        slices: Iterable[EndpointSlice],
        namespaces: Iterable[Namespace] = (),
        policies: Iterable[NetworkPolicy | ClusterNetworkPolicy] = (),
        announcing: Announcing = NOTHING_ANNOUNCED,
    ) -> "World":
        """Return the world of these objects; pods that have ended are left out."""
        by_service: dict[Name, tuple[EndpointSlice, ...]] = {}
        for piece in slices:
            name = piece.metadata.namespace, piece.metadata.labels.get(SERVICE_NAME_LABEL, "")
            by_service[name] = (*by_service.get(name, ()), piece)
        return World(
            {node.metadata.name: node for node in nodes},
            {name_of(pod): pod for pod in pods if pod.status.phase not in ("Succeeded", "Failed")},
            {name_of(service): service for service in services},
            by_service,
            namespaces=tuple(namespaces),
            policies=tuple(policies),
            announcing=announcing,
        )

    def node_holding(self, address: Address) -> Node | None:
        """The node that has an address of its own."""
        return next((node for node in self.nodes.values() if address in addresses_of_node(node)), None)

    def node_routing(self, address: Address) -> Node | None:
        """The node whose pod range an address is in."""
        return next((node for node in self.nodes.values() if in_prefixes(address, pod_prefixes(node))), None)

    def pod_holding(self, address: Address) -> Pod | None:
        """The pod with a network of its own at an address."""
        held = (pod for pod in self.pods.values() if not pod.spec.host_network)
        return next((pod for pod in held if address in addresses_of_pod(pod)), None)


def name_of(view: Pod | Service) -> Name:
    """Namespace and name of an object."""
    return view.metadata.namespace, view.metadata.name


def addresses_of_node(node: Node) -> tuple[Address, ...]:
    """A node's own addresses, its first internal one first."""
    return tuple(parse_address(each.address) for each in node.status.addresses if each.type == "InternalIP")


def pod_prefixes(node: Node) -> tuple[Prefix, ...]:
    """The ranges a node's pods have their addresses from."""
    texts = node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())
    return tuple(parse_prefix(text) for text in texts)


def addresses_of_pod(pod: Pod) -> tuple[Address, ...]:
    """A pod's addresses, the primary one first."""
    texts = tuple(each.ip for each in pod.status.pod_ips) or ((pod.status.pod_ip,) if pod.status.pod_ip else ())
    return tuple(parse_address(text) for text in texts)


def declared_ports(pod: Pod, protocol: Protocol) -> frozenset[int]:
    """The ports a pod's containers say they listen on."""
    ports = (port for container in pod.spec.containers for port in container.ports)
    return frozenset(port.container_port for port in ports if (port.protocol or "TCP") == protocol.name)


def in_prefixes(address: Address, prefixes: Iterable[Prefix]) -> bool:
    """Whether one of the ranges holds an address."""
    return any(address in prefix for prefix in prefixes)
