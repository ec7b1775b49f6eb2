"""Runs the StatefulSet controller: which sets to look at after which events, and the writes of a round."""

from collections.abc import Callable

from fairlead.cluster.controllers.actions import Action, Create, Delete
from fairlead.cluster.controllers.histories import find_history, template_of
from fairlead.cluster.controllers.informers import Key, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.ownership import claim
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.specs import Specs
from fairlead.cluster.controllers.statefulsets import (
    StatefulView,
    claims_of,
    number_of,
    owner_of,
    reconcile,
    tell,
    unneeded_claims,
)
from fairlead.cluster.controllers.world import World
from fairlead.drivers.kubeapi import ApiError
from fairlead.kube.apps import ControllerRevision, StatefulSet
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document, mapping_at, text_at
from fairlead.kube.selectors import selector_matcher
from fairlead.kube.storage import PersistentVolumeClaim


class StatefulSetLoop:
    """Keeps the numbered pods of each StatefulSet."""

    def __init__(self, world: World, performer: Performer, specs: Specs, clock: Callable[[], float]) -> None:
        self._world = world
        self._performer = performer
        self._specs = specs
        self._clock = clock
        self.loop = Loop("statefulset", WorkQueue[Key](rest=4.0, longest_rest=0.1), self.reconcile)
        world.stateful_sets.listen(self._on_set)
        world.pods.listen(self._on_pod)
        world.revisions.listen(self._on_revision)

    def _on_set(self, old: StatefulSet | None, new: StatefulSet | None) -> None:
        if new is not None:
            self.loop.queue.add(key_of(new))

    def _on_revision(self, old: ControllerRevision | None, new: ControllerRevision | None) -> None:
        for each in (old, new):
            owner = each.metadata.controller if each else None
            if each is not None and owner is not None and owner.kind == "StatefulSet":
                self.loop.queue.add((each.metadata.namespace, owner.name))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = pod.metadata.controller if pod else None
            if pod is not None and owner is not None and owner.kind == "StatefulSet":
                self.loop.queue.add((pod.metadata.namespace, owner.name))
        if new is not None and new.metadata.controller is None:
            for each in self._world.stateful_sets:
                if each.metadata.namespace == new.metadata.namespace and selector_matcher(each.spec.selector)(
                    new.metadata.labels
                ):
                    self.loop.queue.add(key_of(each))

    async def reconcile(self, key: Key) -> float | None:
        """One round over one set."""
        stateful_set = self._world.stateful_sets.get(*key)
        if stateful_set is None:
            return None
        owner, matches = owner_of(stateful_set), selector_matcher(stateful_set.spec.selector)
        candidates = (
            *self._world.pods_by_controller.find(stateful_set.metadata.uid),
            *self._world.pods_uncontrolled.find(key[0]),
        )

        def is_member(pod: Pod) -> bool:
            return number_of(stateful_set, pod.metadata.name) is not None and matches(pod.metadata.labels)

        pods, patches = claim(owner, Pod, candidates, is_member)
        if patches:
            await self._performer.perform(patches)
            return 0.0
        spec = await self._specs.of(stateful_set)
        revisions = self._world.revisions_by_controller.find(stateful_set.metadata.uid)
        collisions = stateful_set.status.collision_count or 0
        history = find_history(owner, key[0], mapping_at(spec, "template"), revisions, collisions)
        if history.actions:
            await self._performer.perform(history.actions)
            revisions = self._world.revisions_by_controller.find(stateful_set.metadata.uid)
        templates = {each.metadata.name: template_of(each) for each in revisions}
        view = StatefulView(
            stateful_set=stateful_set,
            spec=spec,
            pods=tuple(pods),
            revisions=tuple(revisions),
            templates={**templates, history.update: mapping_at(spec, "template")},
            update=history.update,
            now=self._clock(),
        )
        again: float | None = None
        claims = [claim for claim in self._world.claims if claim.metadata.namespace == key[0]]
        for action in (*reconcile(view), *unneeded_claims(view, claims)):
            if isinstance(action, Create) and action.kind is Pod:
                await self._make_claims(stateful_set, spec, text_at(action.document, "metadata", "name"))
            wait = await self._perform(stateful_set, action)
            again = wait if again is None else again
        return again

    async def _make_claims(self, stateful_set: StatefulSet, spec: Document, pod: str) -> None:
        """Make the claims a pod lacks, before the pod."""
        for document in claims_of(stateful_set, spec, pod):
            name = text_at(document, "metadata", "name")
            if self._world.claims.get(stateful_set.metadata.namespace, name) is None:
                try:
                    await self._performer.perform((Create(kind=PersistentVolumeClaim, document=document),))
                except ApiError as error:
                    if error.reason != "AlreadyExists":
                        raise

    async def _perform(self, stateful_set: StatefulSet, action: Action) -> float | None:
        """Carry out one step and tell of it, also where it is refused."""
        if isinstance(action, Create):
            verb, pod = "create", text_at(action.document, "metadata", "name")
        elif isinstance(action, Delete) and action.kind is Pod:
            verb, pod = "delete", action.name
        else:
            return await self._performer.perform((action,))
        try:
            wait = await self._performer.perform((action,))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                self._performer.tell(tell(stateful_set, verb, pod, error.message))
            raise
        self._performer.tell(tell(stateful_set, verb, pod))
        return wait
