"""A Service's port, as an Ingress names it, to the endpoints that requests go to.

Comes in: the Service and its slices. Goes out: endpoints, sorted, or what is wrong. Source: reference 1.4 rule 8, and
KEP-1669 for endpoints that end.
"""

import re
from collections.abc import Iterable

from fairlead.compile.endpoints import SliceEndpoints
from fairlead.kube.core import Service, ServicePort
from fairlead.model.route_upstreams import UpstreamKey
from fairlead.model.services import Backend
from fairlead.net import Address, Port, Protocol, parse_address, parse_prefix

_REFUSED = tuple(parse_prefix(each) for each in ("127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10", "0.0.0.0/8"))
"""Where no upstream is: the controller itself, and the services of clouds that give out credentials."""
_DNS = re.compile(r"(?i)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\.?")


def is_refused(address: Address) -> bool:
    """Whether no request may be sent there (reference section 7)."""
    return any(address in prefix for prefix in _REFUSED)


def find_port(service: Service, named: str) -> ServicePort | None:
    """The port of that number, name or target port."""
    ports = service.spec.ports
    for port in ports:
        if named in (str(port.port), port.name):
            return port
    return next((port for port in ports if str(port.target_port) == named), None)


def compile_upstream(
    key: UpstreamKey, service: Service | None, slices: Iterable[SliceEndpoints], *, whole_service: bool = False
) -> tuple[tuple[Backend, ...], str]:
    """The endpoints, and what is wrong or an empty text. `whole_service` is the Service's own address instead.

    Ready endpoints; where there are none, those that end and still serve.
    """
    if service is None:
        return (), f"there is no Service {key.namespace}/{key.service}"
    spec = service.spec
    if spec.type == "ExternalName":
        return _external_name(key, spec.external_name)
    port = find_port(service, key.port)
    if port is None:
        known = ", ".join(str(each.port) + (f" ({each.name})" if each.name else "") for each in spec.ports)
        return (), f"Service {key.namespace}/{key.service} has no port {key.port}; it has {known or 'none'}"
    if whole_service and spec.cluster_ip not in ("", "None"):
        return (Backend(parse_address(spec.cluster_ip), Port(port.port)),), ""
    ready: set[Backend] = set()
    ending: set[Backend] = set()
    for piece in slices:
        number = piece.ports.get((port.name, Protocol.TCP))
        for endpoint in piece.endpoints if number else ():
            if number and not is_refused(endpoint.address):
                (ready if endpoint.ready else ending).add(Backend(endpoint.address, number))
    return tuple(sorted(ready or ending)), ""


def _external_name(key: UpstreamKey, name: str) -> tuple[tuple[Backend, ...], str]:
    """An address can be used as it is; a name is resolved by the agent, which hands in endpoints of its own."""
    try:
        address = parse_address(name)
    except ValueError:
        if not _DNS.fullmatch(name) or name.lower().rstrip(".") == "localhost":
            return (), f"the external name {name!r} of Service {key.namespace}/{key.service} is not allowed"
        return (), ""
    if is_refused(address):
        return (), f"the external address {name} of Service {key.namespace}/{key.service} is not allowed"
    return ((Backend(address, Port(int(key.port))),), "") if key.port.isdigit() else ((), "its port must be a number")
