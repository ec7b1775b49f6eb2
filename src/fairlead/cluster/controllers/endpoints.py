"""Endpoints, the older form of EndpointSlices: a Service and its pods come in, the one object that lists them all
goes out.

Upstream's pkg/controller/endpoint with its limits: at most 1,000 addresses, ending pods left out, addresses with
equal ports joined. Kept for the clients that still read it; traffic follows EndpointSlices.
"""

from collections.abc import Iterable

from fairlead.cluster.controllers.actions import Action, Create, Delete, Patch
from fairlead.cluster.controllers.informers import Key, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.pods import is_finished, is_ready
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.slice_loop import services_touched
from fairlead.cluster.controllers.slices import addresses_of, families_of, resolve_port
from fairlead.cluster.controllers.world import World
from fairlead.kube.core import EndpointAddress, EndpointPort, Endpoints, EndpointSubset, Pod, Service
from fairlead.kube.documents import Document, Json
from fairlead.kube.meta import ObjectReference

CAPACITY = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
HEADLESS = "service.kubernetes.io/headless"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"


def collect_subsets(service: Service, pods: Iterable[Pod]) -> tuple[EndpointSubset, ...]:
    """The pods' addresses, ready and not, by the ports they offer; all sorted, so that equal contents are equal."""
    ready: dict[tuple[EndpointPort, ...], list[EndpointAddress]] = {}
    unready: dict[tuple[EndpointPort, ...], list[EndpointAddress]] = {}
    family = families_of(service)[0]
    for pod in pods:
        addresses = addresses_of(pod, family)
        if not addresses or is_finished(pod):
            continue
        publish = service.spec.publish_not_ready_addresses
        if pod.metadata.deletion_timestamp is not None and not publish:
            continue
        ports = _ports(service, pod)
        if ports or not service.spec.ports:
            group = ready if publish or is_ready(pod) else unready
            group.setdefault(ports, []).append(_address(service, pod, addresses[0]))
    return tuple(
        EndpointSubset(
            addresses=tuple(sorted(ready.get(ports, ()), key=_order)),
            not_ready_addresses=tuple(sorted(unready.get(ports, ()), key=_order)),
            ports=ports,
        )
        for ports in sorted({*ready, *unready}, key=lambda ports: [(each.name, each.port) for each in ports])
    )


def limit_subsets(subsets: tuple[EndpointSubset, ...]) -> tuple[tuple[EndpointSubset, ...], bool]:
    """At most 1,000 addresses, ready ones first; and whether any was left out."""
    total = sum(len(each.addresses) + len(each.not_ready_addresses) for each in subsets)
    if total <= CAPACITY:
        return subsets, False
    room = CAPACITY
    kept_ready: list[tuple[EndpointAddress, ...]] = []
    for each in subsets:
        kept_ready.append(each.addresses[:room])
        room -= len(kept_ready[-1])
    limited: list[EndpointSubset] = []
    for each, addresses in zip(subsets, kept_ready, strict=True):
        not_ready = each.not_ready_addresses[:room]
        room -= len(not_ready)
        if addresses or not_ready:
            limited.append(EndpointSubset(addresses=addresses, not_ready_addresses=not_ready, ports=each.ports))
    return tuple(limited), True


def reconcile_endpoints(service: Service, pods: Iterable[Pod], present: Endpoints | None) -> tuple[Action, ...]:
    """The write that makes the Service's Endpoints say what its pods are, or nothing."""
    subsets, cut = limit_subsets(collect_subsets(service, pods))
    headless = {HEADLESS: ""} if service.spec.cluster_ip == "None" else {}
    labels = {**service.metadata.labels, MANAGED_BY: "endpoint-controller", **headless}
    document: list[Json] = [_subset_document(each) for each in subsets]
    meta = service.metadata
    over: Document = {OVER_CAPACITY: "truncated"} if cut else {}
    if present is None:
        metadata: Document = {"name": meta.name, "namespace": meta.namespace, "labels": {**labels}, "annotations": over}
        return (Create(kind=Endpoints, document={"metadata": metadata, "subsets": document}),)
    was_cut = OVER_CAPACITY in present.metadata.annotations
    if present.subsets == subsets and present.metadata.labels == labels and was_cut == cut:
        return ()
    changed: Document = {
        "resourceVersion": present.metadata.resource_version,
        "labels": {**dict.fromkeys(present.metadata.labels), **labels},
        "annotations": over if cut or not was_cut else {OVER_CAPACITY: None},
    }
    patch: Document = {"metadata": changed, "subsets": document}
    return (Patch(kind=Endpoints, namespace=meta.namespace, name=meta.name, patch=patch),)


