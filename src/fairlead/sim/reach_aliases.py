"""Other names for pods: the Services that lead to them, and what Ingresses show of them to the outside.

Comes in: Services, slices, Ingresses, and which pod is of which workload. Goes out: aliases for each workload. Refuses
to know policies. Source: networking/v1 types.go for backends of Ingresses.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from fairlead.kube.core import Service
from fairlead.kube.discovery import SERVICE_NAME_LABEL, EndpointSlice
from fairlead.kube.networking import Ingress, IngressBackend
from fairlead.model import Origin
from fairlead.net import Protocol

Aliases = Mapping[str, Sequence["Alias"]]
"""For each workload the Services that lead to it."""


class Alias(Struct, frozen=True, order=True):
    """A Service's port that leads to a workload's port."""

    service: str
    port: int
    protocol: str
    target: int

    def __str__(self) -> str:
        return f"{self.service}:{self.port} -> {self.protocol} {self.target}"


class Exposure(Struct, frozen=True, order=True):
    """A path of an Ingress that leads to a workload's TCP port, through a Service."""

    url: str
    target: int
    origin: Origin

    def __str__(self) -> str:
        return f"Ingress {self.origin.namespace}/{self.origin.name} {self.url} -> TCP {self.target}"


def find_aliases(
    services: Iterable[Service], slices: Iterable[EndpointSlice], workloads: Mapping[tuple[str, str], str]
) -> dict[str, list[Alias]]:
    """Return the Services that lead to each workload; `workloads` has the workload of each pod."""
    by_name = {(service.metadata.namespace, service.metadata.name): service for service in services}
    found: dict[str, set[Alias]] = {}
    for piece in slices:
        service = by_name.get((piece.metadata.namespace, piece.metadata.labels.get(SERVICE_NAME_LABEL, "")))
        if service is None:
            continue
        for endpoint in piece.endpoints:
            target = endpoint.target_ref
            workload = workloads.get((target.namespace, target.name)) if target is not None else None
            if workload is not None:
                found.setdefault(workload, set()).update(_aliases(service, piece))
    return {workload: sorted(names) for workload, names in found.items()}


def find_exposures(
    ingresses: Iterable[Ingress], services: Iterable[Service], aliases: Aliases
) -> dict[str, list[Exposure]]:
    """Return what Ingresses show of each workload."""
    ports = {
        f"{service.metadata.namespace}/{service.metadata.name}": {port.name: port.port for port in service.spec.ports}
        for service in services
    }
    behind: dict[tuple[str, int], list[tuple[str, Alias]]] = {}
    for workload, names in aliases.items():
        for alias in names:
            behind.setdefault((alias.service, alias.port), []).append((workload, alias))
    found: dict[str, set[Exposure]] = {}
    for ingress in ingresses:
        for url, origin, backend in _backends(ingress):
            if backend.service is None:
                continue
            service, port = f"{ingress.metadata.namespace}/{backend.service.name}", backend.service.port
            number = port.number or ports.get(service, {}).get(port.name, 0)
            for workload, alias in behind.get((service, number), ()):
                if alias.protocol == Protocol.TCP.name:
                    found.setdefault(workload, set()).add(Exposure(url, alias.target, origin))
    return {workload: sorted(each) for workload, each in found.items()}


def _aliases(service: Service, piece: EndpointSlice) -> Iterator[Alias]:
    numbers = {(port.name, port.protocol): port.port for port in piece.ports}
    for port in service.spec.ports:
        target = numbers.get((port.name, port.protocol))
        if target:
            name = f"{service.metadata.namespace}/{service.metadata.name}"
            yield Alias(name, port.port, port.protocol, target)


def _backends(ingress: Ingress) -> Iterator[tuple[str, Origin, IngressBackend]]:
    meta, spec = ingress.metadata, ingress.spec

    def at(field: str) -> Origin:
        return Origin("Ingress", meta.namespace, meta.name, field)

    if spec.default_backend is not None:
        yield "*", at("spec.defaultBackend"), spec.default_backend
    for number, rule in enumerate(spec.rules):
        for index, path in enumerate(rule.http.paths if rule.http is not None else ()):
            url = f"{rule.host or '*'}{path.path or '/'}"
            yield url, at(f"spec.rules[{number}].http.paths[{index}]"), path.backend
