"""EndpointSlices reduced to what the choice of backends needs.

Comes in: one slice and the own node's name. Goes out: its ports by name and its endpoints, each an address and three
facts. This is what an agent keeps of a slice: a tenth of the object. Source: k/pkg/proxy/endpointslicecache.go.
"""

from msgspec import Struct

from fairlead.kube.discovery import SERVICE_NAME_LABEL, EndpointSlice
from fairlead.net import Address, Port, Protocol, parse_address, parse_protocol


class EndpointFacts(Struct, frozen=True, gc=False):
    """One endpoint; `draining` means serving while terminating."""

    address: Address
    ready: bool
    draining: bool
    local: bool


class SliceEndpoints(Struct, frozen=True):
    """One slice; `ports` leads from (port name, protocol) to the number, which may differ from slice to slice."""

    service: str
    ports: dict[tuple[str, Protocol], Port]
    endpoints: tuple[EndpointFacts, ...]


def compile_slice(piece: EndpointSlice, node: str) -> SliceEndpoints:
    """Return the slice's endpoints as seen from `node`, in their order.

    Absent conditions count as ready, serving and not terminating. Only the first address of an endpoint is used. Ports
    without a name or number, and addresses that are none (as in slices of type FQDN), are left out.
    """
    ports: dict[tuple[str, Protocol], Port] = {}
    for port in piece.ports:
        if port.port:
            ports[port.name or "", parse_protocol(port.protocol or "TCP")] = Port(port.port)
    endpoints: list[EndpointFacts] = []
    if piece.address_type != "FQDN":
        for endpoint in piece.endpoints:
            conditions = endpoint.conditions
            ready = conditions.ready is not False
            terminating = conditions.terminating is True
            serving = conditions.serving if conditions.serving is not None else ready
            if endpoint.addresses and (ready or serving):
                address = parse_address(endpoint.addresses[0])
                local = endpoint.node_name == node
                endpoints.append(EndpointFacts(address, ready, serving and terminating, local))
    return SliceEndpoints(piece.metadata.labels.get(SERVICE_NAME_LABEL, ""), ports, tuple(endpoints))
