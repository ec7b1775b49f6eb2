"""What cluster DNS knows: Services, EndpointSlices and Namespaces, indexed by the names and addresses asked for.

Comes in: typed objects, one change at a time. Goes out: look-ups that cost the same for ten Services and ten thousand.
Refuses to know DNS messages. Source: the Kubernetes DNS-based service discovery specification 1.1.0.
"""

from collections.abc import Iterable

from msgspec import Struct

from fairlead.kube.core import Service
from fairlead.kube.discovery import SERVICE_NAME_LABEL, Endpoint, EndpointSlice
from fairlead.net import Address, parse_address

ServiceName = tuple[str, str]
"""Namespace and name."""


class PortRecord(Struct, frozen=True):
    """A named port; `protocol` is lower case."""

    name: str
    protocol: str
    port: int


class EndpointRecord(Struct, frozen=True):
    """One endpoint of a headless Service; `label` is its host name, or its address with dashes."""

    label: str
    address: Address
    ports: tuple[PortRecord, ...]


class ServiceRecord(Struct, frozen=True):
    """One Service as DNS sees it; without `addresses` and `external_name` it is headless."""

    namespace: str
    name: str
    addresses: tuple[Address, ...] = ()
    ports: tuple[PortRecord, ...] = ()
    external_name: str = ""


class _Slice(Struct, frozen=True):
    owner: ServiceName
    endpoints: tuple[EndpointRecord, ...]
    hostnames: tuple[tuple[Address, str], ...]


def dashed(address: Address) -> str:
    """The label of an endpoint without a host name, as CoreDNS forms it."""
    return str(address).replace(".", "-").replace(":", "-")


def _service_record(service: Service) -> ServiceRecord:
    meta, spec = service.metadata, service.spec
    if spec.type == "ExternalName":
        return ServiceRecord(meta.namespace, meta.name, external_name=spec.external_name.rstrip(".").lower())
    texts = spec.cluster_ips or (spec.cluster_ip,)
    addresses = tuple(parse_address(text) for text in texts if text not in ("", "None"))
    ports = tuple(PortRecord(port.name, port.protocol.lower(), port.port) for port in spec.ports)
    return ServiceRecord(meta.namespace, meta.name, addresses, ports)


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready is not False and bool(endpoint.addresses)


def _slice_record(part: EndpointSlice) -> _Slice:
    owner = (part.metadata.namespace, part.metadata.labels[SERVICE_NAME_LABEL])
    if part.address_type not in ("IPv4", "IPv6"):
        return _Slice(owner, (), ())
    ports = tuple(
        PortRecord(port.name or "", (port.protocol or "TCP").lower(), port.port) for port in part.ports if port.port
    )
    ready = [(parse_address(each.addresses[0]), each.hostname) for each in part.endpoints if _is_ready(each)]
    endpoints = tuple(EndpointRecord(name or dashed(address), address, ports) for address, name in ready)
    return _Slice(owner, endpoints, tuple((address, name) for address, name in ready if name))


class Records:
    """The index. A wrong address in an object is a bug of the API server, which validates them."""

    def __init__(self) -> None:
        self._services: dict[ServiceName, ServiceRecord] = {}
        self._slices: dict[ServiceName, dict[str, _Slice]] = {}
        self._owners: dict[ServiceName, ServiceName] = {}
        self._service_of: dict[Address, ServiceName] = {}
        self._names_of: dict[Address, dict[tuple[str, str], list[str]]] = {}
        self._namespaces: frozenset[str] = frozenset()

    def apply_service(self, service: Service) -> None:
        """Add or replace a Service."""
        self.remove_service(service)
        record = _service_record(service)
        key = (record.namespace, record.name)
        self._services[key] = record
        for address in record.addresses:
            self._service_of[address] = key

    def remove_service(self, service: Service) -> None:
        """Forget a Service; one that is not known is passed over."""
        key = (service.metadata.namespace, service.metadata.name)
        old = self._services.pop(key, None)
        for address in old.addresses if old else ():
            if self._service_of.get(address) == key:
                del self._service_of[address]

    def apply_slice(self, part: EndpointSlice) -> None:
        """Add or replace a slice; one that belongs to no Service is passed over."""
        self.remove_slice(part)
        if not part.metadata.labels.get(SERVICE_NAME_LABEL):
            return
        record, key = _slice_record(part), (part.metadata.namespace, part.metadata.name)
        self._owners[key] = record.owner
        self._slices.setdefault(record.owner, {})[part.metadata.name] = record
        for address, hostname in record.hostnames:
            names = self._names_of.setdefault(address, {}).setdefault(key, [])
            names.append(f"{hostname}.{record.owner[1]}.{record.owner[0]}")

    def remove_slice(self, part: EndpointSlice) -> None:
        """Forget a slice; one that is not known is passed over."""
        key = (part.metadata.namespace, part.metadata.name)
        owner = self._owners.pop(key, None)
        if owner is None:
            return
        record = self._slices[owner].pop(part.metadata.name)
        if not self._slices[owner]:
            del self._slices[owner]
        for address, _ in record.hostnames:
            self._names_of.get(address, {}).pop(key, None)
            if not self._names_of.get(address, True):
                del self._names_of[address]

    def replace_services(self, services: Iterable[Service]) -> None:
        """Forget every Service and add these."""
        self._services, self._service_of = {}, {}
        for service in services:
            self.apply_service(service)

    def replace_slices(self, slices: Iterable[EndpointSlice]) -> None:
        """Forget every slice and add these."""
        self._slices, self._owners, self._names_of = {}, {}, {}
        for part in slices:
            self.apply_slice(part)

    def replace_namespaces(self, names: Iterable[str]) -> None:
        """Say which namespaces there are."""
        self._namespaces = frozenset(names)

    def has_namespace(self, name: str) -> bool:
        """Whether there is such a namespace."""
        return name in self._namespaces

    def service(self, namespace: str, name: str) -> ServiceRecord | None:
        """The Service of that name."""
        return self._services.get((namespace, name))

    def endpoints(self, namespace: str, name: str) -> tuple[EndpointRecord, ...]:
        """The ready endpoints of a Service, in the order of its slices, each address once."""
        parts = self._slices.get((namespace, name), {})
        merged: dict[tuple[str, Address], EndpointRecord] = {}
        for part in (parts[name] for name in sorted(parts)):
            for each in part.endpoints:
                old = merged.get((each.label, each.address))
                ports = each.ports if old is None else tuple(dict.fromkeys((*old.ports, *each.ports)))
                merged[each.label, each.address] = EndpointRecord(each.label, each.address, ports)
        return tuple(merged.values())

    def names_of(self, address: Address) -> tuple[str, ...]:
        """What has an address: a Service as `name.namespace`, else endpoints with host names below theirs."""
        if address in self._service_of:
            namespace, name = self._service_of[address]
            return (f"{name}.{namespace}",)
        found = self._names_of.get(address, {})
        return tuple(dict.fromkeys(name for key in sorted(found) for name in found[key]))
