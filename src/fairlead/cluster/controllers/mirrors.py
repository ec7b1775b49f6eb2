"""EndpointSlices of Endpoints that somebody wrote by hand: Endpoints, their Service and the mirrors there are come in,
the slices to create, patch and delete go out.

Upstream's k8s.io/endpointslice mirroring controller: only a Service without selector has mirrors, one for each subset
and family, of at most 1,000 addresses; labels and annotations come along. Slices of others are left alone.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from fairlead.cluster.controllers.actions import Action, Create, Delete, Patch
from fairlead.cluster.controllers.slices import MANAGED_BY, SERVICE_NAME
from fairlead.kube.core import EndpointAddress, Endpoints, EndpointSubset, Service
from fairlead.kube.discovery import Endpoint, EndpointConditions, EndpointSlice, SlicePort
from fairlead.kube.documents import Document

CONTROLLER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
MOST = 1000
"""The addresses of a subset that are mirrored (upstream's mirroring-max-endpoints-per-subset)."""

_NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/last-change-trigger-time",
)


class Mirror(Struct, frozen=True):
    """What one slice is to say."""

    family: str
    ports: tuple[SlicePort, ...]
    endpoints: tuple[Endpoint, ...]


def is_mirrored(endpoints: Endpoints, service: Service | None) -> bool:
    """Whether Endpoints are mirrored at all: those of a Service whose pods nobody selects, unless they say no."""
    meta = endpoints.metadata
    return (
        service is not None
        and not service.spec.selector
        and meta.labels.get(SKIP) != "true"
        and LEADER not in meta.annotations
        and meta.deletion_timestamp is None
    )


def mirrors_of(endpoints: Endpoints) -> tuple[Mirror, ...]:
    """What the slices of some Endpoints are to say, addresses of equal ports and family together."""
    found: dict[tuple[str, tuple[SlicePort, ...]], dict[str, Endpoint]] = {}
    for subset in endpoints.subsets:
        ports = _ports(subset)
        ready = [(each, True) for each in subset.addresses]
        for address, state in [*ready, *((each, False) for each in subset.not_ready_addresses)][:MOST]:
            family = "IPv6" if ":" in address.ip else "IPv4"
            found.setdefault((family, ports), {}).setdefault(address.ip, _endpoint(address, ready=state))
    return tuple(Mirror(family, ports, tuple(each.values())) for (family, ports), each in found.items())


def reconcile_mirrors(
    endpoints: Endpoints | None, service: Service | None, slices: Iterable[EndpointSlice]
) -> tuple[Action, ...]:
    """The writes that make the mirrors say what the Endpoints say; none are left where nothing is mirrored."""
    own = [
        each
        for each in slices
        if each.metadata.labels.get(MANAGED_BY) == CONTROLLER and each.metadata.deletion_timestamp is None
    ]
    if endpoints is None or not is_mirrored(endpoints, service):
        return tuple(_delete(each) for each in own)
    actions: list[Action] = []
    for mirror in mirrors_of(endpoints):
        same = [each for each in own if each.address_type == mirror.family]
        slice_ = next((each for each in same if each.ports == mirror.ports), next(iter(same), None))
        if slice_ is None:
            actions.append(_create(endpoints, mirror))
        else:
            own.remove(slice_)
            actions += _patch(endpoints, slice_, mirror)
    return (*actions, *(_delete(each) for each in own))


def _ports(subset: EndpointSubset) -> tuple[SlicePort, ...]:
    return tuple(
        SlicePort(name=each.name, protocol=each.protocol, port=each.port, app_protocol=each.app_protocol)
        for each in subset.ports
    )


def _endpoint(address: EndpointAddress, *, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=(address.ip,),
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname or None,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )


def _labels(endpoints: Endpoints) -> dict[str, str]:
    return {**endpoints.metadata.labels, SERVICE_NAME: endpoints.metadata.name, MANAGED_BY: CONTROLLER}


def _annotations(endpoints: Endpoints) -> dict[str, str]:
    return {key: value for key, value in endpoints.metadata.annotations.items() if key not in _NOT_COPIED}


def _create(endpoints: Endpoints, mirror: Mirror) -> Create:
    meta = endpoints.metadata
    document: Document = {
        "metadata": {
            "generateName": f"{meta.name}-",
            "namespace": meta.namespace,
            "labels": {**_labels(endpoints)},
            "annotations": {**_annotations(endpoints)},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Endpoints",
                    "name": meta.name,
                    "uid": meta.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": mirror.family,
        "ports": msgspec.to_builtins(mirror.ports),
        "endpoints": msgspec.to_builtins(mirror.endpoints),
    }
    return Create(kind=EndpointSlice, document=document)


def _patch(endpoints: Endpoints, slice_: EndpointSlice, mirror: Mirror) -> Sequence[Patch]:
    meta = slice_.metadata
    patch: Document = {}
    if mirror.endpoints != slice_.endpoints:
        patch["endpoints"] = msgspec.to_builtins(mirror.endpoints)
    if mirror.ports != slice_.ports:
        patch["ports"] = msgspec.to_builtins(mirror.ports)
    metadata: Document = {"resourceVersion": meta.resource_version}
    for name, wanted, present in (
        ("labels", _labels(endpoints), meta.labels),
        ("annotations", _annotations(endpoints), meta.annotations),
    ):
        if wanted != present:
            metadata[name] = {**dict.fromkeys(present), **wanted}
    if not patch and len(metadata) == 1:
        return ()
    return (Patch(kind=EndpointSlice, namespace=meta.namespace, name=meta.name, patch={**patch, "metadata": metadata}),)


def _delete(slice_: EndpointSlice) -> Delete:
    meta = slice_.metadata
    return Delete(kind=EndpointSlice, namespace=meta.namespace, name=meta.name, uid=meta.uid)
