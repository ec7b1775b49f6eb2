"""One Service and its slices to frontends: what clients may dial on this node, and where each connection may go.

Comes in: a Service, the facts of its slices, the facts of the node. Goes out: frontends, and findings for what no
rows can be made of. Refuses to know other services. Source: k/pkg/proxy/topology.go and servicechangetracker.go,
KEP-1669, KEP-2086.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from fairlead.compile.endpoints import EndpointFacts, HintedEndpoint, SliceEndpoints, parse_ipv4, parse_ipv6
from fairlead.compile.sources import Sources, compile_sources, unreadable_sources
from fairlead.compile.topology import choose_near
from fairlead.kube.core import Service, ServicePort
from fairlead.model import Affinity, Backend, Finding, Frontend, FrontendKey, Masquerade, Origin, Refusal, Severity
from fairlead.net import Address, Family, Port, Protocol, parse_protocol

PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
ZONE_LABEL = "topology.kubernetes.io/zone"
DEFAULT_AFFINITY_SECONDS = 10_800
"""How long a client stays with its backend where the Service does not say (core/v1 ClientIPConfig)."""


class NodeFacts(Struct, frozen=True):
    """The node frontends are compiled for; node ports open on `addresses` only. `zone` is empty where it has none."""

    name: str
    addresses: tuple[Address, ...]
    zone: str = ""


class _Choice(Struct, frozen=True):
    """The backends under one traffic policy, and what a client gets when there are none."""

    backends: tuple[Backend, ...]
    when_empty: Refusal


def compile_service(
    service: Service, slices: Sequence[SliceEndpoints], node: NodeFacts, family: Family = Family.IPV4
) -> tuple[tuple[Frontend, ...], tuple[Finding, ...]]:
    """Return the service's frontends on `node` in one family, in the order of its ports, and what to tell its author.

    Headless and ExternalName services have none, nor have those that name another proxy.
    """
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in ("", "None") or PROXY_NAME_LABEL in service.metadata.labels:
        return (), ()
    frontends: list[Frontend] = []
    for index, port in enumerate(spec.ports):
        frontends += _compile_port(service, index, port, slices, node, family)
    return tuple(frontends), tuple(_findings(service))


def udp_backends(
    service: Service, slices: Sequence[SliceEndpoints], frontends: Iterable[Frontend], family: Family = Family.IPV4
) -> dict[FrontendKey, frozenset[Backend]]:
    """For each UDP frontend, every endpoint that may still answer an old flow, whatever the traffic policies say.

    Frontends without such an endpoint are left out. Source: k/pkg/proxy/conntrack/cleanup.go.
    """
    by_number: dict[int, frozenset[Backend]] = {}
    for port in service.spec.ports:
        if port.protocol == "UDP":
            serving = frozenset(_endpoints_of(port.name, Protocol.UDP, slices, family))
            for number in (port.port, port.node_port):
                by_number[number] = by_number.get(number, frozenset()) | serving
    keys = (frontend.key for frontend in frontends if frontend.key.protocol is Protocol.UDP)
    return {key: found for key in keys if (found := by_number.get(key.port))}


def _compile_port(
    service: Service, index: int, port: ServicePort, slices: Sequence[SliceEndpoints], node: NodeFacts, family: Family
) -> Iterator[Frontend]:
    spec = service.spec
    protocol = parse_protocol(port.protocol)
    facts = _endpoints_of(port.name, protocol, slices, family)
    everywhere = _choose_cluster(facts, node)
    internal = _choose_local(facts) if spec.internal_traffic_policy == "Local" else everywhere
    local = spec.external_traffic_policy == "Local"
    outside = _choose_local(facts) if local else everywhere
    affinity = _affinity(service, port)

    def origin(field: str) -> Origin:
        return Origin("Service", service.metadata.namespace, service.metadata.name, field)

    def external(address: Address, number: int, field: str, sources: Sources | None = None) -> Frontend:
        return Frontend(
            key=FrontendKey(address, protocol, Port(number)),
            backends=outside.backends,
            when_empty=outside.when_empty,
            masquerade=Masquerade.NEVER if local else Masquerade.ALWAYS,
            inside=everywhere.backends if local else (),
            affinity=affinity,
            sources=sources,
            origin=origin(field),
        )

    where = f"spec.ports[{index}]"
    for _, address in _addresses(spec.cluster_ips or (spec.cluster_ip,), family):
        yield Frontend(
            key=FrontendKey(address, protocol, Port(port.port)),
            backends=internal.backends,
            when_empty=internal.when_empty,
            masquerade=Masquerade.UNLESS_LOCAL_POD,
            affinity=affinity,
            origin=origin(f"{where}.port"),
        )
    if port.node_port:
        for address in node.addresses:
            if address.family is family:
                yield external(address, port.node_port, f"{where}.nodePort")
    for number, address in _addresses(spec.external_ips, family):
        yield external(address, port.port, f"spec.externalIPs[{number}]")
    if spec.type == "LoadBalancer":
        ingress = service.status.load_balancer.ingress
        virtual = tuple(_addresses((each.ip if each.ip_mode in (None, "VIP") else "" for each in ingress), family))
        sources = compile_sources(service, [address for _, address in virtual], node.addresses, family)
        for number, address in virtual:
            yield external(address, port.port, f"status.loadBalancer.ingress[{number}].ip", sources)


def _affinity(service: Service, port: ServicePort) -> Affinity | None:
    """Return what binds clients to their backends: one for all the frontends of a port, of its protocol."""
    spec, meta = service.spec, service.metadata
    if spec.session_affinity != "ClientIP":
        return None
    config = spec.session_affinity_config.client_ip if spec.session_affinity_config else None
    timeout = (config.timeout_seconds if config else None) or DEFAULT_AFFINITY_SECONDS
    name = f"{meta.namespace}/{meta.name}/{port.protocol.lower()}/{port.name or port.port}"
    return Affinity(timeout, name)


def _endpoints_of(
    name: str, protocol: Protocol, slices: Sequence[SliceEndpoints], family: Family
) -> dict[Backend, EndpointFacts]:
    """Every endpoint behind a port name; of doubles, one that is not terminating."""
    facts: dict[Backend, EndpointFacts] = {}
    add = facts.setdefault
    for piece in slices:
        port = piece.ports.get((name, protocol))
        if port is None or piece.family is not family:
            continue
        for endpoint in piece.endpoints:
            backend = Backend(endpoint.address, port)
            if add(backend, endpoint).draining:
                facts[backend] = endpoint
    return facts


def _choose_cluster(facts: dict[Backend, EndpointFacts], node: NodeFacts) -> _Choice:
    """Ready endpoints that are near enough, or serving and terminating ones when none is ready (KEP-1669)."""
    ready = [backend for backend, endpoint in facts.items() if endpoint.ready]
    if ready and isinstance(facts[ready[0]], HintedEndpoint):
        ready = choose_near({backend: facts[backend] for backend in ready}, node.name, node.zone)
    return _Choice(tuple(sorted(ready or facts)), Refusal.REJECT)


def _choose_local(facts: dict[Backend, EndpointFacts]) -> _Choice:
    """Ready endpoints of this node, or its serving and terminating ones; hints do not count among them."""
    near = {backend: endpoint for backend, endpoint in facts.items() if endpoint.local}
    chosen = [backend for backend, endpoint in near.items() if endpoint.ready] or near
    return _Choice(tuple(sorted(chosen)), Refusal.DROP if facts else Refusal.REJECT)


def _addresses(texts: Iterable[str], family: Family) -> Iterator[tuple[int, Address]]:
    """The addresses of one family among `texts`, with their places; others, and what is no address, are left out."""
    parse = parse_ipv4 if family is Family.IPV4 else parse_ipv6
    for number, text in enumerate(texts):
        address = parse(text)
        if address is not None:
            yield number, address


def _findings(service: Service) -> Iterator[Finding]:
    spec, meta = service.spec, service.metadata

    def tell(severity: Severity, field: str, message: str, remedy: str) -> Finding:
        return Finding(severity, Origin("Service", meta.namespace, meta.name, field), message, remedy)

    for at in unreadable_sources(service):
        yield tell(
            Severity.ERROR,
            f"spec.loadBalancerSourceRanges[{at}]",
            f"{spec.load_balancer_source_ranges[at]!r} is no range of addresses: nobody is let in by it",
            "write it as 203.0.113.0/24",
        )
