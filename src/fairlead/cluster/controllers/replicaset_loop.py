"""Runs the ReplicaSet controller: which sets to look at after which events, and the writes of a round."""

from collections import Counter
from collections.abc import Callable

from fairlead.cluster.controllers import replicasets
from fairlead.cluster.controllers.actions import Action, Create, Delete, Tell
from fairlead.cluster.controllers.informers import Key, controller_uid, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.pods import is_active
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.specs import Specs
from fairlead.cluster.controllers.world import World
from fairlead.drivers.kubeapi import ApiError
from fairlead.kube.apps import ReplicaSet
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document, mapping_at
from fairlead.kube.meta import KubeObject
from fairlead.kube.selectors import selector_matcher


class ReplicaSetLoop:
    """Keeps as many pods as each ReplicaSet asks for."""

    def __init__(self, world: World, performer: Performer, specs: Specs, clock: Callable[[], float]) -> None:
        self._world = world
        self._performer = performer
        self._specs = specs
        self._clock = clock
        self.loop = Loop("replicaset", WorkQueue[Key](rest=4.0, longest_rest=0.1), self.reconcile)
        world.replica_sets.listen(self._on_set)
        world.pods.listen(self._on_pod)

    def _on_set(self, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        if new is not None:
            self.loop.queue.add(key_of(new))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = pod.metadata.controller if pod else None
            if pod is not None and owner is not None and owner.kind == "ReplicaSet":
                self.loop.queue.add((pod.metadata.namespace, owner.name))
        if new is not None and new.metadata.controller is None:
            for each in self._world.sets_by_namespace.find(new.metadata.namespace):
                if selector_matcher(each.spec.selector)(new.metadata.labels):
                    self.loop.queue.add(key_of(each))

    async def reconcile(self, key: Key) -> float | None:
        """One round over one set."""
        replica_set = self._world.replica_sets.get(*key)
        if replica_set is None:
            return None
        template = mapping_at(await self._specs.of(replica_set), "template")
        view = self._view(replica_set, template)
        pods, patches = replicasets.claim_pods(view)
        await self._performer.perform(patches)
        actions = replicasets.reconcile_pods(view, pods)
        refused = await self._apply(replica_set, actions)
        if patches or actions:
            view = self._view(self._world.replica_sets.get(*key) or replica_set, template)
            pods, _ = replicasets.claim_pods(view)
        failure = refused.message if refused else ""
        again = await self._performer.perform(replicasets.reconcile_status(view, pods, failure))
        if refused is not None:
            raise refused
        return again

    def _view(self, replica_set: ReplicaSet, template: Document) -> replicasets.SetView:
        world, meta = self._world, replica_set.metadata
        own = world.pods_by_controller.find(meta.uid)
        nearby: Counter[str] = Counter()
        if len(own) > replicasets.wanted_size(replica_set):
            parent = controller_uid(replica_set)
            for sibling in world.sets_by_controller.find(parent) if parent else (replica_set,):
                pods = world.pods_by_controller.find(sibling.metadata.uid)
                nearby.update(pod.spec.node_name for pod in pods if is_active(pod))
        candidates = (*own, *world.pods_uncontrolled.find(meta.namespace))
        return replicasets.SetView(
            replica_set=replica_set, template=template, candidates=candidates, nearby=nearby, now=self._clock()
        )

    async def _apply(self, replica_set: ReplicaSet, actions: tuple[Action, ...]) -> ApiError | None:
        """Make or delete pods and tell of each; a refusal is returned, since the status must still be written."""
        creates = [each for each in actions if isinstance(each, Create)]
        deletes = [each for each in actions if isinstance(each, Delete)]

        def created(pod: KubeObject) -> None:
            self._tell(replicasets.tell_created(replica_set, pod.metadata.name))

        try:
            await self._performer.create_all(creates, created)
            await self._performer.delete_all(deletes)
        except ApiError as error:
            self._tell(replicasets.tell_refused(replica_set, error.message, creating=bool(creates)))
            return error
        for each in deletes:
            self._tell(replicasets.tell_deleted(replica_set, each.name))
        return None

    def _tell(self, told: Tell) -> None:
        self._performer.tell(told)
