"""Runs the mirroring of Endpoints: which to look at after which events, and the writes of a round."""

from fairlead.cluster.controllers.informers import Key, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.mirrors import CONTROLLER, reconcile_mirrors
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.slices import MANAGED_BY, SERVICE_NAME
from fairlead.cluster.controllers.world import World
from fairlead.kube.core import Endpoints, Service
from fairlead.kube.discovery import EndpointSlice


class MirrorLoop:
    """Keeps the mirrors of all Endpoints that are written by hand."""

    def __init__(self, world: World, performer: Performer) -> None:
        self._world = world
        self._performer = performer
        self.loop = Loop("endpointslicemirroring", WorkQueue[Key](rest=10.0, longest_rest=0.2), self.reconcile)
        world.endpoints.listen(self._on_endpoints)
        world.services.listen(self._on_service)
        world.slices.listen(self._on_slice)

    def _on_endpoints(self, old: Endpoints | None, new: Endpoints | None) -> None:
        item = new or old
        if item is None:
            return
        service = self._world.services.get(*key_of(item))
        if service is None or not service.spec.selector:
            self.loop.queue.add(key_of(item))

    def _on_service(self, old: Service | None, new: Service | None) -> None:
        """A Service without selector, or one that has just got or lost it, may have mirrors."""
        states = [each for each in (old, new) if each is not None]
        if any(not each.spec.selector for each in states):
            self.loop.queue.add(key_of(states[0]))

    def _on_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        item = new or old
        if item is not None and item.metadata.labels.get(MANAGED_BY) == CONTROLLER:
            name = item.metadata.labels.get(SERVICE_NAME)
            if name:
                self.loop.queue.add((item.metadata.namespace, name))

    async def reconcile(self, key: Key) -> float | None:
        """One round over the Endpoints of one name."""
        endpoints, service = self._world.endpoints.get(*key), self._world.services.get(*key)
        slices = self._world.slices_by_service.find(key)
        return await self._performer.perform(reconcile_mirrors(endpoints, service, slices))
