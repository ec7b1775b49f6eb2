"""Runs the controller of disruption budgets: which to look at after which events, and the writes of a round."""

from collections.abc import Callable

from fairlead.cluster.controllers.budgets import BudgetView, reconcile
from fairlead.cluster.controllers.informers import Key, controller_uid, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.pods import is_active
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.world import World
from fairlead.kube.core import Pod
from fairlead.kube.disruption import PodDisruptionBudget
from fairlead.kube.meta import KubeObject
from fairlead.kube.selectors import selector_matcher


class BudgetLoop:
    """Keeps the statuses by which evictions are judged."""

    def __init__(self, world: World, performer: Performer, clock: Callable[[], float]) -> None:
        self._world = world
        self._performer = performer
        self._clock = clock
        self.loop = Loop("budgets", WorkQueue[Key](), self.reconcile)
        world.budgets.listen(self._on_budget)
        world.pods.listen(self._on_pod)
        for store in (world.replica_sets, world.stateful_sets):
            store.listen(self._on_owner)

    def _on_budget(self, old: PodDisruptionBudget | None, new: PodDisruptionBudget | None) -> None:
        if new is not None:
            self.loop.queue.add(key_of(new))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            for budget in self._world.budgets if pod is not None else ():
                if pod is not None and selects(budget, pod):
                    self.loop.queue.add(key_of(budget))

    def _on_owner(self, old: KubeObject | None, new: KubeObject | None) -> None:
        each = new or old
        for budget in self._world.budgets:
            if each is not None and budget.metadata.namespace == each.metadata.namespace:
                self.loop.queue.add(key_of(budget))

    async def reconcile(self, key: Key) -> float | None:
        """One round over one budget."""
        budget = self._world.budgets.get(*key)
        if budget is None or budget.metadata.deletion_timestamp is not None:
            return None
        pods = [pod for pod in self._world.pods if selects(budget, pod)]
        view = BudgetView(budget=budget, pods=pods, expected=self._expected(pods), now=self._clock())
        return await self._performer.perform(reconcile(view))

    def _expected(self, pods: list[Pod]) -> int:
        """How many pods the owners want together; a pod without an owner of a known size counts itself."""
        sizes: dict[str, int] = {}
        for pod in pods:
            uid = controller_uid(pod)
            owner = self._world.replica_sets.by_uid(uid) or self._world.stateful_sets.by_uid(uid) if uid else None
            if owner is not None:
                sizes[uid] = 1 if owner.spec.replicas is None else owner.spec.replicas
            elif is_active(pod):
                sizes[pod.metadata.uid] = 1
        return sum(sizes.values())


def selects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    """Whether a budget is for a pod; one without a selector is for none."""
    selector = budget.spec.selector
    return (
        selector is not None
        and budget.metadata.namespace == pod.metadata.namespace
        and selector_matcher(selector)(pod.metadata.labels)
    )
