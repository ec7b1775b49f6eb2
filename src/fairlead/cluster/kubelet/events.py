"""Events about pods: what is to be told comes in, Event objects go out, slowly enough to leave the API server to
others.

What is said again only counts up. Source: client-go tools/record (25 events at once, then a few per second).
"""

import asyncio
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime

from msgspec import Struct

from fairlead.cluster.kubelet.targets import events_reference
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.core import Event
from fairlead.kube.documents import Document
from fairlead.kube.resources import resource_of

_AT_ONCE, _PER_SECOND, _MOST_WAITING = 100, 50, 20_000
_REMEMBERED = 4096


class Said(Struct, frozen=True):
    """One thing to tell about a pod or one of its containers."""

    namespace: str
    pod: str
    uid: str
    node: str
    container: str
    reason: str
    message: str
    warning: bool


class EventRecorder:
    """Writes events one after the other. What does not fit into the queue is dropped, the oldest first."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._waiting: deque[Said] = deque(maxlen=_MOST_WAITING)
        self._some = asyncio.Event()
        self._written: dict[Said, tuple[str, int]] = {}

    def tell(self, said: Said) -> None:
        """Add to what is to be told."""
        self._waiting.append(said)
        self._some.set()

    async def run(self) -> None:
        """Write for ever."""
        tokens, filled = float(_AT_ONCE), time.monotonic()
        while True:
            await self._some.wait()
            while self._waiting:
                now = time.monotonic()
                tokens, filled = min(_AT_ONCE, tokens + (now - filled) * _PER_SECOND), now
                if tokens < 1:
                    await asyncio.sleep((1 - tokens) / _PER_SECOND)
                    continue
                tokens -= 1
                with suppress(ApiError):  # a namespace that goes takes no more events
                    await self._write(self._waiting.popleft())
            self._some.clear()

    async def _write(self, said: Said) -> None:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        known = self._written.get(said)
        if known is not None:
            name, count = known
            patch: Document = {"count": count + 1, "lastTimestamp": moment}
            await self._client.patch_document(resource_of(Event), name, said.namespace, patch)
            self._written[said] = (name, count + 1)
            return
        name = f"{said.pod}.{time.time_ns():x}"  # so that they are listed in order
        document: Document = {
            "metadata": {"name": name, "namespace": said.namespace},
            "involvedObject": events_reference(said.namespace, said.pod, said.uid, said.container),
            "reason": said.reason,
            "message": said.message,
            "type": "Warning" if said.warning else "Normal",
            "source": {"component": "kubelet", "host": said.node},
            "reportingComponent": "kubelet",
            "reportingInstance": said.node,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        await self._client.create_document(resource_of(Event), document, said.namespace)
        self._written[said] = (name, 1)
        if len(self._written) > _REMEMBERED:
            del self._written[next(iter(self._written))]