def _ports(service: Service, pod: Pod) -> tuple[EndpointPort, ...]:
    found = (
        EndpointPort(name=port.name, port=number, protocol=port.protocol, app_protocol=port.app_protocol)
        for port in service.spec.ports
        if (number := resolve_port(port, pod)) is not None
    )
    return tuple(sorted(found, key=lambda port: (port.name, port.port)))


def _address(service: Service, pod: Pod, ip: str) -> EndpointAddress:
    meta = pod.metadata
    named = pod.spec.hostname and pod.spec.subdomain == service.metadata.name
    return EndpointAddress(
        ip=ip,
        hostname=pod.spec.hostname if named else "",
        node_name=pod.spec.node_name or None,
        target_ref=ObjectReference(kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid),
    )


def _order(address: EndpointAddress) -> tuple[str, str]:
    return address.ip, address.target_ref.uid if address.target_ref else ""


def _subset_document(subset: EndpointSubset) -> Document:
    ports: list[Json] = [
        {
            **({"name": port.name} if port.name else {}),
            "port": port.port,
            "protocol": port.protocol,
            **({"appProtocol": port.app_protocol} if port.app_protocol else {}),
        }
        for port in subset.ports
    ]
    document: Document = {"ports": ports}
    if subset.addresses:
        document["addresses"] = [_address_document(each) for each in subset.addresses]
    if subset.not_ready_addresses:
        document["notReadyAddresses"] = [_address_document(each) for each in subset.not_ready_addresses]
    return document


def _address_document(address: EndpointAddress) -> Document:
    document: Document = {"ip": address.ip}
    if address.hostname:
        document["hostname"] = address.hostname
    if address.node_name:
        document["nodeName"] = address.node_name
    target = address.target_ref
    if target is not None:
        document["targetRef"] = {
            "kind": target.kind,
            "namespace": target.namespace,
            "name": target.name,
            "uid": target.uid,
        }
    return document


class EndpointsLoop:
    """Keeps the Endpoints of every Service with a selector. Rests long between rounds: nothing urgent reads them."""

    def __init__(self, world: World, performer: Performer) -> None:
        self._world = world
        self._performer = performer
        self.loop = Loop("endpoints", WorkQueue[Key](rest=20.0, longest_rest=2.0), self.reconcile)
        world.services.listen(self._on_service)
        world.pods.listen(self._on_pod)
        world.endpoints.listen(self._on_endpoints)

    def _on_service(self, old: Service | None, new: Service | None) -> None:
        item = old if new is None else new
        if item is not None:
            self.loop.queue.add(key_of(item))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        for key in services_touched(self._world, old, new):
            self.loop.queue.add(key)

    def _on_endpoints(self, old: Endpoints | None, new: Endpoints | None) -> None:
        item = old if new is None else new
        if item is not None:
            self.loop.queue.add(key_of(item))

    async def reconcile(self, key: Key) -> float | None:
        """One round over one Service. Endpoints go with their Service, by name."""
        service, present = self._world.services.get(*key), self._world.endpoints.get(*key)
        if service is None:
            if present is not None and present.metadata.labels.get(MANAGED_BY):
                await self._performer.delete(_delete(present))
            return None
        if not service.spec.selector or service.spec.type == "ExternalName" or service.metadata.deletion_timestamp:
            return None
        pods = self._world.pods_matching(key[0], service.spec.selector)
        return await self._performer.perform(reconcile_endpoints(service, pods, present))


def _delete(endpoints: Endpoints) -> Delete:
    meta = endpoints.metadata
    return Delete(kind=Endpoints, namespace=meta.namespace, name=meta.name, uid=meta.uid)
