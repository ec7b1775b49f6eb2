"""EndpointSlices reduced to what the choice of backends needs.

Comes in: one slice and the own node's name. Goes out: its ports by name and its endpoints, each an address and three
facts; those with hints are of a type of their own, so that hints cost nothing where there are none. This is what an
agent keeps of a slice: a tenth of the object. Source: k/pkg/proxy/endpointslicecache.go.
"""

from functools import lru_cache

from msgspec import Struct

from fairlead.kube.discovery import SERVICE_NAME_LABEL, EndpointHints, EndpointSlice, EndpointSliceOutline
from fairlead.net import Address, Family, Port, Protocol, parse_address


class EndpointFacts(Struct, frozen=True, gc=False):
    """One endpoint; `draining` means serving while terminating."""

    address: Address
    ready: bool
    draining: bool
    local: bool


class Hints(Struct, frozen=True, gc=False):
    """From where an endpoint would rather be used; few different ones are shared by many endpoints."""

    zones: tuple[str, ...]
    nodes: tuple[str, ...]


class HintedEndpoint(EndpointFacts, frozen=True, gc=False):
    """An endpoint that says from where it would rather be used."""

    hints: Hints


class SliceEndpoints(Struct, frozen=True):
    """One slice; `ports` leads from (port name, protocol) to the number, which may differ from slice to slice.

    `family` is None where the addresses are names (type FQDN).
    """

    service: str
    family: Family | None
    ports: dict[tuple[str, Protocol], Port]
    endpoints: tuple[EndpointFacts, ...]


def compile_slice(piece: EndpointSlice | EndpointSliceOutline, node: str) -> SliceEndpoints:
    """Return the slice's endpoints as seen from `node`, in their order.

    Absent conditions count as ready, serving and not terminating. Only the first address of an endpoint is used. Ports
    without a number, and addresses that are none (as in slices of type FQDN), are left out.
    """
    ports: dict[tuple[str, Protocol], Port] = {}
    for port in piece.ports:
        protocol = Protocol.__members__.get(port.protocol or "TCP")
        if port.port and protocol is not None:
            ports[port.name or "", protocol] = Port(port.port)
    endpoints: list[EndpointFacts] = []
    family = Family.__members__.get(piece.address_type.upper())
    parse = parse_ipv4 if family is Family.IPV4 else parse_ipv6
    for endpoint in piece.endpoints if family else ():
        conditions = endpoint.conditions
        ready = conditions.ready is not False
        draining = conditions.terminating is True and conditions.serving is not False
        if endpoint.addresses and (ready or draining):
            address = parse(endpoint.addresses[0])
            if address is None:
                continue
            local, hints = endpoint.node_name == node, endpoint.hints
            if hints is None or not ready:
                endpoints.append(EndpointFacts(address, ready, draining, local))
            else:
                endpoints.append(HintedEndpoint(address, ready, draining, local, _compile_hints(hints)))
    return SliceEndpoints(piece.metadata.labels.get(SERVICE_NAME_LABEL, ""), family, ports, tuple(endpoints))


def _compile_hints(hints: EndpointHints) -> Hints:
    return _shared_hints(tuple(each.name for each in hints.for_zones), tuple(each.name for each in hints.for_nodes))


@lru_cache(maxsize=10_000)
def _shared_hints(zones: tuple[str, ...], nodes: tuple[str, ...]) -> Hints:
    return Hints(zones, nodes)


def parse_ipv4(text: str) -> Address | None:
    """The address, or None where `text` is no dotted IPv4 address; quick, for there may be a million of them."""
    try:
        packed = bytes(map(int, text.split(".")))
    except ValueError:
        return None
    return Address(packed) if len(packed) == 4 else None


def parse_ipv6(text: str) -> Address | None:
    """The address, or None where `text` is no IPv6 address."""
    try:
        address = parse_address(text)
    except ValueError:
        return None
    return address if len(address.packed) == 16 else None
