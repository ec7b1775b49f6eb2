"""When autoscaling is wanted: as soon as there is a HorizontalPodAutoscaler; and where its decisions are written.

In: the API server's store, a client, how often and how carefully. Out: a task that scales. Until then none of its
modules is imported.
"""

import asyncio
import sys
import traceback
from pathlib import Path

from fairlead.cluster.apiserver.store import Store, Stored
from fairlead.cluster.launch import Autoscaling
from fairlead.drivers.kubeapi import KubeClient

AUTOSCALERS = ("autoscaling", "horizontalpodautoscalers")
DECISIONS = "autoscaling.log"
"""The file among a cluster's logs that has a line of JSON for every round over an autoscaler."""


class AutoscalerDemand:
    """Watches a store for the first autoscaler; what it had before counts too. Make it inside the event loop."""

    def __init__(self, store: Store, client: KubeClient, plan: Autoscaling, logs: Path) -> None:
        self._client = client
        self._plan = plan
        self._decisions = logs / DECISIONS
        self._task: asyncio.Task[None] | None = None
        for stored in store.items(AUTOSCALERS):
            self._changed(stored, None)
        store.follow(AUTOSCALERS, self._changed)

    def _changed(self, new: Stored | None, old: Stored | None) -> None:
        if new is not None and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._scale_for_ever())

    async def _scale_for_ever(self) -> None:
        """Scale, and begin anew after a bug, which is told loudly: the rest of the cluster goes on meanwhile."""
        while True:
            try:
                await self._scale()
            except Exception:
                traceback.print_exc()
                await asyncio.sleep(self._plan.sync_period)

    async def _scale(self) -> None:
        from fairlead.cluster.controllers.autoscaling_main import decision_line, main
        from fairlead.cluster.controllers.autoscaling_round import Decision
        from fairlead.cluster.controllers.autoscaling_rules import Settings
        from fairlead.cluster.standins.logbook import append

        def decided(decision: Decision) -> None:
            try:
                append(self._decisions, decision_line(decision).decode())
            except OSError as error:  # a full disk costs the record, not the scaling
                sys.stderr.write(f"component=autoscalers decision=lost reason={error}\n")

        settings = Settings(
            sync_period=self._plan.sync_period,
            downscale_stabilization=self._plan.downscale_stabilization,
        )
        await main(self._client, settings, decided)
