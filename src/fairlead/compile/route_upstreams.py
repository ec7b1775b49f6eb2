"""A Service's port, as an Ingress names it, to the endpoints that requests go to.

Comes in: the Service and its slices. Goes out: endpoints, sorted, or what is wrong. Source: reference 1.4 rule 8, and
KEP-1669 for endpoints that end.
"""

import re
from collections.abc import Iterable, Mapping

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


def find_port(service: Service, named: str, protocol: Protocol = Protocol.TCP) -> ServicePort | None:
    """The port of that number, name or target port; of those that are alike, the one that speaks `protocol`."""
    ports = sorted(service.spec.ports, key=lambda each: (each.protocol or "TCP") != protocol.name)
    for port in ports:
        if named in (str(port.port), port.name):
            return port
    return next((port for port in ports if str(port.target_port) == named), None)


def compile_upstream(
    key: UpstreamKey,
    service: Service | None,
    slices: Iterable[SliceEndpoints],
    *,
    whole_service: bool = False,
    protocol: Protocol = Protocol.TCP,
    resolved: Mapping[str, tuple[Address, ...]] | None = None,
) -> tuple[tuple[Backend, ...], str]:
    """The endpoints, and what is wrong or an empty text. `whole_service` is the Service's own address instead.

    `resolved` are the addresses of external names, by name.

    Ready endpoints; where there are none, those that end and still serve.
    """
    if service is None:
        return (), f"there is no Service {key.namespace}/{key.service}"
    spec = service.spec
    if spec.type == "ExternalName":
        return _external_name(key, service, resolved or {})
    port = find_port(service, key.port, protocol)
    if port is None:
        known = ", ".join(str(each.port) + (f" ({each.name})" if each.name else "") for each in spec.ports)
        return (), f"Service {key.namespace}/{key.service} has no port {key.port}; it has {known or 'none'}"
    if whole_service and spec.cluster_ip not in ("", "None"):
        return (Backend(parse_address(spec.cluster_ip), Port(port.port)),), ""
    ready: set[Backend] = set()
    ending: set[Backend] = set()
    for piece in slices:
        number = piece.ports.get((port.name, protocol))
        for endpoint in piece.endpoints if number else ():
            if number and not is_refused(endpoint.address):
                (ready if endpoint.ready else ending).add(Backend(endpoint.address, number))
    return tuple(sorted(ready or ending)), ""


def external_name(service: Service) -> str:
    """The name a Service of type ExternalName leads to, if it is one that may be asked for."""
    name = service.spec.external_name.rstrip(".").lower()
    good = service.spec.type == "ExternalName" and _DNS.fullmatch(name) and name != "localhost"
    return name if good and not _is_address(name) else ""


def _external_name(
    key: UpstreamKey, service: Service, resolved: Mapping[str, tuple[Address, ...]]
) -> tuple[tuple[Backend, ...], str]:
    """The addresses of a name, or the address it is; none that is refused."""
    name, whole = service.spec.external_name, f"Service {key.namespace}/{key.service}"
    named = next((each.port for each in service.spec.ports if each.name == key.port), None)
    port = int(key.port) if key.port.isdigit() else named
    if port is None:
        return (), f"{whole} has no port {key.port}"
    if _is_address(name):
        found: tuple[Address, ...] = (parse_address(name),)
    elif external_name(service):
        found = resolved.get(external_name(service), ())
    else:
        return (), f"the external name {name!r} of {whole} is not allowed"
    if any(is_refused(each) for each in found):
        return (), f"the external name {name!r} of {whole} leads to an address that is not allowed"
    return tuple(sorted(Backend(each, Port(port)) for each in found)), ""


def _is_address(name: str) -> bool:
    try:
        parse_address(name)
    except ValueError:
        return False
    return True
