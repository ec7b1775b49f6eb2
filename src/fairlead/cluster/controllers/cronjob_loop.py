"""Runs the CronJob controller: which CronJobs to look at after which events, and the writes of a round."""

from collections.abc import Callable

from fairlead.cluster.controllers.actions import Create
from fairlead.cluster.controllers.cronjobs import CronView, reconcile
from fairlead.cluster.controllers.informers import Key, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.specs import Specs
from fairlead.cluster.controllers.world import World
from fairlead.drivers.kubeapi import ApiError
from fairlead.kube.batch import CronJob, Job
from fairlead.kube.documents import mapping_at


class CronJobLoop:
    """Makes each CronJob's Jobs when they are due."""

    def __init__(self, world: World, performer: Performer, specs: Specs, clock: Callable[[], float]) -> None:
        self._world = world
        self._performer = performer
        self._specs = specs
        self._clock = clock
        self.loop = Loop("cronjob", WorkQueue[Key](rest=4.0, longest_rest=0.1), self.reconcile)
        world.cron_jobs.listen(self._on_cron_job)
        world.jobs.listen(self._on_job)

    def _on_cron_job(self, old: CronJob | None, new: CronJob | None) -> None:
        if new is not None:
            self.loop.queue.add(key_of(new))

    def _on_job(self, old: Job | None, new: Job | None) -> None:
        for job in (old, new):
            owner = job.metadata.controller if job else None
            if job is not None and owner is not None and owner.kind == "CronJob":
                self.loop.queue.add((job.metadata.namespace, owner.name))

    async def reconcile(self, key: Key) -> float | None:
        """One round over one CronJob."""
        cron_job = self._world.cron_jobs.get(*key)
        if cron_job is None:
            return None
        view = CronView(
            cron_job=cron_job,
            job_template=mapping_at(await self._specs.of(cron_job), "jobTemplate"),
            jobs=tuple(self._world.jobs_by_controller.find(cron_job.metadata.uid)),
            now=self._clock(),
        )
        again: float | None = None
        for action in reconcile(view):
            try:
                wait = await self._performer.perform((action,))
            except ApiError as error:
                if isinstance(action, Create) and error.reason == "AlreadyExists":
                    continue  # made in an earlier round that the cache does not show yet
                raise
            again = wait if again is None else again
        return again
