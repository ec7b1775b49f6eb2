"""What the host of an external load balancer lets clients dial, and to which nodes it sends them.

Comes in: a Service with its addresses, the nodes as they are, and what health checks found. Goes out: frontends whose
backends are node ports, and findings. Refuses to know how health is checked and rows are made. Source: the service
controller of k8s.io/cloud-provider (which nodes), KEP-3458, KEP-3836.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum

from msgspec import Struct

from fairlead.compile.loadbalancers import held_addresses
from fairlead.compile.sources import compile_sources
from fairlead.kube.core import Node, Service
from fairlead.model import Affinity, Backend, Finding, Frontend, FrontendKey, Masquerade, Origin, Refusal, Severity
from fairlead.net import Address, Family, Port, parse_address, parse_protocol

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
AUTOSCALER_TAINT = "ToBeDeletedByClusterAutoscaler"
SPREAD_ANNOTATION = "fairlead.dev/spread"
PROXY_ANNOTATION = "fairlead.dev/proxy-protocol"
SOURCE_SECONDS = 10_800
"""How long a client keeps its node after its last new connection, where connections are spread by source."""


_VERSIONS = {"v1": 1, "v2": 2}


def proxy_version(service: Service) -> int | None:
    """The version of the PROXY protocol that a Service's pods want to hear over TCP, None for none."""
    return _VERSIONS.get(service.metadata.annotations.get(PROXY_ANNOTATION, ""))


class NodeState(Enum):
    """What a node gets of new connections."""

    SERVING = "serving"
    DRAINING = "draining"
    """None, while another node serves: it is cordoned, or about to go."""
    OUT = "out"
    """None: it is not ready, or not to be used by load balancers."""


class Target(Struct, frozen=True):
    """A node as a load balancer sees it."""

    name: str
    addresses: tuple[Address, ...]
    state: NodeState


def compile_target(node: Node) -> Target:
    """Return what a load balancer needs to know of a node: its first internal address of each family, and its state."""
    found: dict[Family, Address] = {}
    for each in node.status.addresses:
        if each.type == "InternalIP":
            try:
                address = parse_address(each.address)
            except ValueError:
                continue
            found.setdefault(address.family, address)
    return Target(node.metadata.name, tuple(found.values()), _state(node))


def _state(node: Node) -> NodeState:
    ready = any(each.type == "Ready" and each.status == "True" for each in node.status.conditions)
    if not ready or EXCLUDE_LABEL in node.metadata.labels:
        return NodeState.OUT
    leaving = node.metadata.deletion_timestamp is not None or any(
        taint.key == AUTOSCALER_TAINT for taint in node.spec.taints
    )
    return NodeState.DRAINING if leaving or node.spec.unschedulable else NodeState.SERVING


class Outside(Struct, frozen=True, kw_only=True):
    """The load-balancer host: its addresses, and whether the nodes' answers come back through it.

    Where they do not, it must take the place of every client, and no pod sees where a connection came from.
    """

    addresses: tuple[Address, ...]
    answers_return: bool


Health = Callable[[str, int], bool]
"""Whether a node answers, by its name and the health check's node port, 0 for the node as a whole."""


def unknown(node: str, port: int) -> bool:
    """A health of which nothing is known: no node."""
    return False


def compile_external(
    service: Service,
    targets: Sequence[Target],
    healthy: Health,
    outside: Outside,
    family: Family,
    lately: Health = unknown,
) -> tuple[tuple[Frontend, ...], tuple[Finding, ...]]:
    """Return the frontends of a Service's addresses of one family, and what to tell its author.

    Under policy Local only nodes that say they have a ready pod get connections; where none says so any more, those
    that said so `lately`, since they have pods that end and still serve (KEP-1669). Where no node serves, those that
    drain still do, and where none answers, all that are ready: that is better than nobody.
    """
    spec, meta = service.spec, service.metadata

    def origin(field: str) -> Origin:
        return Origin("Service", meta.namespace, meta.name, field)

    addresses = [address for address in held_addresses(service) if address.family is family]
    if not addresses:
        return (), ()
    findings = tuple(_findings(service, outside, origin))
    local = spec.external_traffic_policy == "Local"
    if any(finding.severity is Severity.ERROR for finding in findings):
        return (), findings
    nodes = _choose(targets, healthy, lately, spec.health_check_node_port if local else 0, family)
    sources = compile_sources(service, addresses, outside.addresses, family)
    frontends = tuple(
        Frontend(
            key=FrontendKey(address, parse_protocol(port.protocol), Port(port.port)),
            backends=tuple(sorted(Backend(node, Port(port.node_port)) for node in nodes)),
            when_empty=Refusal.REJECT,
            masquerade=Masquerade.NEVER if outside.answers_return else Masquerade.ALWAYS,
            affinity=_affinity(service, index),
            sources=sources,
            origin=origin(f"spec.ports[{index}]"),
        )
        for address in addresses
        for index, port in enumerate(spec.ports)
    )
    return frontends, findings


