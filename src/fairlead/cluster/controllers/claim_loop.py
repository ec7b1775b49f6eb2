"""Runs the controller of claims and volumes: which to look at after which events, and the writes of a round."""

from fairlead.cluster.controllers.actions import Create
from fairlead.cluster.controllers.claims import ClaimView, reconcile_claim, reconcile_volume, users_of
from fairlead.cluster.controllers.informers import Key, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.world import World
from fairlead.drivers.kubeapi import ApiError
from fairlead.kube.core import Pod
from fairlead.kube.storage import PersistentVolume, PersistentVolumeClaim, StorageClass


class ClaimLoop:
    """Binds claims and volumes. Keys of volumes have no namespace."""

    def __init__(self, world: World, performer: Performer) -> None:
        self._world = world
        self._performer = performer
        self.loop = Loop("claims", WorkQueue[Key](), self.reconcile)
        world.claims.listen(self._on_claim)
        world.volumes.listen(self._on_volume)
        world.storage_classes.listen(self._on_class)
        world.pods.listen(self._on_pod)

    def _on_claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        each = new or old
        if each is not None:
            self.loop.queue.add(key_of(each))
            if each.spec.volume_name:
                self.loop.queue.add(("", each.spec.volume_name))

    def _on_volume(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        each = new or old
        if each is None:
            return
        self.loop.queue.add(("", each.metadata.name))
        reference = each.spec.claim_ref
        if reference is not None:
            self.loop.queue.add((reference.namespace, reference.name))
        else:
            self._look_at_pending()

    def _on_class(self, old: StorageClass | None, new: StorageClass | None) -> None:
        self._look_at_pending()

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        """A pod that goes may have been the last user of a claim that is being deleted."""
        if old is not None and new is None:
            for volume in old.spec.volumes:
                if volume.persistent_volume_claim is not None:
                    self.loop.queue.add((old.metadata.namespace, volume.persistent_volume_claim.claim_name))

    def _look_at_pending(self) -> None:
        for claim in self._world.claims:
            if not claim.spec.volume_name:
                self.loop.queue.add(key_of(claim))

    async def reconcile(self, key: Key) -> float | None:
        """One round over one claim or volume."""
        world = self._world
        if not key[0]:
            volume = world.volumes.get(*key)
            claims = tuple(world.claims)
            return await self._performer.perform(reconcile_volume(volume, claims)) if volume else None
        claim = world.claims.get(*key)
        if claim is None:
            return None
        leaving = claim.metadata.deletion_timestamp is not None
        view = ClaimView(
            claim=claim,
            volumes=tuple(world.volumes),
            classes=tuple(world.storage_classes),
            used=leaving and bool(users_of(claim, world.pods)),
        )
        for action in reconcile_claim(view):
            try:
                await self._performer.perform((action,))
            except ApiError as error:
                if not (isinstance(action, Create) and error.reason == "AlreadyExists"):
                    raise
        return None
