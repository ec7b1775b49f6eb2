"""Runs a controller: keys come in from a queue, each is reconciled by an async function, errors mean later again.

Knows neither what a key names nor what a reconciliation does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.drivers.kubeapi import ApiError
from fairlead.kube.documents import items_at, text_at

K = TypeVar("K", bound=Hashable)

log = logging.getLogger("fairlead.controllers")


class Loop(Generic[K]):
    """One controller: its name, its queue, and `reconcile`, which returns in how many seconds to look again, or
    None.
    """

    def __init__(self, name: str, queue: WorkQueue[K], reconcile: Callable[[K], Awaitable[float | None]]) -> None:
        self.name = name
        self.queue = queue
        self._reconcile = reconcile

    async def run(self, workers: int = 1) -> None:
        """Work for ever, on at most `workers` keys at a time."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                again = await self._reconcile(key)
            except ApiError as error:
                pause = self.queue.retry(key)
                log.log(
                    logging.DEBUG if _is_expected(error) else logging.WARNING,
                    "controller=%s key=%s status=%d reason=%s retry=%.3fs error=%s",
                    *(self.name, key, error.status, error.reason, pause, error.message),
                )
            except Exception:
                # A bug must not stop the other objects' controllers: it is told loudly, and this key alone waits.
                pause = self.queue.retry(key)
                log.exception("controller=%s key=%s retry=%.3fs", self.name, key, pause)
            else:
                self.queue.forget(key)
                if again is not None:
                    self.queue.add_after(key, again)
            finally:
                self.queue.done(key)


def _is_expected(error: ApiError) -> bool:
    """Whether a refusal only says that the cache lags, or that the namespace is being emptied."""
    causes = items_at(error.details, "causes")
    return error.status in (404, 409) or any(text_at(each, "reason") == "NamespaceTerminating" for each in causes)