def answering(service: Service, targets: Iterable[Target], healthy: Health, family: Family) -> frozenset[Address]:
    """Return the nodes that may go on with old flows: those that drain, too."""
    port = service.spec.health_check_node_port if service.spec.external_traffic_policy == "Local" else 0
    nodes = _by_state(targets, healthy, port, family)
    return frozenset((*nodes[NodeState.SERVING], *nodes[NodeState.DRAINING]))


def _choose(targets: Sequence[Target], healthy: Health, lately: Health, port: int, family: Family) -> Sequence[Address]:
    """The addresses of the nodes that new connections may go to."""
    nodes = _by_state(targets, healthy, port, family)
    chosen = nodes[NodeState.SERVING] or nodes[NodeState.DRAINING]
    if chosen:
        return chosen
    nodes = _by_state(targets, lately if port else _alive, port, family)
    return nodes[NodeState.SERVING] or nodes[NodeState.DRAINING]


def _alive(node: str, port: int) -> bool:
    return True


def _by_state(
    targets: Iterable[Target], healthy: Health, port: int, family: Family
) -> Mapping[NodeState, list[Address]]:
    found: Mapping[NodeState, list[Address]] = {state: [] for state in NodeState}
    for target in targets:
        address = next((each for each in target.addresses if each.family is family), None)
        if address is not None and healthy(target.name, port):
            found[target.state].append(address)
    return found


def _affinity(service: Service, index: int) -> Affinity | None:
    """A client that keeps its pod must keep its node too; so must one whose connections are spread by source."""
    spec, meta = service.spec, service.metadata
    port = spec.ports[index]
    name = f"{meta.namespace}/{meta.name}/{port.protocol.lower()}/{port.name or port.port}"
    if spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config.client_ip if spec.session_affinity_config else None
        return Affinity((config.timeout_seconds if config else None) or SOURCE_SECONDS, name)
    if service.metadata.annotations.get(SPREAD_ANNOTATION) == "source":
        return Affinity(SOURCE_SECONDS, name)
    return None


def _findings(service: Service, outside: Outside, origin: Callable[[str], Origin]) -> Iterator[Finding]:
    spec, annotations = service.spec, service.metadata.annotations
    without = [index for index, port in enumerate(spec.ports) if not port.node_port]
    if without:
        yield Finding(
            Severity.ERROR,
            origin("spec.allocateLoadBalancerNodePorts"),
            "the external load balancer reaches pods by node ports, and this Service has none, so nobody answers at "
            "its addresses",
            "leave allocateLoadBalancerNodePorts out, or choose loadBalancerClass fairlead.dev/l2 or fairlead.dev/bgp, "
            "which need none",
        )
    wanted = annotations.get(PROXY_ANNOTATION, "")
    if wanted and wanted not in _VERSIONS:
        yield Finding(
            Severity.ERROR,
            origin(f"metadata.annotations[{PROXY_ANNOTATION}]"),
            f"{wanted!r} is no version of the PROXY protocol, so nobody answers at the Service's addresses rather "
            "than pods being sent what they do not expect",
            "write v1 or v2, or take the annotation away",
        )
    elif wanted and any(port.protocol != "TCP" for port in spec.ports):
        yield Finding(
            Severity.WARNING,
            origin(f"metadata.annotations[{PROXY_ANNOTATION}]"),
            "the PROXY protocol is spoken over TCP alone: the Service's other ports are served without",
            "externalTrafficPolicy Local shows pods the client's address over any protocol",
        )
    spread = annotations.get(SPREAD_ANNOTATION)
    if spread not in (None, "", "random", "source"):
        yield Finding(
            Severity.WARNING,
            origin(f"metadata.annotations[{SPREAD_ANNOTATION}]"),
            f"{spread!r} is no way to spread connections: they are spread at random",
            "write random or source",
        )
    if spec.external_traffic_policy == "Local" and not outside.answers_return:
        yield Finding(
            Severity.WARNING,
            origin("spec.externalTrafficPolicy"),
            "the nodes do not answer through the load-balancer host, so pods see its address in place of the client's",
            "run the node agents with --return-through, and the load balancer with --answers-return",
        )
