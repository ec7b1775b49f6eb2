"""The controller of HorizontalPodAutoscalers: started with the first of them, and then one round a period for each.

Comes in: a client, settings and a clock. Goes out: scaled workloads, statuses, Events, and every decision to `decided`.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

from fairlead.cluster.controllers.autoscaling_pace import History
from fairlead.cluster.controllers.autoscaling_round import Decision, Round
from fairlead.cluster.controllers.autoscaling_rules import Settings
from fairlead.cluster.controllers.autoscaling_scales import Scales
from fairlead.cluster.controllers.events import EventRecorder
from fairlead.cluster.controllers.informers import Key, Store, key_of
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.drivers.kubeapi import ApiError, KubeClient, PatchType
from fairlead.kube.autoscaling import HorizontalPodAutoscaler

_WORKERS = 5


class AutoscalerLoop:
    """Keeps every autoscaler's history, and gives each its rounds."""

    def __init__(
        self,
        client: KubeClient,
        settings: Settings,
        recorder: EventRecorder,
        decided: Callable[[Decision], None],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._settings = settings
        self._recorder = recorder
        self._decided = decided
        self._clock = clock
        self._scales = Scales(client)
        self._histories: dict[Key, History] = {}
        self._pods: dict[Key, frozenset[str]] = {}
        self.autoscalers = Store[HorizontalPodAutoscaler]()
        self.loop = Loop("autoscalers", WorkQueue[Key](), self.reconcile)
        self.autoscalers.listen(self._on_autoscaler)

    def _on_autoscaler(self, old: HorizontalPodAutoscaler | None, new: HorizontalPodAutoscaler | None) -> None:
        if new is None:
            assert old is not None
            self._histories.pop(key_of(old), None)
            self._pods.pop(key_of(old), None)
        elif old is None or old.spec != new.spec:
            self.loop.queue.add(key_of(new))

    async def reconcile(self, key: Key) -> float | None:
        """One round over one autoscaler."""
        autoscaler = self.autoscalers.get(*key)
        if autoscaler is None or autoscaler.metadata.deletion_timestamp is not None:
            return None

        def others(pods: tuple[str, ...]) -> list[str]:
            own = frozenset(pods)
            shared = (each for each, names in self._pods.items() if each != key and each[0] == key[0] and names & own)
            return [f"{namespace}/{name}" for namespace, name in shared]

        now = self._clock()
        one = Round(self._client, self._scales, self._settings, self._recorder.tell, others, autoscaler, now)
        try:
            outcome = await one.run(self._histories.get(key, History()))
        except ApiError as error:
            self._decided(Decision(at=now, namespace=key[0], name=key[1], current=-1, desired=-1, error=error.message))
        else:
            self._histories[key] = outcome.history
            self._pods[key] = frozenset(one.pods)
            self._decided(outcome.decision)
        await self._write(autoscaler, one)
        return self._settings.sync_period

    async def _write(self, autoscaler: HorizontalPodAutoscaler, one: Round) -> None:
        meta = autoscaler.metadata
        try:
            written = await self._client.patch(
                HorizontalPodAutoscaler,
                meta.name,
                meta.namespace,
                {"metadata": {"uid": meta.uid}, "status": one.status.document()},
                subresource="status",
                patch_type=PatchType.MERGE,
            )
        except ApiError as error:
            if error.status not in (404, 409):  # gone, or another one of that name by now
                raise
        else:
            self.autoscalers.apply(written)


async def main(
    client: KubeClient,
    settings: Settings,
    decided: Callable[[Decision], None],
    clock: Callable[[], float] = time.time,
) -> None:
    """Follow autoscalers until cancelled."""
    recorder = EventRecorder(client, clock)
    scaling = AutoscalerLoop(client, settings, recorder, decided, clock)

    async def follow() -> None:
        async for change in client.reflect(HorizontalPodAutoscaler):
            scaling.autoscalers.take(change)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(follow())
        tasks.create_task(recorder.run())
        tasks.create_task(scaling.loop.run(_WORKERS))


def decision_line(decision: Decision) -> bytes:
    """A decision as a line of JSON."""
    return msgspec.json.encode(decision) + b"\n"
