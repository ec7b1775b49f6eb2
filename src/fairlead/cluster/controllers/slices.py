"""EndpointSlices of a Service: its pods and its present slices come in, the slices to create, patch and delete go
out.

The division into slices is upstream's (k8s.io/endpointslice: reconciler.go, utils.go): one set of slices per
address family and resolved ports, at most 100 endpoints each, as few slices written as possible. Knows nothing of
traffic.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from fairlead.cluster.controllers.actions import Action, Create, Delete, Patch
from fairlead.cluster.controllers.pods import is_finished, is_ready
from fairlead.kube.core import Pod, Service, ServicePort
from fairlead.kube.discovery import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointSlice,
    ForName,
    SlicePort,
)
from fairlead.kube.documents import Document
from fairlead.kube.meta import ObjectReference

ENDPOINTS_PER_SLICE = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"

Ports = tuple[SlicePort, ...]


class Located(Struct, frozen=True):
    """One pod as an endpoint of a Service, with the ports the Service's ports resolve to in this pod."""

    ports: Ports
    endpoint: Endpoint


def resolve_port(port: ServicePort, pod: Pod) -> int | None:
    """The number of a Service's target port in a pod, a name looked up in its containers; None when no container
    has it.
    """
    target = port.target_port
    if target is None:
        return port.port
    if isinstance(target, int):
        return target
    protocol = port.protocol or "TCP"
    for container in (*pod.spec.containers, *(c for c in pod.spec.init_containers if c.restart_policy == "Always")):
        for found in container.ports:
            if found.name == target and (found.protocol or "TCP") == protocol:
                return found.container_port
    return None


def locate_pod(service: Service, pod: Pod, family: str, zone: str) -> Located | None:
    """The endpoint a pod is, or None when it has no address of the family or has ended.

    A pod being deleted is terminating and not ready, but serving as long as its readiness says so (KEP-1672).
    """
    addresses = addresses_of(pod, family)
    if not addresses or is_finished(pod):
        return None
    serving = is_ready(pod)
    terminating = pod.metadata.deletion_timestamp is not None
    ready = service.spec.publish_not_ready_addresses is True or (serving and not terminating)
    named = pod.spec.hostname and pod.spec.subdomain == service.metadata.name
    endpoint = Endpoint(
        addresses=addresses,
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=pod.spec.hostname if named else None,
        node_name=pod.spec.node_name or None,
        zone=zone or None,
        target_ref=ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
        hints=_hints(service, pod, zone) if ready else None,
    )
    return Located(_ports(service, pod), endpoint)


def addresses_of(pod: Pod, family: str) -> tuple[str, ...]:
    """The pod's addresses of a family, which is `IPv4` or `IPv6`."""
    listed = tuple(each.ip for each in pod.status.pod_ips if each.ip) or (
        (pod.status.pod_ip,) if pod.status.pod_ip else ()
    )
    return tuple(address for address in listed if (":" in address) == (family == "IPv6"))


def families_of(service: Service) -> tuple[str, ...]:
    """The address types a Service has slices of."""
    return service.spec.ip_families or ("IPv4",)


def reconcile_slices(
    service: Service, located: dict[str, Sequence[Located]], slices: Iterable[EndpointSlice]
) -> tuple[Action, ...]:
    """The writes that make the Service's own slices say `located`, by family; slices of other authors are left
    alone.
    """
    own = [each for each in slices if each.metadata.labels.get(MANAGED_BY) == CONTROLLER]
    actions: list[Action] = [
        _delete(each) for each in own if each.address_type not in located and each.metadata.deletion_timestamp is None
    ]
    for family, wanted in located.items():
        present = [each for each in own if each.address_type == family and each.metadata.deletion_timestamp is None]
        actions += _reconcile_family(service, family, wanted, present)
    return tuple(actions)


class _Plan(Struct):
    """The contents to write to new slices, the present slices to write to, and those nobody needs."""

    new: list[tuple[Ports, list[Endpoint]]]
    kept: list[tuple[EndpointSlice, Ports, list[Endpoint]]]
    spare: list[EndpointSlice]


def _reconcile_family(
    service: Service, family: str, wanted: Sequence[Located], present: Sequence[EndpointSlice]
) -> list[Action]:
    by_ports: dict[Ports, dict[str, Endpoint]] = {}
    for each in wanted:
        by_ports.setdefault(each.ports, {})[_identity(each.endpoint)] = each.endpoint
    slices_by_ports: dict[Ports, list[EndpointSlice]] = {}
    for each in present:
        slices_by_ports.setdefault(_sorted(each.ports), []).append(each)
    plan = _Plan(
        [], [], [each for ports in slices_by_ports.keys() - by_ports.keys() for each in slices_by_ports[ports]]
    )
    for ports, endpoints in by_ports.items():
        _fill(plan, ports, endpoints, slices_by_ports.get(ports, []))
    if not by_ports:
        plan.new.append(((), []))
    # A slice that would go is written anew instead: watchers see one change, never a moment without endpoints.
    while plan.new and plan.spare:
        ports, endpoints = plan.new.pop(0)
        plan.kept.append((plan.spare.pop(0), ports, endpoints))
    actions: list[Action] = []
    for slice_, ports, endpoints in plan.kept:
        actions += _patch(service, slice_, ports, endpoints)
    actions += [_create(service, family, ports, endpoints) for ports, endpoints in plan.new]
    actions += [_delete(each) for each in plan.spare]
    return actions


