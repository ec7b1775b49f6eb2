"""One Service and its slices to frontends: what clients may dial on this node, and where each connection may go.

Comes in: a Service, the facts of its slices, the facts of the node. Goes out: frontends, and findings for what the
rows cannot carry yet. Refuses to know other services. Source: k/pkg/proxy/topology.go and servicechangetracker.go,
KEP-1669, KEP-2086.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from fairlead.compile.endpoints import EndpointFacts, SliceEndpoints
from fairlead.kube.core import Service, ServicePort
from fairlead.model import Backend, Finding, Frontend, FrontendKey, Masquerade, Origin, Refusal, Severity
from fairlead.net import Address, Family, Port, Protocol, parse_address, parse_protocol

PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"


class NodeFacts(Struct, frozen=True):
    """The node frontends are compiled for; node ports open on `addresses` only."""

    name: str
    addresses: tuple[Address, ...]


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


def _compile_port(
    service: Service, index: int, port: ServicePort, slices: Sequence[SliceEndpoints], node: NodeFacts, family: Family
) -> Iterator[Frontend]:
    spec = service.spec
    protocol = parse_protocol(port.protocol)
    facts = dict(_endpoints_of(port.name, protocol, slices, family))
    everywhere = _choose(facts, only_local=False)
    internal = _choose(facts, only_local=True) if spec.internal_traffic_policy == "Local" else everywhere
    local = spec.external_traffic_policy == "Local"
    external = _choose(facts, only_local=True) if local else everywhere

    def frontend(text: str | Address, number: int, choice: _Choice, masquerade: Masquerade, field: str) -> Frontend:
        address = text if isinstance(text, Address) else parse_address(text)
        return Frontend(
            key=FrontendKey(address, protocol, Port(number)),
            backends=choice.backends,
            when_empty=choice.when_empty,
            masquerade=masquerade,
            origin=Origin("Service", service.metadata.namespace, service.metadata.name, field),
        )

    where = f"spec.ports[{index}]"
    for ip in _of_family(spec.cluster_ips or (spec.cluster_ip,), family):
        yield frontend(ip, port.port, internal, Masquerade.UNLESS_LOCAL_POD, f"{where}.port")
    outside = Masquerade.NEVER if local else Masquerade.ALWAYS
    if port.node_port:
        for address in node.addresses:
            if address.family is family:
                yield frontend(address, port.node_port, external, outside, f"{where}.nodePort")
    for number, ip in enumerate(spec.external_ips):
        if _is_of(ip, family):
            yield frontend(ip, port.port, external, outside, f"spec.externalIPs[{number}]")
    if spec.type == "LoadBalancer" and not spec.load_balancer_source_ranges:
        for number, ingress in enumerate(service.status.load_balancer.ingress):
            if ingress.ip and ingress.ip_mode in (None, "VIP") and _is_of(ingress.ip, family):
                field = f"status.loadBalancer.ingress[{number}].ip"
                yield frontend(ingress.ip, port.port, external, outside, field)


def _endpoints_of(
    name: str, protocol: Protocol, slices: Sequence[SliceEndpoints], family: Family
) -> Iterator[tuple[Backend, EndpointFacts]]:
    """Every endpoint behind a port name; of doubles, the one that is not terminating comes last."""
    later: list[tuple[Backend, EndpointFacts]] = []
    for piece in slices:
        port = piece.ports.get((name, protocol))
        if port is None:
            continue
        for endpoint in piece.endpoints:
            if endpoint.address.family is not family:
                continue
            pair = (Backend(endpoint.address, port), endpoint)
            if endpoint.draining:
                yield pair
            else:
                later.append(pair)
    yield from later


def _choose(facts: dict[Backend, EndpointFacts], *, only_local: bool) -> _Choice:
    """Ready endpoints, or serving and terminating ones when none is ready (KEP-1669), here or everywhere."""
    ready: list[Backend] = []
    draining: list[Backend] = []
    for backend, endpoint in facts.items():
        if only_local and not endpoint.local:
            continue
        if endpoint.ready:
            ready.append(backend)
        elif endpoint.draining:
            draining.append(backend)
    usable = any(endpoint.ready or endpoint.draining for endpoint in facts.values()) if only_local else False
    return _Choice(tuple(sorted(ready or draining)), Refusal.DROP if usable else Refusal.REJECT)


def _of_family(texts: Iterable[str], family: Family) -> list[str]:
    return [text for text in texts if _is_of(text, family)]


def _is_of(text: str, family: Family) -> bool:
    return text not in ("", "None") and (":" in text) == (family is Family.IPV6)


def _findings(service: Service) -> Iterator[Finding]:
    spec, meta = service.spec, service.metadata

    def tell(severity: Severity, field: str, message: str, remedy: str) -> Finding:
        return Finding(severity, Origin("Service", meta.namespace, meta.name, field), message, remedy)

    if spec.session_affinity == "ClientIP":
        yield tell(
            Severity.WARNING,
            "spec.sessionAffinity",
            "session affinity is not carried yet: connections are spread at random",
            "do without it, or keep session state outside the pods",
        )
    if spec.type == "LoadBalancer" and spec.load_balancer_source_ranges:
        yield tell(
            Severity.ERROR,
            "spec.loadBalancerSourceRanges",
            "source ranges are not carried yet: the load balancer's addresses stay closed on this node",
            "remove spec.loadBalancerSourceRanges to open them to everybody",
        )
    if spec.external_traffic_policy == "Local" and spec.type in ("NodePort", "LoadBalancer"):
        yield tell(
            Severity.WARNING,
            "spec.externalTrafficPolicy",
            "with policy Local, pods and the node itself reach the external addresses through local endpoints only",
            "inside the cluster, use the ClusterIP",
        )
