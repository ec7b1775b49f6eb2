"""Generated clusters: three nodes, up to three Services of every type, slices with every mix of conditions."""

from collections.abc import Iterator

from hypothesis import strategies as st

from fairlead.compile.services import ZONE_LABEL
from fairlead.kube.containers import Container, ContainerPort
from fairlead.kube.core import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from fairlead.kube.discovery import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointSlice,
    ForName,
    SlicePort,
)
from fairlead.kube.meta import ObjectMeta
from fairlead.kube.pods import PodIP
from fairlead.model import FrontendKey
from fairlead.net import Address, Port, Protocol, parse_address
from fairlead.nft.evaluate import Packet
from fairlead.sim.world import World

ZONES = {1: "a", 2: "b", 3: ""}
RANGES = ("198.51.100.0/24", " 10.244.0.0/16 ", "172.18.0.2/32", "10.244.2.2/31", "0.0.0.0/0", "not-a-range")
NODES = tuple(
    Node(
        metadata=ObjectMeta(name=f"node-{number}", labels={ZONE_LABEL: ZONES[number]} if ZONES[number] else {}),
        spec=NodeSpec(pod_cidr=f"10.244.{number}.0/24"),
        status=NodeStatus(addresses=(NodeAddress(type="InternalIP", address=f"172.18.0.{1 + number}"),)),
    )
    for number in (1, 2, 3)
)
PORTS = (80, 443)
HOST_PORTS = (9000, 30010)
PODS = tuple(f"10.244.{node}.{host}" for node in (1, 2, 3) for host in (2, 3))
SOURCES = (*PODS, "198.51.100.2", "172.18.0.2", "172.18.0.3")
maybe = st.sampled_from([None, True, False])
policy = st.sampled_from(["Cluster", "Local"])
ranges = st.lists(st.sampled_from(RANGES), unique=True, max_size=3).map(tuple)
near = st.builds(
    EndpointHints,
    for_zones=st.lists(st.sampled_from(["a", "b"]).map(ForName), unique=True, max_size=2).map(tuple),
    for_nodes=st.lists(st.sampled_from(["node-1", "node-2"]).map(ForName), unique=True, max_size=1).map(tuple),
)


@st.composite
def services(draw: st.DrawFn, number: int) -> Service:
    protocol = draw(st.sampled_from(["TCP", "UDP"]))
    kind = draw(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]))
    ports = tuple(
        ServicePort(name=str(port), protocol=protocol, port=port, node_port=0 if kind == "ClusterIP" else 30000 + at)
        for at, port in enumerate(draw(st.lists(st.sampled_from(PORTS), min_size=1, unique=True)), 10 * number)
    )
    external = draw(st.booleans())
    return Service(
        metadata=ObjectMeta(name=f"s{number}", namespace="n"),
        spec=ServiceSpec(
            type=kind,
            ports=ports,
            cluster_ip=f"10.96.0.{10 + number}",
            external_ips=(f"192.0.2.{number}",) if external else (),
            internal_traffic_policy=draw(policy),
            external_traffic_policy=draw(policy) if kind != "ClusterIP" or external else "",
            session_affinity=draw(st.sampled_from(["None", "ClientIP"])),
            load_balancer_source_ranges=draw(ranges) if kind == "LoadBalancer" else (),
        ),
        status=ServiceStatus(
            load_balancer=LoadBalancerStatus(ingress=(LoadBalancerIngress(ip=f"203.0.113.{number}"),))
            if kind == "LoadBalancer"
            else LoadBalancerStatus()
        ),
    )


@st.composite
def slices(draw: st.DrawFn, service: Service) -> EndpointSlice:
    hints = draw(st.sampled_from([st.none(), near]))
    endpoints = [
        Endpoint(
            addresses=(address,),
            conditions=EndpointConditions(ready=draw(maybe), serving=draw(maybe), terminating=draw(maybe)),
            node_name=f"node-{address.split('.')[2]}",
            hints=draw(hints),
        )
        for address in draw(st.lists(st.sampled_from(PODS), unique=True, max_size=4))
    ]
    target = draw(st.sampled_from([8080, 9090]))
    return EndpointSlice(
        metadata=ObjectMeta(name="p", namespace="n", labels={SERVICE_NAME_LABEL: service.metadata.name}),
        address_type="IPv4",
        endpoints=tuple(endpoints),
        ports=tuple(SlicePort(name=each.name, protocol=each.protocol, port=target) for each in service.spec.ports),
    )


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    """A pod with a host port, which may be the node port of a Service too."""
    address = draw(st.sampled_from(PODS))
    port = ContainerPort(container_port=8080, host_port=draw(st.sampled_from(HOST_PORTS)), protocol="TCP")
    return Pod(
        metadata=ObjectMeta(name=f"pod-{address}", namespace="n"),
        spec=PodSpec(node_name=f"node-{address.split('.')[2]}", containers=(Container(name="it", ports=(port,)),)),
        status=PodStatus(
            phase=draw(st.sampled_from(["Running", "Failed"])), pod_ip=address, pod_ips=(PodIP(ip=address),)
        ),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    made = [draw(services(number)) for number in range(1, 1 + draw(st.integers(1, 3)))]
    pieces = [draw(slices(service)) for service in made for _ in range(draw(st.integers(0, 2)))]
    return World.of(NODES, draw(st.lists(pods(), max_size=2, unique_by=lambda pod: pod.metadata.name)), made, pieces)


def keys(world: World, node: Node) -> Iterator[FrontendKey]:
    """What one can dial: everything the Services name on this node, and what nobody named."""
    addresses = ["10.96.200.1", "10.244.2.2", "192.0.2.99", *(each.address for each in node.status.addresses)]
    for service in world.services.values():
        addresses += [service.spec.cluster_ip, *service.spec.external_ips]
        addresses += [each.ip for each in service.status.load_balancer.ingress]
    numbers = {
        *PORTS,
        *HOST_PORTS,
        1,
        *(port.node_port for each in world.services.values() for port in each.spec.ports),
    } - {0}
    for address in addresses:
        for protocol in (Protocol.TCP, Protocol.UDP):
            yield from (FrontendKey(parse_address(address), protocol, Port(number)) for number in sorted(numbers))


def packet_to(key: FrontendKey, source: Address) -> Packet:
    return Packet(
        source=source,
        destination=key.address,
        protocol=key.protocol,
        source_port=Port(40000),
        destination_port=key.port,
    )
