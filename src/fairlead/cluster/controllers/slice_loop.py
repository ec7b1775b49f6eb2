"""Runs the EndpointSlice controller: which Services a change of a pod, slice or node touches, and the writes of a
round.

An endpoint computed for a pod is kept until the pod, the Service or the pod's zone changes, so that a round over a
big Service costs a look-up per pod.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from fairlead.cluster.controllers.informers import Key, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.pods import is_ready
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.slices import Located, families_of, locate_pod, reconcile_slices
from fairlead.cluster.controllers.world import World
from fairlead.kube.core import Node, Pod, Service
from fairlead.kube.discovery import EndpointSlice

ZONE = "topology.kubernetes.io/zone"


class _Known(Struct):
    """Endpoints of one Service's pods, by pod uid and family, each with the pod and zone it was made from."""

    service: Service
    located: dict[tuple[str, str], tuple[Pod, str, Located | None]]


class SliceLoop:
    """Keeps the EndpointSlices of every Service with a selector."""

    def __init__(self, world: World, performer: Performer) -> None:
        self._world = world
        self._performer = performer
        self._known: dict[Key, _Known] = {}
        self.loop = Loop("endpointslice", WorkQueue[Key](rest=3.0, longest_rest=0.1), self.reconcile)
        world.services.listen(self._on_service)
        world.pods.listen(self._on_pod)
        world.slices.listen(self._on_slice)
        world.nodes.listen(self._on_node)

    def _on_service(self, old: Service | None, new: Service | None) -> None:
        for each in (old, new):
            if each is not None:
                self.loop.queue.add(key_of(each))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        for key in services_touched(self._world, old, new):
            self.loop.queue.add(key)

    def _on_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for each in (old, new):
            if each is not None:
                name = each.metadata.labels.get("kubernetes.io/service-name")
                if name and self._world.services.get(each.metadata.namespace, name) is not None:
                    self.loop.queue.add((each.metadata.namespace, name))

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        if _zone(old) != _zone(new):
            for name in {node.metadata.name for node in (old, new) if node is not None}:
                for pod in self._world.pods_by_node.find(name):
                    for service in self._world.services_selecting(pod):
                        self.loop.queue.add(key_of(service))

    async def reconcile(self, key: Key) -> float | None:
        """One round over one Service. Services without a selector, and ExternalName, are their authors' affair."""
        service = self._world.services.get(*key)
        if service is None:
            self._known.pop(key, None)
            return None
        if not service.spec.selector or service.spec.type == "ExternalName" or service.metadata.deletion_timestamp:
            return None
        pods = self._world.pods_matching(key[0], service.spec.selector)
        located = {family: self._locate(key, service, pods, family) for family in families_of(service)}
        actions = reconcile_slices(service, located, self._world.slices_by_service.find(key))
        return await self._performer.perform(actions)

    def _locate(self, key: Key, service: Service, pods: Iterable[Pod], family: str) -> Sequence[Located]:
        known = self._known.get(key)
        if known is None or known.service is not service:
            known = self._known[key] = _Known(service, {})
        found: list[Located] = []
        fresh: dict[tuple[str, str], tuple[Pod, str, Located | None]] = {}
        for pod in pods:
            zone = _zone(self._world.nodes.get("", pod.spec.node_name))
            slot = (pod.metadata.uid, family)
            kept = known.located.get(slot)
            if kept is None or kept[0] is not pod or kept[1] != zone:
                kept = (pod, zone, locate_pod(service, pod, family, zone))
            fresh[slot] = kept
            if kept[2] is not None:
                found.append(kept[2])
        others = {slot: kept for slot, kept in known.located.items() if slot[1] != family}
        known.located = {**others, **fresh} if others else fresh
        return found


def services_touched(world: World, old: Pod | None, new: Pod | None) -> list[Key]:
    """The Services whose endpoints may differ between two states of a pod; none when nothing they show has changed."""
    if old is not None and new is not None and old.metadata.labels == new.metadata.labels:
        if _shown(old) == _shown(new):
            return []
        return [key_of(service) for service in world.services_selecting(new)]
    states = [pod for pod in (old, new) if pod is not None]
    return [key_of(service) for pod in states for service in world.services_selecting(pod)]


def _shown(pod: Pod) -> tuple[object, ...]:
    """What of a pod an endpoint shows, beside its name and its container ports, which never change."""
    status, spec = pod.status, pod.spec
    deleting = pod.metadata.deletion_timestamp is not None
    return is_ready(pod), status.pod_ips, status.pod_ip, status.phase, deleting, spec.node_name


def _zone(node: Node | None) -> str:
    return node.metadata.labels.get(ZONE, "") if node else ""
