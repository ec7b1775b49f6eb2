"""Runs the Deployment controller: which Deployments to look at after which events, and the writes of a round."""

from collections.abc import Callable

from fairlead.cluster.controllers.actions import Create, Patch
from fairlead.cluster.controllers.deployments import (
    DeploymentView,
    Templated,
    find_new,
    owner_of,
    reconcile,
)
from fairlead.cluster.controllers.informers import Key, controller_uid, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.ownership import claim
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.pods import is_finished
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.specs import Specs
from fairlead.cluster.controllers.world import World
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.apps import Deployment, ReplicaSet
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document, mapping_at, text_at
from fairlead.kube.selectors import selector_matcher


class DeploymentLoop:
    """Rolls out each Deployment's template."""

    def __init__(
        self, world: World, client: KubeClient, performer: Performer, specs: Specs, clock: Callable[[], float]
    ) -> None:
        self._world = world
        self._client = client
        self._performer = performer
        self._specs = specs
        self._clock = clock
        self.loop = Loop("deployment", WorkQueue[Key](rest=4.0, longest_rest=0.1), self.reconcile)
        world.deployments.listen(self._on_deployment)
        world.replica_sets.listen(self._on_set)
        world.pods.listen(self._on_pod)

    def _on_deployment(self, old: Deployment | None, new: Deployment | None) -> None:
        if new is not None:
            self.loop.queue.add(key_of(new))

    def _on_set(self, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        for each in (old, new):
            owner = each.metadata.controller if each else None
            if each is not None and owner is not None and owner.kind == "Deployment":
                self.loop.queue.add((each.metadata.namespace, owner.name))
        if new is not None and new.metadata.controller is None:
            for each in self._world.deployments_by_namespace.find(new.metadata.namespace):
                if selector_matcher(each.spec.selector)(new.metadata.labels):
                    self.loop.queue.add(key_of(each))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        """A pod that ends may be the last one a Recreate waits for; nothing else of pods matters here."""
        if old is None or (new is not None and not is_finished(new)):
            return
        replica_set = self._world.replica_sets.by_uid(controller_uid(old))
        owner = replica_set.metadata.controller if replica_set else None
        if owner is None:
            return
        deployment = self._world.deployments.get(old.metadata.namespace, owner.name)
        if deployment is not None and deployment.spec.strategy.type == "Recreate":
            self.loop.queue.add(key_of(deployment))

    async def reconcile(self, key: Key) -> float | None:
        """One round over one Deployment."""
        deployment = self._world.deployments.get(*key)
        if deployment is None:
            return None
        matches = selector_matcher(deployment.spec.selector)
        candidates = (
            *self._world.sets_by_controller.find(deployment.metadata.uid),
            *self._world.sets_uncontrolled.find(deployment.metadata.namespace),
        )
        claimed, patches = claim(
            owner_of(deployment), ReplicaSet, candidates, lambda each: matches(each.metadata.labels)
        )
        if patches:
            await self._performer.perform(patches)
            return 0.0
        spec = await self._specs.of(deployment)
        sets = [Templated(each, mapping_at(await self._specs.of(each), "template")) for each in claimed]
        document: Document = {"spec": spec}
        view = DeploymentView(
            deployment=deployment,
            document=document,
            sets=tuple(sets),
            old_pods_left=self._old_pods_left(deployment, document, sets),
            now=self._clock(),
        )
        again: float | None = None
        for action in reconcile(view):
            try:
                wait = await self._performer.perform((action,))
            except ApiError as error:
                if isinstance(action, Create) and error.reason == "AlreadyExists":
                    await self._on_name_taken(deployment, text_at(action.document, "metadata", "name"))
                raise
            again = wait if again is None else again
        return again

    def _old_pods_left(self, deployment: Deployment, document: Document, sets: list[Templated]) -> bool:
        if deployment.spec.strategy.type != "Recreate":
            return False
        new = find_new(document, sets)
        return any(
            not is_finished(pod)
            for each in sets
            if each is not new
            for pod in self._world.pods_by_controller.find(each.replica_set.metadata.uid)
        )

    async def _on_name_taken(self, deployment: Deployment, name: str) -> None:
        """Another template has the same hash, or our own set is not in the cache yet: only the first counts as a
        collision.
        """
        meta = deployment.metadata
        found = await self._client.get_or_none(ReplicaSet, name, meta.namespace)
        if (
            found is not None
            and controller_uid(found) == meta.uid
            and self._world.replica_sets.get(*key_of(found)) is None
        ):
            self._world.replica_sets.apply(found)
            return
        count = (deployment.status.collision_count or 0) + 1
        patch: Document = {"status": {"collisionCount": count}}
        await self._performer.patch(
            Patch(kind=Deployment, namespace=meta.namespace, name=meta.name, patch=patch, subresource="status")
        )
