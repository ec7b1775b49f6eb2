"""Runs the Job controller: which Jobs to look at after which events, and the writes of a round."""

from collections.abc import Callable

from fairlead.cluster.controllers.actions import Create
from fairlead.cluster.controllers.informers import Key, key_of
from fairlead.cluster.controllers.job_policies import is_ours
from fairlead.cluster.controllers.jobs import FINALIZER, JobView, owner_of, reconcile, release_orphans, tell_created
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.ownership import claim
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.specs import Specs
from fairlead.cluster.controllers.world import World
from fairlead.kube.batch import Job
from fairlead.kube.core import Pod
from fairlead.kube.documents import mapping_at
from fairlead.kube.meta import KubeObject, LabelSelector
from fairlead.kube.selectors import selector_matcher


class JobLoop:
    """Runs each Job's pods until enough have succeeded."""

    def __init__(self, world: World, performer: Performer, specs: Specs, clock: Callable[[], float]) -> None:
        self._world = world
        self._performer = performer
        self._specs = specs
        self._clock = clock
        self.loop = Loop("job", WorkQueue[Key](rest=4.0, longest_rest=0.1), self.reconcile)
        world.jobs.listen(self._on_job)
        world.pods.listen(self._on_pod)

    def _on_job(self, old: Job | None, new: Job | None) -> None:
        each = new or old
        if each is not None:
            self.loop.queue.add(key_of(each))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = pod.metadata.controller if pod else None
            if pod is not None and owner is not None and owner.kind == "Job":
                self.loop.queue.add((pod.metadata.namespace, owner.name))

    async def reconcile(self, key: Key) -> float | None:
        """One round over one Job."""
        job = self._world.jobs.get(*key)
        if job is None:
            await self._performer.perform(release_orphans(key[1], self._pods_left(key)))
            return None
        if not is_ours(job.spec):
            return None
        matches = selector_matcher(job.spec.selector or LabelSelector())
        candidates = (
            *self._world.pods_by_controller.find(job.metadata.uid),
            *self._world.pods_uncontrolled.find(key[0]),
        )
        pods, patches = claim(owner_of(job), Pod, candidates, lambda pod: matches(pod.metadata.labels))
        if patches:
            await self._performer.perform(patches)
            return 0.0
        template = mapping_at(await self._specs.of(job), "template")
        actions = reconcile(JobView(job=job, template=template, pods=tuple(pods), now=self._clock()))
        creates = [each for each in actions if isinstance(each, Create)]

        def created(pod: KubeObject) -> None:
            self._performer.tell(tell_created(job, pod.metadata.name))

        await self._performer.create_all(creates, created)
        return await self._performer.perform(each for each in actions if not isinstance(each, Create))

    def _pods_left(self, key: Key) -> list[Pod]:
        return [
            pod for pod in self._world.pods if pod.metadata.namespace == key[0] and FINALIZER in pod.metadata.finalizers
        ]
