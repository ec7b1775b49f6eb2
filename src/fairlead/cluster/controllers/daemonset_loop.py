"""Runs the DaemonSet controller: which sets to look at after which events, and the writes of a round."""

from collections.abc import Callable

from fairlead.cluster.controllers.actions import Create, Delete
from fairlead.cluster.controllers.daemonsets import HASH_LABEL, DaemonView, owner_of, reconcile, tell
from fairlead.cluster.controllers.histories import find_history, outdated
from fairlead.cluster.controllers.informers import Key, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.ownership import claim
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.specs import Specs
from fairlead.cluster.controllers.world import World
from fairlead.drivers.kubeapi import ApiError
from fairlead.kube.apps import DaemonSet
from fairlead.kube.core import Node, Pod
from fairlead.kube.documents import Document, mapping_at
from fairlead.kube.meta import KubeObject
from fairlead.kube.selectors import selector_matcher

_KEPT_REVISIONS = 10


class DaemonSetLoop:
    """Keeps a pod of each DaemonSet on every node that may run it."""

    def __init__(self, world: World, performer: Performer, specs: Specs, clock: Callable[[], float]) -> None:
        self._world = world
        self._performer = performer
        self._specs = specs
        self._clock = clock
        self.loop = Loop("daemonset", WorkQueue[Key](rest=4.0, longest_rest=0.1), self.reconcile)
        world.daemon_sets.listen(self._on_set)
        world.pods.listen(self._on_pod)
        world.nodes.listen(self._on_node)

    def _on_set(self, old: DaemonSet | None, new: DaemonSet | None) -> None:
        if new is not None:
            self.loop.queue.add(key_of(new))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = pod.metadata.controller if pod else None
            if pod is not None and owner is not None and owner.kind == "DaemonSet":
                self.loop.queue.add((pod.metadata.namespace, owner.name))
        if new is not None and new.metadata.controller is None:
            for each in self._world.daemon_sets_by_namespace.find(new.metadata.namespace):
                if selector_matcher(each.spec.selector)(new.metadata.labels):
                    self.loop.queue.add(key_of(each))

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        if old is None or new is None or _deciding(old) != _deciding(new):
            for each in self._world.daemon_sets:
                self.loop.queue.add(key_of(each))

    async def reconcile(self, key: Key) -> float | None:
        """One round over one set."""
        daemon_set = self._world.daemon_sets.get(*key)
        if daemon_set is None:
            return None
        matches = selector_matcher(daemon_set.spec.selector)
        candidates = (
            *self._world.pods_by_controller.find(daemon_set.metadata.uid),
            *self._world.pods_uncontrolled.find(key[0]),
        )
        pods, patches = claim(owner_of(daemon_set), Pod, candidates, lambda pod: matches(pod.metadata.labels))
        if patches:
            await self._performer.perform(patches)
            return 0.0
        template = mapping_at(await self._specs.of(daemon_set), "template")
        await self._keep_history(daemon_set, template, pods)
        view = DaemonView(
            daemon_set=daemon_set,
            template=template,
            nodes=tuple(self._world.nodes),
            pods=tuple(pods),
            now=self._clock(),
        )
        actions = reconcile(view)
        creates = [each for each in actions if isinstance(each, Create)]
        deletes = [each for each in actions if isinstance(each, Delete)]

        def created(pod: KubeObject) -> None:
            self._performer.tell(tell(daemon_set, "SuccessfulCreate", f"Created pod: {pod.metadata.name}"))

        try:
            await self._performer.create_all(creates, created)
            await self._performer.delete_all(deletes)
        except ApiError as error:
            reason = "FailedCreate" if creates else "FailedDelete"
            self._performer.tell(tell(daemon_set, reason, f"Error: {error.message}"))
            raise
        for each in deletes:
            self._performer.tell(tell(daemon_set, "SuccessfulDelete", f"Deleted pod: {each.name}"))
        return await self._performer.perform(each for each in actions if not isinstance(each, Create | Delete))

    async def _keep_history(self, daemon_set: DaemonSet, template: Document, pods: list[Pod]) -> None:
        """Keep a revision of each template, as many old ones as the set asks for beside those its pods have."""
        uid, namespace = daemon_set.metadata.uid, daemon_set.metadata.namespace
        revisions = self._world.revisions_by_controller.find(uid)
        history = find_history(owner_of(daemon_set), namespace, template, revisions)
        await self._performer.perform(history.actions)
        used = {f"{daemon_set.metadata.name}-{pod.metadata.labels.get(HASH_LABEL, '')}" for pod in pods}
        limit = daemon_set.spec.revision_history_limit
        kept = _KEPT_REVISIONS if limit is None else limit
        revisions = self._world.revisions_by_controller.find(uid)
        await self._performer.perform(outdated(revisions, {history.update, *used}, kept))


def _deciding(node: Node) -> tuple[object, ...]:
    """What of a node decides whether it runs daemons."""
    return node.metadata.labels, node.spec.taints, node.spec.unschedulable
