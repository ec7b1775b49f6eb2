"""Runs the scheduler: pods without a node come in, bindings and reasons against go out.

`Placement` decides; this module feeds it, writes its answers and tries pods that fit nowhere again when nodes or
pods change.
"""

import asyncio
from collections.abc import Callable

from fairlead.cluster.controllers.actions import About, Bind, Patch, Tell
from fairlead.cluster.controllers.informers import Key, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.placement import Placement, Unplaced
from fairlead.cluster.controllers.pods import is_finished, pod_condition
from fairlead.cluster.controllers.proximity import asks_for_neighbours
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.timestamps import format_time
from fairlead.cluster.controllers.world import World
from fairlead.drivers.kubeapi import ApiError
from fairlead.kube.core import Namespace, Node, Pod
from fairlead.kube.documents import Document

NAME = "default-scheduler"
_FIRST_NODES_WITHIN = 5.0  # seconds after the start in which it is no news that there are no nodes yet


class Scheduler:
    """Gives every pending pod that asks for us a node."""

    def __init__(self, world: World, performer: Performer, clock: Callable[[], float]) -> None:
        self._world = world
        self._performer = performer
        self._clock = clock
        self._placement = Placement()
        self._unplaced: dict[Key, None] = {}
        self._patience = clock() + _FIRST_NODES_WITHIN
        self.loop = Loop("scheduler", WorkQueue[Key](), self.reconcile)
        world.namespaces.listen(self._on_namespace)
        world.nodes.listen(self._on_node)
        world.pods.listen(self._on_pod)

    def _on_namespace(self, old: Namespace | None, new: Namespace | None) -> None:
        namespace = new or old
        if namespace is not None:
            self._placement.follow_namespace(namespace.metadata.name, new.metadata.labels if new else None)

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        node = new or old
        if node is not None:
            self._placement.follow_node(node.metadata.name, new)
        if new is not None and (old is None or _offers(old) != _offers(new)):
            self._retry_unplaced()

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is None:
            return
        key = key_of(pod)
        freed = self._placement.follow_pod(pod.metadata.uid, new)
        if new is None or new.spec.node_name:
            self._unplaced.pop(key, None)
        elif is_ours(new) and (old is None or key not in self._unplaced or old.spec != new.spec):
            self.loop.queue.add(key)
        if freed or _relabelled(old, new):
            self._retry_unplaced()
        elif new is not None and new.spec.node_name and (old is None or not old.spec.node_name):
            self._retry_who_asks_for_neighbours()

    def _retry_unplaced(self) -> None:
        for key in self._by_priority():
            self.loop.queue.add(key)

    def _by_priority(self) -> list[Key]:
        """Who waits, the most important first."""
        waiting = ((key, self._world.pods.get(*key)) for key in self._unplaced)
        return [key for key, _ in sorted(waiting, key=lambda each: -each[1].spec.priority if each[1] else 0)]

    def _retry_who_asks_for_neighbours(self) -> None:
        for key in self._by_priority():
            pod = self._world.pods.get(*key)
            if pod is not None and asks_for_neighbours(pod):
                self.loop.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        """Place one pod."""
        pod = self._world.pods.get(*key)
        if pod is None or not is_ours(pod):
            self._unplaced.pop(key, None)
            return None
        if self._placement.holds(pod.metadata.uid):
            return None
        if not len(self._world.nodes) and (patience := self._patience - self._clock()) > 0:
            self._unplaced[key] = None
            return patience
        answer = self._placement.place(pod)
        if isinstance(answer, Unplaced):
            self._unplaced[key] = None
            await self._performer.perform(refuse(pod, answer.message, self._clock()))
            return None
        self._placement.assume(pod, answer)
        try:
            await self._performer.perform(bind(pod, answer))
        except (ApiError, asyncio.CancelledError):
            self._placement.follow_pod(pod.metadata.uid, None)
            raise
        self._unplaced.pop(key, None)
        return None


def _relabelled(old: Pod | None, new: Pod | None) -> bool:
    """Whether a pod on a node became another one to the selectors of those that wait."""
    if old is None or new is None or not new.spec.node_name:
        return False
    return old.metadata.labels != new.metadata.labels or (
        old.metadata.deletion_timestamp is None and new.metadata.deletion_timestamp is not None
    )


def is_ours(pod: Pod) -> bool:
    """Whether a pod waits for this scheduler: no node yet, not ending, no gate left (KEP-3521)."""
    return (
        not pod.spec.node_name
        and pod.spec.scheduler_name in ("", NAME)
        and pod.metadata.deletion_timestamp is None
        and not is_finished(pod)
        and not pod.spec.scheduling_gates
    )


def bind(pod: Pod, node: str) -> tuple[Bind, Tell]:
    """Give a pod its node, and tell."""
    meta = pod.metadata
    message = f"Successfully assigned {meta.namespace}/{meta.name} to {node}"
    return (
        Bind(namespace=meta.namespace, name=meta.name, uid=meta.uid, node=node),
        Tell(about=_about(pod), reason="Scheduled", message=message, component=NAME),
    )


def refuse(pod: Pod, message: str, now: float) -> tuple[Patch | Tell, ...]:
    """Say on the pod why no node takes it; nothing when it says so already."""
    present = pod_condition(pod, "PodScheduled")
    told = Tell(about=_about(pod), reason="FailedScheduling", message=message, warning=True, component=NAME)
    if present is not None and (present.status, present.message) == ("False", message):
        return ()
    since = present.last_transition_time if present is not None and present.status == "False" else None
    condition: Document = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastProbeTime": None,
        "lastTransitionTime": since or format_time(now),
    }
    others: Document = {"status": {"conditions": [condition]}}
    meta = pod.metadata
    return Patch(kind=Pod, namespace=meta.namespace, name=meta.name, patch=others, subresource="status"), told


def _offers(node: Node) -> tuple[object, ...]:
    """What of a node decides whether a pod may run there; heartbeats change none of it."""
    spec, status = node.spec, node.status
    return node.metadata.labels, spec.unschedulable, spec.taints, status.allocatable, status.capacity


def _about(pod: Pod) -> About:
    meta = pod.metadata
    return About(api_version="v1", kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid)