def _fill(plan: _Plan, ports: Ports, endpoints: dict[str, Endpoint], present: list[EndpointSlice]) -> None:
    """Keep every endpoint in its slice, put new ones where a write happens anyway, else where they fit, else in new
    slices.
    """
    missing = dict(endpoints)
    contents: list[tuple[EndpointSlice, list[Endpoint]]] = []
    for each in present:
        known = ((_identity(old), old) for old in each.endpoints)
        kept = [found for name, _ in known if (found := missing.pop(name, None)) is not None]
        if kept:
            contents.append((each, kept))
        else:
            plan.spare.append(each)
    left = list(missing.values())
    for slice_, kept in contents:
        if left and tuple(kept) != slice_.endpoints:
            room = ENDPOINTS_PER_SLICE - len(kept)
            kept.extend(left[:room])
            left = left[room:]
    roomy = [kept for _, kept in contents if len(kept) + len(left) <= ENDPOINTS_PER_SLICE]
    if left and roomy:
        max(roomy, key=len).extend(left)
        left = []
    plan.kept += [(slice_, ports, kept) for slice_, kept in contents]
    plan.new += [(ports, left[at : at + ENDPOINTS_PER_SLICE]) for at in range(0, len(left), ENDPOINTS_PER_SLICE)]


def _identity(endpoint: Endpoint) -> str:
    target = endpoint.target_ref
    return f"{target.uid if target else ''} {' '.join(endpoint.addresses)}"


def _ports(service: Service, pod: Pod) -> Ports:
    resolved = [
        SlicePort(name=port.name, protocol=port.protocol or "TCP", port=number, app_protocol=port.app_protocol)
        for port in service.spec.ports
        if (number := resolve_port(port, pod)) is not None
    ]
    return _sorted(resolved)


def _sorted(ports: Iterable[SlicePort]) -> Ports:
    return tuple(
        sorted(
            (
                SlicePort(
                    name=port.name,
                    protocol=port.protocol or "TCP",
                    port=port.port,
                    app_protocol=port.app_protocol or None,
                )
                for port in ports
            ),
            key=lambda port: (port.name, port.port or 0),
        )
    )


def _hints(service: Service, pod: Pod, zone: str) -> EndpointHints | None:
    """Where an endpoint would rather be used from (trafficDistribution, KEP-4444 and KEP-3015)."""
    wish = service.spec.traffic_distribution
    if wish not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        return None
    zones = (ForName(name=zone),) if zone else ()
    nodes = (ForName(name=pod.spec.node_name),) if wish == "PreferSameNode" and pod.spec.node_name else ()
    return EndpointHints(for_zones=zones, for_nodes=nodes) if zones or nodes else None


def _labels(service: Service) -> dict[str, str]:
    kept = {
        key: value for key, value in service.metadata.labels.items() if key not in (SERVICE_NAME, MANAGED_BY, HEADLESS)
    }
    headless = {HEADLESS: ""} if service.spec.cluster_ip == "None" else {}
    return {**kept, **headless, SERVICE_NAME: service.metadata.name, MANAGED_BY: CONTROLLER}


def _create(service: Service, family: str, ports: Ports, endpoints: Sequence[Endpoint]) -> Create:
    name = service.metadata.name
    document: Document = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name}-",
            "namespace": service.metadata.namespace,
            "labels": {**_labels(service)},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": name,
                    "uid": service.metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": family,
        "ports": msgspec.to_builtins(ports),
        "endpoints": msgspec.to_builtins(endpoints),
    }
    return Create(kind=EndpointSlice, document=document)


def _patch(service: Service, slice_: EndpointSlice, ports: Ports, endpoints: Sequence[Endpoint]) -> list[Action]:
    labels = _labels(service)
    patch: Document = {}
    if tuple(endpoints) != slice_.endpoints:
        patch["endpoints"] = msgspec.to_builtins(endpoints)
    if ports != _sorted(slice_.ports):
        patch["ports"] = msgspec.to_builtins(ports)
    metadata: Document = {"resourceVersion": slice_.metadata.resource_version}
    if slice_.metadata.labels != labels:
        metadata["labels"] = {**dict.fromkeys(slice_.metadata.labels), **labels}
    elif not patch:
        return []
    meta = slice_.metadata
    return [
        Patch(
            kind=EndpointSlice,
            namespace=meta.namespace,
            name=meta.name,
            patch={**patch, "metadata": metadata},
        )
    ]


def _delete(slice_: EndpointSlice) -> Delete:
    meta = slice_.metadata
    return Delete(kind=EndpointSlice, namespace=meta.namespace, name=meta.name, uid=meta.uid)
