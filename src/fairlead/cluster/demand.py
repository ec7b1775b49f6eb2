"""When the load balancer is wanted: as soon as there is a Service of type LoadBalancer; speakers, with advertisements.

In: the API server's store, and a file by which the supervisor knows. Out: the file, and a signal to the supervisor, who
started this process. Until then nothing runs for load balancers, and nothing is in memory for them.
"""

import os
import signal
from pathlib import Path

from fairlead.cluster.apiserver.store import Store, Stored
from fairlead.kube.documents import text_at

SERVICES = ("", "services")
ANNOUNCING = (("metallb.io", "l2advertisements"), ("metallb.io", "bgppeers"))
_TRACE = b'"LoadBalancer"'


class LoadBalancerDemand:
    """Watches a store for the first Service of type LoadBalancer; what it had before counts too."""

    def __init__(self, store: Store, flag: Path) -> None:
        self._flag = flag
        self._raised = False
        for stored in store.items(SERVICES):
            self._look(stored)
        store.follow(SERVICES, self._changed)

    def _changed(self, new: Stored | None, old: Stored | None) -> None:
        if new is not None:
            self._look(new)

    def _look(self, stored: Stored) -> None:
        if self._raised or _TRACE not in stored.raw:
            return
        if text_at(stored.document(), "spec", "type") == "LoadBalancer":
            self._raised = True
            self._flag.touch()
            os.kill(os.getppid(), signal.SIGUSR1)


class SpeakerDemand:
    """Watches a store for the first thing that asks nodes to announce addresses."""

    def __init__(self, store: Store, flag: Path) -> None:
        self._flag = flag
        self._raised = False
        for resource in ANNOUNCING:
            for stored in store.items(resource):
                self._changed(stored, None)
            store.follow(resource, self._changed)

    def _changed(self, new: Stored | None, old: Stored | None) -> None:
        if new is not None and not self._raised:
            self._raised = True
            self._flag.touch()
            os.kill(os.getppid(), signal.SIGUSR1)
